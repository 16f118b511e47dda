"""Where pictures come from: image objects one by one, or the pictures of source videos. Each is a list of stages."""

from collections.abc import Iterable

from service.pipeline.colour import DEFAULT_VIDEO_COLOUR, ColourTags, video_colour
from service.pipeline.decode import ImageDecoder
from service.pipeline.frames import FrameMissing, MediaUnreadable, SourceReader
from service.pipeline.image_header import require_pixel_limit
from service.pipeline.picture import Picture
from service.pipeline.transform import FrameTransform
from service.pipeline.video_source import VideoSource
from service.pipeline.window import Window
from service.pipeline.work import FrameContext
from service.plan.formats import BLACK
from service.plan.render_plan import FrameRef


class ImageDecodeStage:
    name = "decode"

    def __init__(self, max_pixels: int, background: str = BLACK, window: Window | None = None) -> None:
        self._decoder = ImageDecoder(max_pixels, background, window)

    def __call__(self, context: FrameContext) -> None:
        if context.picture is not None:  # a page of a stack
            return
        context.picture = self._decoder.decode(context.data)
        context.data = b""
        context.decoder = context.picture.decoder


class VideoDecodeStage:
    """Keeps one source open: consecutive frames of the same object are read forward."""

    name = "decode"

    def __init__(self, sources: SourceReader, max_pixels: int) -> None:
        self._sources = sources
        self._max_pixels = max_pixels
        self._open_key: str | None = None
        self._source: VideoSource | None = None

    def __call__(self, context: FrameContext) -> None:
        context.picture = self._decode(context.ref)
        context.decoder = context.picture.decoder

    def source_colour(self, refs: Iterable[FrameRef]) -> ColourTags:
        """The tags of the first source named; every segment of a render must come to the same ones."""
        ref = next((ref for ref in refs if ref.key is not None), None)
        try:
            return video_colour(self._open_source(ref).first_frame()) if ref else DEFAULT_VIDEO_COLOUR
        except (FrameMissing, MediaUnreadable):
            return DEFAULT_VIDEO_COLOUR

    def close(self) -> None:
        if self._source:
            self._source.close()
        self._open_key = self._source = None

    def _decode(self, ref: FrameRef) -> Picture:
        if ref.key is None or ref.pts is None:
            raise FrameMissing("the source video has no picture here")
        return self._open_source(ref).picture(ref.pts)

    def _open_source(self, ref: FrameRef) -> VideoSource:
        if self._source is None or self._open_key != ref.key:
            self.close()
            self._source = VideoSource(self._sources.open(ref))
            self._open_key = ref.key
        require_pixel_limit(self._source.stream.width, self._source.stream.height, self._max_pixels)
        return self._source


class RawSampleStage:
    """In the place of FitPicture for members of a bin: what a tone is for is left as it was measured."""

    name = "transform"

    def __init__(self, transform: FrameTransform) -> None:
        self._transform, self._fallback_stage = transform, TransformStage(transform)

    def __call__(self, context: FrameContext) -> None:
        assert context.picture is not None
        if not self._transform.applies_tone_to(context.picture):
            self._fallback_stage(context)
            return
        context.reason = self._transform.reshape_reason(context.picture)
        context.raw_picture = context.picture


class TransformStage:
    """The transform as a stage."""

    name = "transform"

    def __init__(self, transform: FrameTransform) -> None:
        self._transform = transform

    def __call__(self, context: FrameContext) -> None:
        assert context.picture is not None
        context.clip_counts = self._transform.count_clipped(context.picture)
        context.frame, context.reason = self._transform.apply(context.picture)
