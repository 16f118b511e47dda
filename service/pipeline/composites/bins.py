"""Temporal binning: renders the members of a bin and combines them into one output frame."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain

from av import VideoFrame

from service.pipeline.colour import PIXEL_FORMATS, ColourTags
from service.pipeline.frame_context import FrameContext, FrameFault
from service.pipeline.frames import BinMemberReport, MediaUnreadable, RenderFailed, SizeMismatch
from service.pipeline.picture import ClipCounts, Picture
from service.pipeline.tone.window import Window
from service.pipeline.transform.accumulators import BinAccumulator, MaxAccumulator, MeanAccumulator, RawBinAccumulator
from service.pipeline.transform.frame_transform import FrameTransform
from service.plan.geometry import Bins
from service.plan.render_plan import FrameRef, RenderOptions


def member_options(options: RenderOptions) -> RenderOptions:
    """The options for the members of a bin: they are rendered at the size at which the bin combines them."""
    bins = options.bins
    return replace(options, width=bins.width, height=bins.height) if bins else options


class Binning:
    """Combines the members of a bin into one frame. Missing, changed and corrupt members are left out and reported.

    High-bit-depth members are reduced as raw samples, before the tone. If a bin mixes sample formats or sizes, each run
    of one format is reduced to a picture, and the pictures are combined by weight.
    """

    def __init__(
        self, options: RenderOptions, bins: Bins, colour: ColourTags, run_member: Callable[[FrameRef], FrameContext]
    ) -> None:
        self._run_member = run_member
        self._accumulator: BinAccumulator = MeanAccumulator(bins.size) if bins.mode == "mean" else MaxAccumulator()
        self._raw_accumulator = RawBinAccumulator(bins, Window.of(options.tone)) if options.tone else None
        self._range = PIXEL_FORMATS[options.form].range
        self._output_transform = FrameTransform(options, colour)
        self._member_transform, self._final_transform = self._output_transform, None
        if member_options(options) != options:
            self._member_transform = FrameTransform(member_options(options), colour)
            self._final_transform = FrameTransform(replace(options, crop=None, rotate=0, tone=None), colour)
        self._clip_counts: list[ClipCounts] = []

    def render_bin(self, members: Sequence[FrameRef]) -> FrameContext:
        """One context for the bin, with a report of each member. Raises RenderFailed on a size mismatch."""
        self._clip_counts = []
        contexts = [self._add_member(ref) for ref in members]
        clock = next((member.clock for member in members if member.clock), None)
        result = FrameContext(replace(members[0], key=None, clock=clock))
        result.members = tuple(member_report(context) for context in contexts)
        result.reason = next((context.reason for context in contexts if context.reason), None)
        result.conversions = tuple(dict.fromkeys(chain.from_iterable(context.conversions for context in contexts)))
        if contexts[0].merged_into_bin:
            result.frame, result.clip_counts = contexts[0].frame, contexts[0].clip_counts
            return result
        faulty = [context for context in contexts if context.fault]
        if self._accumulator.count or (self._raw_accumulator and self._raw_accumulator.count):
            result.frame, reshape_reason = self._finish_frame(members[0])
            result.reason = result.reason or reshape_reason
            if result.frame is None:
                result.fault = "corrupt"
            elif faulty:
                first = f"frame {faulty[0].ref.index}: {faulty[0].reason}"
                result.reason = f"{len(faulty)} of {len(contexts)} frames left out; {first}"
        else:
            result.fault = _bin_fault(contexts)
        if self._clip_counts:
            result.clip_counts = ClipCounts(*map(sum, zip(*self._clip_counts, strict=True)))
        return result

    def _add_member(self, ref: FrameRef) -> FrameContext:
        context = self._run_member(ref)
        if context.merged_into_bin:
            return context
        if context.raw_picture is not None:
            assert self._raw_accumulator is not None
            if not self._raw_accumulator.accepts(context.raw_picture):
                self._flush_run(self._raw_accumulator)
            self._raw_accumulator.add(context.raw_picture)
        elif context.frame is not None:
            assert isinstance(context.frame, VideoFrame), "can_copy_jpegs is false for renders with bins"
            self._accumulator.add(context.frame)
        context.frame = context.raw_picture = None
        return context

    def _flush_run(self, run: RawBinAccumulator) -> None:
        """Reduce the raw samples so far to one frame that counts as many times; none if no pixel has a number."""
        weight = run.count
        with suppress(MediaUnreadable):
            self._accumulator.add(self._transform_run(run, self._member_transform)[0], weight)

    def _transform_run(self, run: RawBinAccumulator, transform: FrameTransform) -> tuple[VideoFrame, str | None]:
        picture = run.finish()
        if clip_counts := transform.count_clipped(picture):
            self._clip_counts.append(clip_counts)
        return transform.apply(picture)

    def _finish_frame(self, ref: FrameRef) -> tuple[VideoFrame | None, str | None]:
        """(frame ready to encode, why it was reshaped or None); (None, why the bin cannot be shown)."""
        try:
            if self._raw_accumulator and self._raw_accumulator.count:
                if not self._accumulator.count:
                    return self._transform_run(self._raw_accumulator, self._output_transform)
                self._flush_run(self._raw_accumulator)
                if not self._accumulator.count:
                    raise MediaUnreadable("no sample is a number in all of its frames")
            frame = self._accumulator.finish()
            frame.color_range = self._range
            return self._final_transform.apply(Picture(frame, "bin")) if self._final_transform else (frame, None)
        except SizeMismatch as error:
            raise RenderFailed(str(error), ref.index) from error
        except MediaUnreadable as error:  # each frame has numbers, but no pixel has one in all frames
            return None, f"the mean or maximum of the bin: {error.reason}"


def _bin_fault(contexts: Sequence[FrameContext]) -> FrameFault:
    """The fault of a bin without a good member: the one that all share, else changed if any is, else corrupt."""
    faults = {context.fault for context in contexts}
    if "changed" in faults:
        return "changed"
    return "missing" if faults == {"missing"} else "corrupt"


def member_report(context: FrameContext) -> BinMemberReport:
    outcome = context.fault or ("resized" if context.reason else "ok")
    return BinMemberReport(context.ref.index, context.ref.key, context.sha256, context.decoder, outcome, context.reason)
