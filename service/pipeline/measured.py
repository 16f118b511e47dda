"""Bins of deep frames: what was measured is reduced sample by sample, and the result is shown as one frame would be."""

from typing import Any

import numpy as np

from service.pipeline.decode import to_picture
from service.pipeline.layers import SumArray
from service.pipeline.picture import Picture
from service.pipeline.samples import Samples, samples_view
from service.pipeline.window import Window
from service.plan.geometry import Bins

SampleLayout = tuple[np.dtype[Any], tuple[int, ...], int]
"""Type, shape and orientation of samples that can be laid over one another."""


class RawBinAccumulator:
    """Frames of one kind, reduced over whole pictures; `take` gives one picture of them and begins anew.

    A mean is of the samples' own values, not rounded, whatever the window will cut off; where one of them is not a
    number, neither is the mean or the maximum.
    """

    def __init__(self, bins: Bins, window: Window) -> None:
        self._bins, self._window = bins, window
        self._layout: SampleLayout | None = None
        self._total: SumArray = np.zeros(0)
        self.count = 0

    def accepts(self, picture: Picture) -> bool:
        """Whether it is of the kind of those that were added."""
        return self.count == 0 or self._layout == _sample_layout(picture)

    def add(self, picture: Picture) -> None:
        samples = _raw_samples(picture)
        if self._layout != _sample_layout(picture):
            self._layout = _sample_layout(picture)
            self._total = np.zeros(samples.shape, self._accumulator_type(samples.dtype))
        with np.errstate(invalid="ignore"):  # infinities of both signs have no mean
            if self.count == 0:
                self._total[:] = samples
            elif self._bins.mode == "mean":
                np.add(self._total, samples, out=self._total)
            else:
                np.maximum(self._total, samples, out=self._total)
        self.count += 1

    def finish(self) -> Picture:
        assert self._layout is not None
        count, self.count = self.count, 0
        of, _, orientation = self._layout
        if self._bins.mode == "max":
            return to_picture(self._total, self._window, "bin", orientation)
        exact = np.float32 if of.itemsize <= 2 or of == np.float32 else np.float64
        mean = np.divide(self._total, count, dtype=np.float64, casting="unsafe").astype(exact, copy=False)
        return to_picture(mean, self._window, "bin", orientation)

    def _accumulator_type(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        if self._bins.mode == "max":
            return dtype
        if dtype.kind == "u" and dtype.itemsize <= 2:
            return np.min_scalar_type(self._bins.size * int(np.iinfo(dtype).max))
        return np.dtype(np.float64 if dtype.kind == "f" else np.int64)


def _raw_samples(picture: Picture) -> Samples:
    samples = picture.raw_samples if picture.raw_samples is not None else samples_view(picture.frame)
    assert samples is not None, "only what the tone takes is measured"
    return samples


def _sample_layout(picture: Picture) -> SampleLayout:
    samples = _raw_samples(picture)
    return samples.dtype.newbyteorder("="), samples.shape, picture.orientation
