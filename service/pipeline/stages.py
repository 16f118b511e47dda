"""The CPU stages of a frame: fetch, copy a JPEG, decode an image or a video picture, transform."""

import hashlib
from collections.abc import Iterable

from service.pipeline.colour import DEFAULT_VIDEO_COLOUR, ColourTags, video_colour
from service.pipeline.frame_context import FrameContext
from service.pipeline.frames import FrameMissing, FrameReader, MediaUnreadable, SourceReader
from service.pipeline.images import exif
from service.pipeline.images.decoder import ImageDecoder, to_picture
from service.pipeline.images.header import JPEG_MAGIC, require_pixel_limit
from service.pipeline.images.jpeg import end_of_image, jpeg_header, jpeg_layout
from service.pipeline.images.tiff_stack import TiffStack
from service.pipeline.picture import Picture
from service.pipeline.tone.window import Window
from service.pipeline.transform.frame_transform import FrameTransform
from service.pipeline.videos.source import VideoSource
from service.plan.formats import BLACK
from service.plan.render_plan import FrameRef, RenderOptions


class FetchStage:
    """Pages of a stack are not fetched here: they are read by ranges as they are decoded."""

    name = "fetch"

    def __init__(self, reader: FrameReader) -> None:
        self._reader = reader

    def __call__(self, context: FrameContext) -> None:
        if context.ref.key is None:
            raise FrameMissing("the numbering has a hole here")
        if (
            context.ref.page is not None or context.sha256 is not None
        ):  # a page, or fetched for a device that gave it up
            return
        context.data = self._reader.read(context.ref)
        context.sha256 = hashlib.sha256(context.data).hexdigest()


def can_copy_jpegs(options: RenderOptions) -> bool:
    """Whether nothing that was asked for changes the pictures of frames that have the right form and size."""
    toned = options.tone is not None and options.tone.shallow
    changed = toned or options.crop or options.rotate or options.bins or options.overlay
    return options.codec == "mjpeg" and options.source_kind == "frames" and not changed


class JpegCopyStage:
    """Sets `work.frame` to the JPEG's bytes, so that the stages after it have nothing to do; else leaves all to them.

    The markers are checked up to the end of the picture: a truncated JPEG is Unreadable. Its compressed data is not
    looked into, so damage there is copied as the camera wrote it.
    """

    name = "decode"

    def __init__(self, options: RenderOptions) -> None:
        self._pixel_format, self._size = options.form, (options.width, options.height)

    def __call__(self, context: FrameContext) -> None:
        if context.data.startswith(JPEG_MAGIC) and (end := self._copy_length(context.data)):
            context.frame, context.decoder = context.data[:end], "copied"

    def _copy_length(self, data: bytes) -> int | None:
        """Where to cut what follows the picture; None for a JPEG that must be decoded. Raises Unreadable."""
        header = jpeg_header(data)
        if (header.width, header.height) != self._size or (header.exif and exif.orientation(header.exif) != 1):
            return None
        shape = jpeg_layout(data)
        return (
            end_of_image(data, shape.scan_offset) if shape.plain and shape.pixel_format == self._pixel_format else None
        )


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


class TiffPageDecodeStage:
    """For frames that are pages; others are left to the stages after it. Consecutive pages share one open file."""

    name = "decode"

    def __init__(self, sources: SourceReader, bounds: tuple[int, str], window: Window | None) -> None:
        """`bounds` is (max_pixels, background)."""
        self._sources, self._bounds, self._window = sources, bounds, window
        self._open_file: tuple[str | None, TiffStack] | None = None

    def __call__(self, context: FrameContext) -> None:
        if context.ref.page is None:
            return
        page, context.sha256 = self._open_stack(context.ref).decode_page(context.ref.page_offset, self._bounds)
        context.picture = to_picture(page.samples, self._window, "tifffile", page.orientation)
        context.decoder = context.picture.decoder

    def _open_stack(self, ref: FrameRef) -> TiffStack:
        if ref.key is None:
            raise FrameMissing("the numbering has a hole here")
        if self._open_file is None or self._open_file[0] != ref.key:
            self.close()
            self._open_file = (ref.key, TiffStack(self._sources.open(ref)))
        return self._open_file[1]

    def close(self) -> None:
        if self._open_file:
            self._open_file[1].close()
        self._open_file = None
