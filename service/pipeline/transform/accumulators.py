"""Accumulators that reduce the frames of a bin to their mean or maximum."""

from typing import Any, Protocol

import numpy as np
from av import VideoFrame

from service.pipeline.images.decoder import to_picture
from service.pipeline.picture import Picture, Samples, samples_view
from service.pipeline.planes import Plane, plane_views, relabel
from service.pipeline.tone.window import Window
from service.plan.geometry import Bins

SumArray = np.ndarray[Any, np.dtype[Any]]


class BinAccumulator(Protocol):
    """Frames of one size and format, laid over one another; `take` gives the picture and begins anew."""

    count: int

    def add(self, frame: VideoFrame, weight: int = 1) -> None:
        """A frame that stands for `weight` of them."""
        ...

    def finish(self) -> VideoFrame: ...


class MeanAccumulator:
    """The mean of each sample, rounded to the nearest. Sums are uint16 for up to 256 frames of 8 bits."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._sums: list[SumArray] = []
        self._shape = (0, 0, "")
        self.count = 0

    def add(self, frame: VideoFrame, weight: int = 1) -> None:
        samples = _addable_planes(frame)
        if not self._sums:
            self._shape = (frame.width, frame.height, frame.format.name)
            wide = np.min_scalar_type(self._size * int(np.iinfo(samples[0].dtype).max) + self._size // 2)
            self._sums = [np.zeros(plane.shape, wide) for plane in samples]
        for total, plane in zip(self._sums, samples, strict=True):
            np.add(total, plane if weight == 1 else plane * total.dtype.type(weight), out=total)
        self.count += weight

    def finish(self) -> VideoFrame:
        frame = VideoFrame(*self._shape)
        for plane, total in zip(_addable_planes(frame), self._sums, strict=True):
            np.add(total, self.count // 2, out=total)
            plane[:] = total // self.count
            total[:] = 0
        self.count = 0
        return frame


class MaxAccumulator:
    """The greatest luma (or gray) of each pixel; chroma is that of the frame whose pixels at the chroma sample are
    brightest, the first of equals: the greatest Cb and Cr of several frames would be a colour that none of them has."""

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
            kept = plane_views(self._maximum)
            np.maximum(kept[0], luma, out=kept[0])
            for into, plane in zip(kept[1:], chroma, strict=True):
                np.copyto(into, plane, where=brighter)
            np.maximum(self._luma_sums, sums, out=self._luma_sums)
        self.count += weight

    def finish(self) -> VideoFrame:
        assert self._maximum is not None
        frame, self._maximum, self.count = self._maximum, None, 0
        return frame


def _addable_planes(frame: VideoFrame) -> list[Plane]:
    """Planes of samples that can be added up: a pixel of bgr0 is four of them."""
    return [plane.view(np.uint8) if plane.dtype == np.uint32 else plane for plane in plane_views(frame)]


def _chroma_block_sums(luma: Plane, shape: tuple[int, ...]) -> SumArray:
    """Luma added up over the pixels of each chroma sample; past an odd side the last one counts twice."""
    down, across = -(-luma.shape[0] // shape[0]), -(-luma.shape[1] // shape[1])
    missing = shape[0] * down - luma.shape[0], shape[1] * across - luma.shape[1]
    whole = np.pad(luma, ((0, missing[0]), (0, missing[1])), mode="edge") if any(missing) else luma
    rows: SumArray = whole[::down].astype(np.uint16 if luma.itemsize == 1 else np.uint32)
    rows = rows + whole[1::2] if down == 2 else rows
    return rows[:, ::2] + rows[:, 1::2] if across == 2 else rows


# Type, shape and orientation of samples that can be laid over one another.
SampleLayout = tuple[np.dtype[Any], tuple[int, ...], int]


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
