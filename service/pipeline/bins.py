"""Temporal binning: renders the members of a bin and combines them into one output frame."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from av import VideoFrame

from service.pipeline.colour import PIXEL_FORMATS, ColourTags
from service.pipeline.frame_context import FrameContext
from service.pipeline.frames import BinMemberReport, RenderFailed, SizeMismatch
from service.pipeline.picture import ClipCounts, Picture
from service.pipeline.tone.window import Window
from service.pipeline.transform.accumulators import BinAccumulator, MaxAccumulator, MeanAccumulator, RawBinAccumulator
from service.pipeline.transform.frame_transform import FrameTransform
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

    def __init__(
        self, options: RenderOptions, bins: Bins, colour: ColourTags, prepare_frame: Callable[[FrameRef], FrameContext]
    ) -> None:
        self._prepare_frame = prepare_frame
        self._accumulator: BinAccumulator = MeanAccumulator(bins.size) if bins.mode == "mean" else MaxAccumulator()
        self._range = PIXEL_FORMATS[options.form].range
        last = replace(options, crop=None, rotate=0, tone=None)
        self._final_transform = None if member_options(options) == options else FrameTransform(last, colour)
        self._raw_accumulator = (
            RawBinAccumulator(bins, Window(options.tone.low, options.tone.high)) if options.tone else None
        )
        self._output_transform = FrameTransform(options, colour)
        self._member_transform = (
            self._output_transform if self._final_transform is None else FrameTransform(member_options(options), colour)
        )
        self._clip_counts: list[ClipCounts] = []

    def render_bin(self, members: Sequence[FrameRef]) -> FrameContext:
        """Raises RenderFailed on a refused size, and what `prepare` raises."""
        self._clip_counts = []
        works = [self._add_member(ref) for ref in members]
        clock = next((member.clock for member in members if member.clock), None)
        bin_ = FrameContext(replace(members[0], key=None, clock=clock))
        bin_.members = tuple(_member_report(work) for work in works)
        bin_.reason = next((work.reason for work in works if work.reason), None)
        if works[0].merged_into_bin:
            bin_.frame, bin_.clip_counts = works[0].frame, works[0].clip_counts
            return bin_
        if self._accumulator.count or (self._raw_accumulator and self._raw_accumulator.count):
            bin_.frame, reason = self._finish_picture(members[0])
            bin_.reason = _left_out_reason(works) or bin_.reason or reason
        else:
            bin_.fault = "missing" if all(work.fault == "missing" for work in works) else "corrupt"
        bin_.clip_counts = ClipCounts(*map(sum, zip(*self._clip_counts, strict=True))) if self._clip_counts else None
        return bin_

    def _add_member(self, ref: FrameRef) -> FrameContext:
        work = self._prepare_frame(ref)
        if work.merged_into_bin:
            return work
        if work.raw_picture is not None:
            assert self._raw_accumulator is not None
            if not self._raw_accumulator.accepts(work.raw_picture):
                self._flush_run(self._raw_accumulator)
            self._raw_accumulator.add(work.raw_picture)
        elif work.frame is not None:
            assert isinstance(work.frame, VideoFrame), "JPEGs are not copied into a bin"
            self._accumulator.add(work.frame)
        work.frame = work.raw_picture = None
        return work

    def _flush_run(self, run: RawBinAccumulator) -> None:
        """What was measured so far becomes a picture that stands for as many frames."""
        weight = run.count
        self._accumulator.add(self._transform_run(run, self._member_transform)[0], weight)

    def _transform_run(self, run: RawBinAccumulator, transform: FrameTransform) -> tuple[VideoFrame, str | None]:
        picture = run.finish()
        if clipped := transform.count_clipped(picture):
            self._clip_counts.append(clipped)
        return transform.apply(picture)

    def _finish_picture(self, ref: FrameRef) -> tuple[VideoFrame, str | None]:
        try:
            if self._raw_accumulator and self._raw_accumulator.count:
                if not self._accumulator.count:
                    return self._transform_run(self._raw_accumulator, self._output_transform)
                self._flush_run(self._raw_accumulator)
            frame = self._accumulator.finish()
            frame.color_range = self._range
            return self._final_transform.apply(Picture(frame, "bin")) if self._final_transform else (frame, None)
        except SizeMismatch as error:
            raise RenderFailed(str(error), ref.index) from error


def _left_out_reason(contexts: Sequence[FrameContext]) -> str | None:
    out = [work for work in contexts if work.fault]
    return f"{len(out)} of {len(contexts)} frames left out; frame {out[0].ref.index}: {out[0].reason}" if out else None


def _member_report(context: FrameContext) -> BinMemberReport:
    outcome = context.fault or ("resized" if context.reason else "ok")
    return BinMemberReport(context.ref.index, context.ref.key, context.sha256, context.decoder, outcome, context.reason)
