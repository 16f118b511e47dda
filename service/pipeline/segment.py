"""One segment, start to finish: fetch -> decode -> transform -> (policy) -> encode, a frame at a time."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext

from av import VideoFrame

from service.pipeline.bins import Binning, member_options
from service.pipeline.by_products import ByProducts
from service.pipeline.codecs import encoder_name
from service.pipeline.colour import FULL, IMAGE_COLOUR, Colour
from service.pipeline.cuda.on_device import counted, device_stages, device_video_stages, made_by, segment_encoder
from service.pipeline.cuda.slot_device import SlotDevice
from service.pipeline.fetch import FetchImage
from service.pipeline.form import FORMS
from service.pipeline.frames import FrameReader, FrameReport, SegmentResult, SourceReader
from service.pipeline.jpeg_copy import CopyJpeg, may_copy
from service.pipeline.policy import Policies
from service.pipeline.sources import DecodeImage, DecodeVideo, FitPicture, MeasurePicture
from service.pipeline.stack import DecodePage
from service.pipeline.stopwatch import Stopwatch
from service.pipeline.transform import Transform
from service.pipeline.window import Window
from service.pipeline.work import Ready, Stage, Work, prepare
from service.plan.render_plan import FrameRef, RenderOptions, SegmentPlan


def render_segment(
    plan: SegmentPlan,
    reader: FrameReader,
    sources: SourceReader,
    progress: Callable[[int], None],
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
    with _stages(plan, (reader, sources), device) as (stages, colour), ExitStack() as closed:
        one = counted(lambda ref: prepare(ref, stages, watch), fallbacks)
        made = _maker(plan, colour, one, lambda: progress(len(reports)))
        policies = Policies(plan, made)
        encoder, beside = segment_encoder(plan.options, colour, device), ByProducts(plan.options)
        closed.callback(encoder.close)
        write = _writer(plan.options, watch)
        for refs in plan.outputs():
            frame, report = policies.settle(made(refs))
            if frame is not None:
                with write(frame, refs[0]):
                    with watch.time("transform"):
                        beside.see(frame, encoder.clock)
                    with watch.time("encode"):
                        encoder.add(frame, plan.shown_for(refs))
            elif plan.options.timing:
                encoder.wait(plan.shown_for(refs))
            reports.append(report)
            progress(len(reports))
        with watch.time("encode"):
            data = encoder.finish()
    maker = made_by(plan.options, device) or encoder_name(plan.options.codec)
    return SegmentResult(data, encoder.frames, tuple(reports), watch.seconds, maker, beside.pieces(), fallbacks)


def _writer(options: RenderOptions, watch: Stopwatch) -> Callable[[Ready, FrameRef], AbstractContextManager[None]]:
    """What lays the overlay onto a picture while it is encoded: a picture that is held is written on again."""
    overlay = options.overlay
    if overlay is None:
        return lambda *_: nullcontext()
    from service.pipeline.caption import Caption  # Pillow's font, for renders that need it

    caption = Caption(overlay, options.width, options.height, full_range=FORMS[options.form].range == FULL)

    @contextmanager
    def written(frame: Ready, ref: FrameRef) -> Iterator[None]:
        assert isinstance(frame, VideoFrame), "a JPEG that is written on is not copied"
        with watch.time("transform"):
            restore = caption.laid_on(frame, ref)
        yield
        restore()

    return written


def _maker(
    plan: SegmentPlan, colour: Colour, one: Callable[[FrameRef], Work], tick: Callable[[], None]
) -> Callable[[Sequence[FrameRef]], Work]:
    """What makes one output frame of its source frames; `tick` says after each member of a bin that work goes on."""
    bins = plan.options.bins
    if bins is None:
        return lambda refs: one(refs[0])

    def member(ref: FrameRef) -> Work:
        tick()
        return one(ref)

    return Binning(plan.options, bins, colour, member).prepare


@contextmanager
def _stages(
    plan: SegmentPlan, readers: tuple[FrameReader, SourceReader], device: SlotDevice | None
) -> Iterator[tuple[list[Stage], Colour]]:
    options, (reader, sources) = member_options(plan.options), readers
    if options.source_kind == "frames":
        copy: list[Stage] = [CopyJpeg(options)] if may_copy(options) else []
        with closing(_decode_page(options, sources)) as pages, device_stages(plan, reader, device) as first:
            yield [*first, FetchImage(reader), *copy, pages, _decode_image(options), _fit(options)], IMAGE_COLOUR
        return
    with closing(DecodeVideo(sources, options.max_pixels)) as decode:
        colour = decode.colour((*plan.frames, *plan.lead))
        with device_video_stages(plan, sources, colour, device) as first:
            yield [*first, decode, FitPicture(Transform(options, colour))], colour


def _window(options: RenderOptions) -> Window | None:
    return Window(options.tone.low, options.tone.high) if options.tone else None


def _decode_page(options: RenderOptions, sources: SourceReader) -> DecodePage:
    return DecodePage(sources, (options.max_pixels, options.background), _window(options))


def _decode_image(options: RenderOptions) -> DecodeImage:
    return DecodeImage(options.max_pixels, options.background, _window(options))


def _fit(options: RenderOptions) -> Stage:
    return (MeasurePicture if options.bins else FitPicture)(Transform(options, IMAGE_COLOUR))
