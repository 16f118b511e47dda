"""Renders one segment: runs the stages on each frame, applies the fault policy and encodes one closed GOP."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext

from av import VideoFrame

from service.pipeline.bins import Binning, member_options
from service.pipeline.colour import FULL_RANGE, IMAGE_COLOUR, PIXEL_FORMATS, ColourTags
from service.pipeline.cuda.slot_device import SlotDevice
from service.pipeline.cuda.stages import (
    device_stages,
    device_video_stages,
    encoder_label,
    segment_encoder,
)
from service.pipeline.encode.codecs import encoder_name
from service.pipeline.fault_policy import FaultPolicy
from service.pipeline.frame_context import EncoderInput, FrameContext, Stage, Stopwatch, count_fallbacks, run_stages
from service.pipeline.frames import FrameReader, FrameReport, SegmentResult, SourceReader
from service.pipeline.stages import (
    FetchStage,
    ImageDecodeStage,
    JpegCopyStage,
    RawSampleStage,
    TiffPageDecodeStage,
    TransformStage,
    VideoDecodeStage,
    can_copy_jpegs,
)
from service.pipeline.stills.artifacts import SegmentArtifacts
from service.pipeline.tone.window import Window
from service.pipeline.transform.frame_transform import FrameTransform
from service.plan.render_plan import FrameRef, RenderOptions, SegmentPlan


def render_segment(
    plan: SegmentPlan,
    reader: FrameReader,
    sources: SourceReader,
    report_progress: Callable[[int], None],
    device: SlotDevice | None = None,
) -> SegmentResult:
    """Render one closed GOP on the calling thread, holding a bounded number of frames.

    `reader` serves image segments, `sources` video segments; `progress` hears how many planned output frames are done.
    The same plan and the same source bytes give the same result bytes. Raises RenderFailed under a `fail` policy, and
    whatever `reader` or `sources` raise beyond FrameMissing and FrameUnreadable; on a `device` also DeviceLost and
    EncoderLost, everything else that a device does wrong being a frame's fallback to the CPU.
    """
    watch = Stopwatch("fetch", "decode", "transform", "encode")
    reports: list[FrameReport] = []
    fallbacks: Counter[tuple[str, str]] = Counter()
    with _open_stages(plan, (reader, sources), device) as (stages, colour), ExitStack() as closed:
        one = count_fallbacks(lambda ref: run_stages(ref, stages, watch), fallbacks)
        made = _frame_source(plan, colour, one, lambda: report_progress(len(reports)))
        policies = FaultPolicy(plan, made)
        encoder, beside = segment_encoder(plan.options, colour, device), SegmentArtifacts(plan.options)
        closed.callback(encoder.close)
        write = _overlay_writer(plan.options, watch)
        for refs in plan.outputs():
            frame, report = policies.apply(made(refs))
            if frame is not None:
                with write(frame, refs[0]):
                    with watch.measure("transform"):
                        beside.observe(frame, encoder.next_start_seconds)
                    with watch.measure("encode"):
                        encoder.add(frame, plan.shown_for(refs))
            elif plan.options.timing:
                encoder.skip(plan.shown_for(refs))
            reports.append(report)
            report_progress(len(reports))
        with watch.measure("encode"):
            data = encoder.finish()
    maker = encoder_label(plan.options, device) or encoder_name(plan.options.codec)
    return SegmentResult(data, encoder.frames, tuple(reports), watch.seconds, maker, beside.finish(), fallbacks)


def _overlay_writer(
    options: RenderOptions, stopwatch: Stopwatch
) -> Callable[[EncoderInput, FrameRef], AbstractContextManager[None]]:
    """What lays the overlay onto a picture while it is encoded: a picture that is held is written on again."""
    overlay = options.overlay
    if overlay is None:
        return lambda *_: nullcontext()
    from service.pipeline.overlay.caption import OverlayRenderer  # Pillow's font, for renders that need it

    caption = OverlayRenderer(
        overlay, options.width, options.height, full_range=PIXEL_FORMATS[options.form].range == FULL_RANGE
    )

    @contextmanager
    def written(frame: EncoderInput, ref: FrameRef) -> Iterator[None]:
        assert isinstance(frame, VideoFrame), "a JPEG that is written on is not copied"
        with stopwatch.measure("transform"):
            restore = caption.draw(frame, ref)
        yield
        restore()

    return written


def _frame_source(
    plan: SegmentPlan,
    colour: ColourTags,
    process_frame: Callable[[FrameRef], FrameContext],
    report_progress: Callable[[], None],
) -> Callable[[Sequence[FrameRef]], FrameContext]:
    """What makes one output frame of its source frames; `tick` says after each member of a bin that work goes on."""
    bins = plan.options.bins
    if bins is None:
        return lambda refs: process_frame(refs[0])

    def member(ref: FrameRef) -> FrameContext:
        report_progress()
        return process_frame(ref)

    return Binning(plan.options, bins, colour, member).render_bin


@contextmanager
def _open_stages(
    plan: SegmentPlan, readers: tuple[FrameReader, SourceReader], device: SlotDevice | None
) -> Iterator[tuple[list[Stage], ColourTags]]:
    options, (reader, sources) = member_options(plan.options), readers
    if options.source_kind == "frames":
        copy: list[Stage] = [JpegCopyStage(options)] if can_copy_jpegs(options) else []
        with closing(_tiff_page_stage(options, sources)) as pages, device_stages(plan, reader, device) as first:
            yield (
                [*first, FetchStage(reader), *copy, pages, _image_stage(options), _transform_stage(options)],
                IMAGE_COLOUR,
            )
        return
    with closing(VideoDecodeStage(sources, options.max_pixels)) as decode:
        colour = decode.source_colour((*plan.frames, *plan.lead))
        with device_video_stages(plan, sources, colour, device) as first:
            yield [*first, decode, TransformStage(FrameTransform(options, colour))], colour


def _window(options: RenderOptions) -> Window | None:
    return Window(options.tone.low, options.tone.high) if options.tone else None


def _tiff_page_stage(options: RenderOptions, sources: SourceReader) -> TiffPageDecodeStage:
    return TiffPageDecodeStage(sources, (options.max_pixels, options.background), _window(options))


def _image_stage(options: RenderOptions) -> ImageDecodeStage:
    return ImageDecodeStage(options.max_pixels, options.background, _window(options))


def _transform_stage(options: RenderOptions) -> Stage:
    return (RawSampleStage if options.bins else TransformStage)(FrameTransform(options, IMAGE_COLOUR))
