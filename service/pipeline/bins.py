"""Bins of neighbouring frames -> one picture each: of what was measured, or of frames of the encoder's form."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from av import VideoFrame

from service.pipeline.colour import Colour
from service.pipeline.form import FORMS
from service.pipeline.frames import MemberReport, RenderFailed
from service.pipeline.geometry import SizeRefused
from service.pipeline.layers import Brightest, Layers, Mean
from service.pipeline.measured import Measured
from service.pipeline.picture import Picture
from service.pipeline.transform import Transform
from service.pipeline.window import Clipped, Window
from service.pipeline.work import Work
from service.plan.geometry import Bins
from service.plan.render_plan import FrameRef, RenderOptions


def member_options(options: RenderOptions) -> RenderOptions:
    """How a single frame is shaped: to the size at which the bin lays frames over one another."""
    bins = options.bins
    return replace(options, width=bins.width, height=bins.height) if bins else options


class Binning:
    """Makes one Work of a bin's members: those that are missing or corrupt are left out and named.

    Deep members are reduced as they were measured, and then shown as one frame would be. Where a bin has frames of
    several kinds or sizes, each run of one kind becomes a picture, and the pictures are laid over one another.
    """

    def __init__(self, options: RenderOptions, bins: Bins, colour: Colour, prepare: Callable[[FrameRef], Work]) -> None:
        self._prepare = prepare
        self._over: Layers = Mean(bins.size) if bins.mode == "mean" else Brightest()
        self._range = FORMS[options.form].range
        last = replace(options, crop=None, rotate=0, tone=None)
        self._fit = None if member_options(options) == options else Transform(last, colour)
        self._measured = Measured(bins, Window(options.tone.low, options.tone.high)) if options.tone else None
        self._whole = Transform(options, colour)
        self._member = self._whole if self._fit is None else Transform(member_options(options), colour)
        self._clips: list[Clipped] = []

    def prepare(self, members: Sequence[FrameRef]) -> Work:
        """Raises RenderFailed on a refused size, and what `prepare` raises."""
        self._clips = []
        works = [self._laid(ref) for ref in members]
        clock = next((member.clock for member in members if member.clock), None)
        bin_ = Work(replace(members[0], key=None, clock=clock))
        bin_.members = tuple(_report(work) for work in works)
        bin_.reason = next((work.reason for work in works if work.reason), None)
        if works[0].laid:
            bin_.frame, bin_.clipped = works[0].frame, works[0].clipped
            return bin_
        if self._over.count or (self._measured and self._measured.count):
            bin_.frame, reason = self._shaped(members[0])
            bin_.reason = _left_out(works) or bin_.reason or reason
        else:
            bin_.fault = "missing" if all(work.fault == "missing" for work in works) else "corrupt"
        bin_.clipped = Clipped(*map(sum, zip(*self._clips, strict=True))) if self._clips else None
        return bin_

    def _laid(self, ref: FrameRef) -> Work:
        work = self._prepare(ref)
        if work.laid:
            return work
        if work.measured is not None:
            assert self._measured is not None
            if not self._measured.takes(work.measured):
                self._end_run(self._measured)
            self._measured.add(work.measured)
        elif work.frame is not None:
            assert isinstance(work.frame, VideoFrame), "JPEGs are not copied into a bin"
            self._over.add(work.frame)
        work.frame = work.measured = None
        return work

    def _end_run(self, run: Measured) -> None:
        """What was measured so far becomes a picture that stands for as many frames."""
        weight = run.count
        self._over.add(self._shown(run, self._member)[0], weight)

    def _shown(self, run: Measured, through: Transform) -> tuple[VideoFrame, str | None]:
        picture = run.take()
        if clipped := through.clipped(picture):
            self._clips.append(clipped)
        return through.apply(picture)

    def _shaped(self, ref: FrameRef) -> tuple[VideoFrame, str | None]:
        try:
            if self._measured and self._measured.count:
                if not self._over.count:
                    return self._shown(self._measured, self._whole)
                self._end_run(self._measured)
            frame = self._over.take()
            frame.color_range = self._range
            return self._fit.apply(Picture(frame, "bin")) if self._fit else (frame, None)
        except SizeRefused as error:
            raise RenderFailed(str(error), ref.index) from error


def _left_out(works: Sequence[Work]) -> str | None:
    out = [work for work in works if work.fault]
    return f"{len(out)} of {len(works)} frames left out; frame {out[0].ref.index}: {out[0].reason}" if out else None


def _report(work: Work) -> MemberReport:
    outcome = work.fault or ("resized" if work.reason else "ok")
    return MemberReport(work.ref.index, work.ref.key, work.sha256, work.decoder, outcome, work.reason)
