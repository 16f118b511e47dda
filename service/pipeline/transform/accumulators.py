"""Accumulators that reduce the frames of a bin to their mean or maximum."""

from typing import Any, NamedTuple, Protocol

import numpy as np
from av import VideoFrame

from service.pipeline.images.decoder import to_picture
from service.pipeline.orientation import Plane
from service.pipeline.picture import Picture, Samples, samples_view
from service.pipeline.planes import plane_views, relabel
from service.pipeline.tone.window import Window
from service.plan.geometry import Bins

SumArray = np.ndarray[Any, np.dtype[Any]]


class BinAccumulator(Protocol):
    """Combines frames of one size and format; `count` is the sum of their weights."""

    count: int

    def add(self, frame: VideoFrame, weight: int = 1) -> None:
        """Add a frame that counts as `weight` frames."""
        ...

    def finish(self) -> VideoFrame:
        """Return the result and reset."""
        ...


class MeanAccumulator:
    """The mean of each sample over up to `size` frames, rounded to the nearest.

    Sums have the smallest type that fits: uint16 for up to 256 frames of 8 bits.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._sums: list[SumArray] = []
        self._like: VideoFrame | None = None
        self.count = 0

    def add(self, frame: VideoFrame, weight: int = 1) -> None:
        samples = _addable_planes(frame)
        if not self._sums:
            self._like = VideoFrame(frame.width, frame.height, frame.format.name)
            wide = np.min_scalar_type(self._size * int(np.iinfo(samples[0].dtype).max) + self._size // 2)
            self._sums = [np.zeros(plane.shape, wide) for plane in samples]
        for total, plane in zip(self._sums, samples, strict=True):
            np.add(total, plane if weight == 1 else plane * total.dtype.type(weight), out=total)
        self.count += weight

    def finish(self) -> VideoFrame:
        assert self._like is not None
        frame = VideoFrame(self._like.width, self._like.height, self._like.format.name)
        for plane, total in zip(_addable_planes(frame), self._sums, strict=True):
            np.add(total, self.count // 2, out=total)
            plane[:] = total // self.count
            total[:] = 0
        self.count = 0
        return frame


class MaxAccumulator:
    """The maximum luma (or gray) of each pixel.

    Chroma comes from the frame whose luma is brightest at that chroma sample (the first of equals): the maximum of Cb
    and of Cr over several frames would be a colour that none of them has.
    """

    def __init__(self) -> None:
        self._maximum: VideoFrame | None = None
        self._luma_sums: SumArray = np.zeros((0, 0), np.uint16)
        self.count = 0

    def add(self, frame: VideoFrame, weight: int = 1) -> None:
        luma, *chroma = plane_views(frame)
        sums = _chroma_block_sums(luma, chroma[0].shape) if chroma else luma
        if self._maximum is None:
            self._maximum, self._luma_sums = relabel(frame, frame.format.name), sums.copy()
        else:
            brighter = sums > self._luma_sums
            brightest, *brightest_chroma = plane_views(self._maximum)
            np.maximum(brightest, luma, out=brightest)
            for target, plane in zip(brightest_chroma, chroma, strict=True):
                np.copyto(target, plane, where=brighter)
            np.maximum(self._luma_sums, sums, out=self._luma_sums)
        self.count += weight

    def finish(self) -> VideoFrame:
        assert self._maximum is not None
        frame, self._maximum, self.count = self._maximum, None, 0
        return frame


def _addable_planes(frame: VideoFrame) -> list[Plane]:
    """The frame's planes with one element per sample: a pixel of bgr0 becomes four."""
    return [plane.view(np.uint8) if plane.dtype == np.uint32 else plane for plane in plane_views(frame)]


def _chroma_block_sums(luma: Plane, shape: tuple[int, ...]) -> SumArray:
    """Sums of luma over the pixels of each chroma sample, of `shape`; an odd last row or column counts twice."""
    down, across = -(-luma.shape[0] // shape[0]), -(-luma.shape[1] // shape[1])
    missing = shape[0] * down - luma.shape[0], shape[1] * across - luma.shape[1]
    padded = np.pad(luma, ((0, missing[0]), (0, missing[1])), mode="edge") if any(missing) else luma
    rows: SumArray = padded[::down].astype(np.uint16 if luma.itemsize == 1 else np.uint32)
    rows = rows + padded[1::2] if down == 2 else rows
    return rows[:, ::2] + rows[:, 1::2] if across == 2 else rows


class SampleLayout(NamedTuple):
    """What pictures must have in common to be reduced sample by sample."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    orientation: int


class RawBinAccumulator:
    """Reduces raw samples of one layout to their mean or maximum, before the tone.

    The mean is not rounded and does not depend on the window. NaN propagates.
    """

    def __init__(self, bins: Bins, window: Window) -> None:
        self._bins, self._window = bins, window
        self._layout: SampleLayout | None = None
        self._total: SumArray = np.zeros(0)
        self.count = 0

    def accepts(self, picture: Picture) -> bool:
        """Whether the picture has the layout of those added since the last reset."""
        return self.count == 0 or self._layout == _sample_layout(picture)

    def add(self, picture: Picture) -> None:
        samples = _raw_samples(picture)
        if self._layout != _sample_layout(picture):
            self._layout = _sample_layout(picture)
            self._total = np.zeros(samples.shape, self._total_type(samples.dtype))
        with np.errstate(invalid="ignore"):  # the sum of infinities of both signs is NaN
            if self.count == 0:
                self._total[:] = samples
            elif self._bins.mode == "mean":
                np.add(self._total, samples, out=self._total)
            else:
                np.maximum(self._total, samples, out=self._total)
        self.count += 1

    def finish(self) -> Picture:
        """Return the result and reset."""
        assert self._layout is not None
        dtype, _, orientation = self._layout
        count, self.count = self.count, 0
        if self._bins.mode == "max":
            return to_picture(self._total, self._window, "bin", orientation)
        exact = np.float32 if dtype.itemsize <= 2 or dtype == np.float32 else np.float64
        mean = np.divide(self._total, count, dtype=np.float64, casting="unsafe").astype(exact, copy=False)
        return to_picture(mean, self._window, "bin", orientation)

    def _total_type(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """The type of the running sum or maximum of samples of this type."""
        if self._bins.mode == "max":
            return dtype
        if dtype.kind == "u" and dtype.itemsize <= 2:
            return np.min_scalar_type(self._bins.size * int(np.iinfo(dtype).max))
        return np.dtype(np.float64 if dtype.kind == "f" else np.int64)


def _raw_samples(picture: Picture) -> Samples:
    samples = picture.raw_samples if picture.raw_samples is not None else samples_view(picture.frame)
    assert samples is not None, "only pictures with a tone are reduced as raw samples"
    return samples


def _sample_layout(picture: Picture) -> SampleLayout:
    samples = _raw_samples(picture)
    return SampleLayout(samples.dtype.newbyteorder("="), samples.shape, picture.orientation)
