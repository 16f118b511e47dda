"""Bins of neighbouring frames -> one picture each. Frames of the encoder's form, accumulators of one picture."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from av import VideoFrame

from service.pipeline.colour import Colour
from service.pipeline.form import FORMS
from service.pipeline.frames import MemberReport, RenderFailed
from service.pipeline.geometry import SizeRefused
from service.pipeline.picture import Picture
from service.pipeline.planes import Plane, relabelled, views
from service.pipeline.transform import Transform
from service.pipeline.window import Clipped
from service.pipeline.work import Work
from service.plan.bins import Bins
from service.plan.render_plan import FrameRef, RenderOptions

Sums = np.ndarray[Any, np.dtype[Any]]


class Layers(Protocol):
    """Frames of one size and format, laid over one another; `take` gives the picture and begins anew."""

    count: int

    def add(self, frame: VideoFrame) -> None: ...

    def take(self) -> VideoFrame: ...


class Mean:
    """The mean of each sample, rounded to the nearest. Sums are uint16 for up to 256 frames of 8 bits."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._sums: list[Sums] = []
        self._shape = (0, 0, "")
        self.count = 0

    def add(self, frame: VideoFrame) -> None:
        samples = _samples(frame)
        if not self._sums:
            self._shape = (frame.width, frame.height, frame.format.name)
            wide = np.min_scalar_type(self._size * int(np.iinfo(samples[0].dtype).max) + self._size // 2)
            self._sums = [np.zeros(plane.shape, wide) for plane in samples]
        for total, plane in zip(self._sums, samples, strict=True):
            np.add(total, plane, out=total)
        self.count += 1

    def take(self) -> VideoFrame:
        frame = VideoFrame(*self._shape)
        for plane, total in zip(_samples(frame), self._sums, strict=True):
            np.add(total, self.count // 2, out=total)
            plane[:] = total // self.count
            total[:] = 0
        self.count = 0
        return frame


class Brightest:
    """The greatest luma (or gray) of each pixel; chroma is that of the frame whose pixels at the chroma sample are
    brightest, the first of equals: the greatest Cb and Cr of several frames would be a colour that none of them has."""

    def __init__(self) -> None:
        self._kept: VideoFrame | None = None
        self._sums: Sums = np.zeros((0, 0), np.uint16)
        self.count = 0

    def add(self, frame: VideoFrame) -> None:
        luma, *chroma = views(frame)
        sums = _summed(luma, chroma[0].shape) if chroma else luma
        if self._kept is None:
            self._kept, self._sums = relabelled(frame, frame.format.name), sums.copy()
        else:
            brighter = sums > self._sums
            kept = views(self._kept)
            np.maximum(kept[0], luma, out=kept[0])
            for into, plane in zip(kept[1:], chroma, strict=True):
                np.copyto(into, plane, where=brighter)
            np.maximum(self._sums, sums, out=self._sums)
        self.count += 1

    def take(self) -> VideoFrame:
        assert self._kept is not None
        frame, self._kept, self.count = self._kept, None, 0
        return frame


def _samples(frame: VideoFrame) -> list[Plane]:
    """Planes of samples that can be added up: a pixel of bgr0 is four of them."""
    return [plane.view(np.uint8) if plane.dtype == np.uint32 else plane for plane in views(frame)]


def _summed(luma: Plane, shape: tuple[int, ...]) -> Sums:
    """Luma added up over the pixels of each chroma sample; past an odd side the last one counts twice."""
    down, across = -(-luma.shape[0] // shape[0]), -(-luma.shape[1] // shape[1])
    missing = shape[0] * down - luma.shape[0], shape[1] * across - luma.shape[1]
    whole = np.pad(luma, ((0, missing[0]), (0, missing[1])), mode="edge") if any(missing) else luma
    rows: Sums = whole[::down].astype(np.uint16 if luma.itemsize == 1 else np.uint32)
    rows = rows + whole[1::2] if down == 2 else rows
    return rows[:, ::2] + rows[:, 1::2] if across == 2 else rows


def member_options(options: RenderOptions) -> RenderOptions:
    """How a single frame is shaped: to the size at which the bin lays frames over one another."""
    bins = options.bins
    return replace(options, width=bins.width, height=bins.height) if bins else options


class Binning:
    """Makes one Work of a bin's members: those that are missing or corrupt are left out and named."""

    def __init__(self, options: RenderOptions, bins: Bins, colour: Colour, prepare: Callable[[FrameRef], Work]) -> None:
        self._prepare = prepare
        self._over: Layers = Mean(bins.size) if bins.mode == "mean" else Brightest()
        self._range = FORMS[options.form].range
        last = replace(options, crop=None, rotate=0, tone=None)
        self._fit = None if member_options(options) == options else Transform(last, colour)

    def prepare(self, members: Sequence[FrameRef]) -> Work:
        """Raises RenderFailed on a refused size, and what `prepare` raises."""
        works = [self._laid(ref) for ref in members]
        clips = [work.clipped for work in works if work.clipped is not None]
        clock = next((member.clock for member in members if member.clock), None)
        bin_ = Work(replace(members[0], key=None, clock=clock))
        bin_.members = tuple(_report(work) for work in works)
        bin_.clipped = Clipped(*map(sum, zip(*clips, strict=True))) if clips else None
        bin_.reason = next((work.reason for work in works if work.reason), None)
        if self._over.count:
            bin_.frame, reason = self._shaped(members[0])
            bin_.reason = _left_out(works) or bin_.reason or reason
        else:
            bin_.fault = "missing" if all(work.fault == "missing" for work in works) else "corrupt"
        return bin_

    def _laid(self, ref: FrameRef) -> Work:
        work = self._prepare(ref)
        if work.frame is not None:
            assert isinstance(work.frame, VideoFrame), "JPEGs are not copied into a bin"
            self._over.add(work.frame)
            work.frame = None
        return work

    def _shaped(self, ref: FrameRef) -> tuple[VideoFrame, str | None]:
        frame = self._over.take()
        frame.color_range = self._range
        try:
            return self._fit.apply(Picture(frame, "bin")) if self._fit else (frame, None)
        except SizeRefused as error:
            raise RenderFailed(str(error), ref.index) from error


def _left_out(works: Sequence[Work]) -> str | None:
    out = [work for work in works if work.fault]
    return f"{len(out)} of {len(works)} frames left out; frame {out[0].ref.index}: {out[0].reason}" if out else None


def _report(work: Work) -> MemberReport:
    outcome = work.fault or ("resized" if work.reason else "ok")
    return MemberReport(work.ref.index, work.ref.key, work.sha256, work.decoder, outcome, work.reason)
