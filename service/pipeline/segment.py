"""Renders one segment: `open_stages` lists the stages of a frame, `render_segment` takes each frame through them,
then through the fault policy, the overlay and the encoder.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import replace

from av import VideoFrame

from service.pipeline.colour import FULL_RANGE, IMAGE_COLOUR, PIXEL_FORMATS, ColourTags
from service.pipeline.composites.bins import Binning, member_options
from service.pipeline.composites.grid import GridComposer, panel_options
from service.pipeline.cuda.slot_device import SlotDevice
from service.pipeline.cuda.stages import (
    device_stages,
    device_video_stages,
    encoder_label,
    segment_encoder,
)
from service.pipeline.encode.codecs import encoder_name
from service.pipeline.fault_policy import FaultPolicy
from service.pipeline.frame_context import (
    EncoderInput,
    FrameContext,
    FrameTally,
    FrameWatch,
    Stage,
    Stopwatch,
    run_stages,
)
from service.pipeline.frames import FrameReader, FrameReport, SegmentResult, SourceReader
from service.pipeline.images.header import DecodeOptions
from service.pipeline.stages import (
    AssumedColourStage,
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
from service.pipeline.transform.frame_transform import FrameTransform
from service.plan.render_plan import FrameRef, RenderOptions, SegmentPlan


def render_segment(
    plan: SegmentPlan,
    reader: FrameReader,
    sources: SourceReader,
    watch: FrameWatch,
    device: SlotDevice | None = None,
) -> SegmentResult:
    """Render one closed GOP on the calling thread, holding a bounded number of frames in memory.

    `reader` reads image frames, `sources` opens videos and TIFF stacks. The same plan and source bytes give the
    same result bytes, unless `watch` bars frames.

    Raises RenderFailed under a `fail` policy, what `reader` and `sources` raise beyond FrameUnavailable and
    FrameUnreadable, and DeviceLost or EncoderLost. Any other error of a GPU makes that frame fall back to the CPU.
    """
    options, stopwatch = plan.options, Stopwatch("fetch", "decode", "transform", "encode")
    reports: list[FrameReport] = []
    tally = FrameTally()
    with open_stages(plan, reader, sources, device) as (stages_of, colour), ExitStack() as cleanup:
        run_frame = tally.watch(watch.guard(lambda ref: run_stages(ref, stages_of(ref), stopwatch)))
        render_output = output_renderer(plan, colour, run_frame, lambda: watch.report_progress(len(reports)))
        policy = FaultPolicy(plan, render_output)
        overlay = overlay_writer(options, stopwatch)
        artifacts, encoder = SegmentArtifacts(options, colour), segment_encoder(options, colour, device)
        cleanup.callback(encoder.close)
        for refs in plan.outputs():
            frame, report = policy.apply(render_output(refs))
            if frame is not None:
                with overlay(frame, refs[0]):
                    with stopwatch.measure("transform"):
                        artifacts.observe(frame, encoder.next_start_seconds)
                    with stopwatch.measure("encode"):
                        encoder.add(frame, plan.shown_for(refs))
            elif options.timing:
                encoder.skip(plan.shown_for(refs))
            reports.append(report)
            watch.report_progress(len(reports))
        with stopwatch.measure("encode"):
            data = encoder.finish()
    return SegmentResult(
        data=data,
        frames=encoder.frames,
        reports=tuple(reports),
        seconds=stopwatch.seconds,
        encoder=encoder_label(options, device) or encoder_name(options.codec),
        artifacts=artifacts.finish(),
        fallbacks=tally.fallbacks,
        transient=tally.transient,
    )


@contextmanager
def open_stages(
    plan: SegmentPlan, reader: FrameReader, sources: SourceReader, device: SlotDevice | None
) -> Iterator[tuple[Callable[[FrameRef], Sequence[Stage]], ColourTags]]:
    """The stages of a source frame, which depend on its panel in a grid, and the colour tags of the output."""
    grid = plan.options.grid
    if grid is None:
        with _open_stages(plan, reader, sources, device) as (stages, colour):
            yield lambda _: stages, colour
        return
    with ExitStack() as opened:
        panels = []
        for panel in grid.panels:
            alone = replace(plan, options=panel_options(plan.options, grid, panel))
            panels.append(opened.enter_context(_open_stages(alone, reader, sources, None, is_panel=True)))
        has_images = any(panel.kind == "frames" for panel in grid.panels)
        yield lambda ref: panels[ref.panel or 0][0], IMAGE_COLOUR if has_images else panels[0][1]


@contextmanager
def _open_stages(
    plan: SegmentPlan, reader: FrameReader, sources: SourceReader, device: SlotDevice | None, *, is_panel: bool = False
) -> Iterator[tuple[list[Stage], ColourTags]]:
    """The stages of each source frame, in order, and the colour tags of the output. JPEGs are not
    copied into a panel, and fields of it are not kept: the picture is one for all panels.

    A frame leaves the list at the first stage that finishes it. The GPU stages finish the frames that a GPU can render.
    """
    options = member_options(plan.options)
    if options.source_kind == "video":
        with closing(VideoDecodeStage(sources, options.max_pixels, options.deinterlace)) as decode:
            colour = ColourTags.of(options.colour or decode.source_colour((*plan.frames, *plan.lead)))
            transform = FrameTransform(options, colour)
            if options.codec == "ffv1" and not options.bins and not is_panel:
                decode.keep_fields_where(transform.keeps_rows)
            with device_video_stages(plan, sources, colour, device) as gpu_stages:
                first: list[Stage] = [AssumedColourStage()] if decode.assumed_colour else []
                yield [*first, *gpu_stages, decode, TransformStage(transform)], colour
        return
    decoding, transform = DecodeOptions.of_render(options), FrameTransform(options, IMAGE_COLOUR)
    with (
        closing(TiffPageDecodeStage(sources, decoding)) as decode_tiff_page,
        device_stages(plan, reader, device) as gpu_stages,
    ):
        stages: list[Stage] = [
            *gpu_stages,
            FetchStage(reader),
            *([JpegCopyStage(options)] if can_copy_jpegs(options) and not is_panel else []),
            decode_tiff_page,
            ImageDecodeStage(decoding),
            RawSampleStage(transform) if options.bins else TransformStage(transform),
        ]
        yield stages, IMAGE_COLOUR


def output_renderer(
    plan: SegmentPlan,
    colour: ColourTags,
    run_frame: Callable[[FrameRef], FrameContext],
    report_progress: Callable[[], None],
) -> Callable[[Sequence[FrameRef]], FrameContext]:
    """A function that renders one output frame from its source frames: one, the members of a bin, or those of a grid.

    `report_progress` is called before each of several.
    """
    bins, grid = plan.options.bins, plan.options.grid
    if bins is None and grid is None:
        return lambda refs: run_frame(refs[0])

    def run_member(ref: FrameRef) -> FrameContext:
        report_progress()
        return run_frame(ref)

    if grid is not None:
        return GridComposer(plan, grid, run_member).render
    assert bins is not None
    return Binning(plan.options, bins, colour, run_member).render_bin


def overlay_writer(
    options: RenderOptions, stopwatch: Stopwatch
) -> Callable[[EncoderInput, FrameRef], AbstractContextManager[None]]:
    """A context manager that draws the overlay on a frame and restores the frame after it has been encoded: a frame
    that is held is drawn on again."""
    overlay = options.overlay
    if overlay is None:
        return lambda *_: nullcontext()
    from service.pipeline.overlay.caption import OverlayRenderer  # loads Pillow's font

    full_range = PIXEL_FORMATS[options.form].range == FULL_RANGE
    renderer = OverlayRenderer(overlay, options.width, options.height, full_range=full_range)

    @contextmanager
    def written(frame: EncoderInput, ref: FrameRef) -> Iterator[None]:
        assert isinstance(frame, VideoFrame), "can_copy_jpegs is false for renders with an overlay"
        with stopwatch.measure("transform"):
            restore = renderer.draw(frame, ref)
        yield
        restore()

    return written
