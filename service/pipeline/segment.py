"""One segment, start to finish: fetch -> decode -> transform -> (policy) -> encode, a frame at a time."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from service.pipeline.by_products import ByProducts
from service.pipeline.codecs import encoder_name
from service.pipeline.colour import IMAGE_COLOUR, Colour
from service.pipeline.encode import SegmentEncoder
from service.pipeline.fetch import FetchImage
from service.pipeline.frames import FrameReader, FrameReport, SegmentResult, SourceReader
from service.pipeline.jpeg_copy import CopyJpeg, may_copy
from service.pipeline.policy import Policies
from service.pipeline.sources import DecodeImage, DecodeVideo, FitPicture
from service.pipeline.stack import DecodePage
from service.pipeline.stopwatch import Stopwatch
from service.pipeline.transform import Transform
from service.pipeline.window import Window
from service.pipeline.work import Stage, prepare
from service.plan.render_plan import RenderOptions, SegmentPlan


def render_segment(
    plan: SegmentPlan, reader: FrameReader, sources: SourceReader, progress: Callable[[int], None]
) -> SegmentResult:
    """Render one closed GOP on the calling thread, holding a bounded number of frames.

    `reader` serves image segments, `sources` video segments; `progress` is told how many planned frames are done.
    The same plan and the same source bytes give the same result bytes. Raises RenderFailed under a `fail` policy, and
    whatever `reader` or `sources` raise beyond FrameMissing and FrameUnreadable.
    """
    watch = Stopwatch("fetch", "decode", "transform", "encode")
    reports: list[FrameReport] = []
    with _stages(plan, reader, sources) as (stages, colour):
        policies = Policies(plan, lambda ref: prepare(ref, stages, watch))
        encoder, beside = SegmentEncoder(plan.options, colour), ByProducts(plan.options)
        for ref in plan.frames:
            frame, report = policies.settle(prepare(ref, stages, watch))
            if frame is not None:
                with watch.time("transform"):
                    beside.see(frame, encoder.clock)
                with watch.time("encode"):
                    encoder.add(frame)
            reports.append(report)
            progress(len(reports))
        with watch.time("encode"):
            data = encoder.finish()
    made_by = encoder_name(plan.options.codec)
    return SegmentResult(data, encoder.frames, tuple(reports), watch.seconds, made_by, beside.pieces())


@contextmanager
def _stages(plan: SegmentPlan, reader: FrameReader, sources: SourceReader) -> Iterator[tuple[list[Stage], Colour]]:
    options = plan.options
    if options.source_kind == "frames":
        copy: list[Stage] = [CopyJpeg(options)] if may_copy(options) else []
        with closing(_decode_page(options, sources)) as pages:
            yield [FetchImage(reader), *copy, pages, _decode_image(options), _fit(options)], IMAGE_COLOUR
        return
    decode = DecodeVideo(sources, options.max_pixels)
    try:
        colour = decode.colour((*plan.frames, *plan.lead))
        yield [decode, FitPicture(Transform(options, colour))], colour
    finally:
        decode.close()


def _window(options: RenderOptions) -> Window | None:
    return Window(options.tone.low, options.tone.high) if options.tone else None


def _decode_page(options: RenderOptions, sources: SourceReader) -> DecodePage:
    return DecodePage(sources, (options.max_pixels, options.background), _window(options))


def _decode_image(options: RenderOptions) -> DecodeImage:
    return DecodeImage(options.max_pixels, options.background, _window(options))


def _fit(options: RenderOptions) -> FitPicture:
    return FitPicture(Transform(options, IMAGE_COLOUR))
