"""Bins of neighbouring frames -> one picture each. uint8 planes of yuv420p in and out, accumulators of one picture."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from av import VideoFrame

from service.pipeline.colour import Colour
from service.pipeline.frames import MemberReport, RenderFailed
from service.pipeline.picture import Picture
from service.pipeline.planes import Plane, view
from service.pipeline.transform import SizeRefused, Transform
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
    """The mean of each sample, rounded to the nearest. Sums are uint16 for up to 256 frames."""

    def __init__(self, size: int) -> None:
        self._type = np.uint16 if size <= 256 else np.uint32
        self._sums: list[Sums] = []
        self.count = 0

    def add(self, frame: VideoFrame) -> None:
        samples = [view(plane) for plane in frame.planes]
        self._sums = self._sums or [np.zeros(plane.shape, self._type) for plane in samples]
        for total, plane in zip(self._sums, samples, strict=True):
            np.add(total, plane, out=total)
        self.count += 1

    def take(self) -> VideoFrame:
        luma = self._sums[0]
        frame = VideoFrame(luma.shape[1], luma.shape[0], "yuv420p")
        for plane, total in zip(frame.planes, self._sums, strict=True):
            np.add(total, self.count // 2, out=total)
            view(plane)[:] = total // self.count
            total[:] = 0
        self.count = 0
        return frame


class Brightest:
    """The greatest luma of each pixel; chroma is that of the frame whose two by two pixels are brightest, the first of
    equals: the greatest Cb and Cr of several frames would be a colour that none of them has."""

    def __init__(self) -> None:
        self._kept: VideoFrame | None = None
        self._sums: Sums = np.zeros((0, 0), np.uint16)
        self.count = 0

    def add(self, frame: VideoFrame) -> None:
        luma = view(frame.planes[0])
        sums = _two_by_two(luma)
        if self._kept is None:
            self._kept, self._sums = _copy(frame), sums
        else:
            brighter = sums > self._sums
            kept = [view(plane) for plane in self._kept.planes]
            np.maximum(kept[0], luma, out=kept[0])
            for into, plane in zip(kept[1:], frame.planes[1:], strict=True):
                np.copyto(into, view(plane), where=brighter)
            np.maximum(self._sums, sums, out=self._sums)
        self.count += 1

    def take(self) -> VideoFrame:
        assert self._kept is not None
        frame, self._kept, self.count = self._kept, None, 0
        return frame


def _two_by_two(luma: Plane) -> Sums:
    rows = luma[::2].astype(np.uint16) + luma[1::2]
    sums: Sums = rows[:, ::2] + rows[:, 1::2]
    return sums


def _copy(frame: VideoFrame) -> VideoFrame:
    same = VideoFrame(frame.width, frame.height, "yuv420p")
    for into, plane in zip(same.planes, frame.planes, strict=True):
        view(into)[:] = view(plane)
    return same


def member_options(options: RenderOptions) -> RenderOptions:
    """How a single frame is shaped: to the size at which the bin lays frames over one another."""
    bins = options.bins
    return replace(options, width=bins.width, height=bins.height) if bins else options


class Binning:
    """Makes one Work of a bin's members: those that are missing or corrupt are left out and named."""

    def __init__(self, options: RenderOptions, bins: Bins, colour: Colour, prepare: Callable[[FrameRef], Work]) -> None:
        self._prepare = prepare
        self._over: Layers = Mean(bins.size) if bins.mode == "mean" else Brightest()
        last = replace(options, crop=None, rotate=0)
        self._fit = None if member_options(options) == options else Transform(last, colour)

    def prepare(self, members: Sequence[FrameRef]) -> Work:
        """Raises RenderFailed on a refused size, and what `prepare` raises."""
        works = [self._laid(ref) for ref in members]
        clock = next((member.clock for member in members if member.clock), None)
        bin_ = Work(replace(members[0], key=None, clock=clock))
        bin_.members = tuple(_report(work) for work in works)
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
            self._over.add(work.frame)
            work.frame = None
        return work

    def _shaped(self, ref: FrameRef) -> tuple[VideoFrame, str | None]:
        frame = self._over.take()
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
