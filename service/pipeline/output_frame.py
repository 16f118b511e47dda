"""Renders one output frame of a render as a PNG, by the stages of a segment: the picture that its encoder is given."""

from dataclasses import dataclass

from av import VideoFrame

from service.pipeline.colour import FULL_RANGE, PIXEL_FORMATS, ColourTags, video_colour
from service.pipeline.fault_policy import FaultPolicy
from service.pipeline.frame_context import EncoderInput, FrameContext, FrameTally, FrameWatch, Stopwatch, run_stages
from service.pipeline.frames import FrameReader, SourceReader
from service.pipeline.segment import open_stages, output_renderer, overlay_writer
from service.pipeline.stills.png import decode_jpeg, frame_png
from service.plan.formats import PixelFormat
from service.plan.render_plan import FrameRef, SegmentPlan


class FrameSkipped(Exception):
    """The render has no picture here: its policy is `skip`. `reason` says what is wrong with the frame."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class OutputPicture:
    """A PNG. `transient`: another attempt may show something else, as an object was missing, changed or damaged."""

    png: bytes
    transient: bool


def render_output_frame(
    plan: SegmentPlan, reader: FrameReader, sources: SourceReader, watch: FrameWatch
) -> OutputPicture:
    """The picture of the only output frame of `plan`, on the CPU; of `plan.lead` it reads what is held in its place.

    Raises FrameSkipped, RenderFailed under a `fail` policy, and what `reader` and `sources` raise beyond
    FrameUnavailable and FrameUnreadable.
    """
    stopwatch, tally = Stopwatch("fetch", "decode", "transform"), FrameTally()
    with open_stages(plan, reader, sources, None) as (stages_of, colour):
        run_frame = tally.watch(watch.guard(lambda ref: run_stages(ref, stages_of(ref), stopwatch)))

        def run_and_report(ref: FrameRef) -> FrameContext:
            watch.report_progress(0)
            return run_frame(ref)

        render_output = output_renderer(plan, colour, run_and_report, lambda: None)
        frame, report = FaultPolicy(plan, render_output).apply(render_output(plan.frames))
        if frame is None:
            raise FrameSkipped(report.reason or "it cannot be shown")
        with overlay_writer(plan.options, stopwatch)(frame, plan.frames[0]):
            return OutputPicture(_to_png(frame, colour, plan.options.form), tally.transient)


def _to_png(frame: EncoderInput, colour: ColourTags, form: PixelFormat) -> bytes:
    if isinstance(frame, bytes):
        decoded = decode_jpeg(frame)
        return frame_png(decoded, video_colour(decoded), FULL_RANGE)
    assert isinstance(frame, VideoFrame), "a preview is planned on the CPU"
    return frame_png(frame, colour, PIXEL_FORMATS[form].range)
