"""The stages of a frame on the CPU: fetch, copy a JPEG, decode an image, TIFF page or video frame, transform."""

import hashlib
from collections.abc import Callable, Iterable

from service.pipeline.colour import DEFAULT_VIDEO_COLOUR, video_colour
from service.pipeline.field_order import tag_fields
from service.pipeline.frame_context import FrameContext, MediaStage
from service.pipeline.frames import (
    FrameMissing,
    FrameReader,
    FrameUnavailable,
    MediaUnreadable,
    ReadFailed,
    SourceReader,
    media_faults,
    open_watched,
)
from service.pipeline.images import exif
from service.pipeline.images.decoder import ImageDecoder, plan_header_conversion, to_picture
from service.pipeline.images.header import JPEG_MAGIC, DecodeOptions, ImageHeader
from service.pipeline.images.jpeg import end_of_image, jpeg_header, jpeg_layout
from service.pipeline.images.tiff_stack import TiffStack
from service.pipeline.memory_limit import require_memory
from service.pipeline.picture import Picture
from service.pipeline.transform.frame_transform import FrameTransform
from service.pipeline.videos.interlaced import PictureReader
from service.pipeline.videos.source import VideoSource
from service.plan.colour import Colour
from service.plan.render_plan import Deinterlace, FrameRef, RenderOptions


class FetchStage:
    """Reads a frame's object and its SHA-256.

    Skips TIFF pages, which are read by ranges when they are decoded, and frames that the GPU path has fetched.
    """

    name = "fetch"

    def __init__(self, reader: FrameReader) -> None:
        self._reader = reader

    def __call__(self, context: FrameContext) -> None:
        if context.ref.key is None:
            raise FrameMissing("gap in the numbering" if context.ref.panel is None else "no frame is in step here")
        if context.ref.page is not None or context.sha256 is not None:
            return
        context.data = self._reader.read(context.ref)
        context.sha256 = hashlib.sha256(context.data).hexdigest()


def can_copy_jpegs(options: RenderOptions) -> bool:
    """Whether source JPEGs that have the output's pixel format and size can be copied without decoding."""
    toned = options.tone is not None and options.tone.shallow
    changed = toned or options.crop or options.rotate or options.bins or options.overlay
    return options.codec == "mjpeg" and options.source_kind == "frames" and not changed


class JpegCopyStage(MediaStage):
    """Copies a JPEG that already has the output's pixel format and size; leaves all others to the stages after it.

    Only the markers are checked, up to the end of the image: a truncated JPEG raises MediaUnreadable, damage inside the
    compressed data is copied.
    """

    name, verb = "decode", "decoded"

    def __init__(self, options: RenderOptions) -> None:
        self._pixel_format, self._size = options.form, (options.width, options.height)

    def __call__(self, context: FrameContext) -> None:
        if not context.data.startswith(JPEG_MAGIC):
            return
        header = jpeg_header(context.data)
        if end := self._copy_length(context.data, header):
            context.frame, context.decoder = context.data[:end], "copied"
            context.conversions += plan_header_conversion(header, keep=True).words

    def _copy_length(self, data: bytes, header: ImageHeader) -> int | None:
        """How many bytes to copy; None for a JPEG that must be decoded. Raises MediaUnreadable."""
        if (header.width, header.height) != self._size or (header.exif and exif.orientation(header.exif) != 1):
            return None
        layout = jpeg_layout(data)
        copyable = layout.plain and layout.pixel_format == self._pixel_format
        return end_of_image(data, layout.scan_offset) if copyable else None


class TiffPageDecodeStage(MediaStage):
    """Decodes frames that are pages of a TIFF and skips all others. Consecutive pages share one open file."""

    name, verb = "decode", "decoded"

    def __init__(self, sources: SourceReader, options: DecodeOptions) -> None:
        self._sources, self._options = sources, options
        self._open_file: tuple[str | None, TiffStack] | None = None

    def __call__(self, context: FrameContext) -> None:
        if context.ref.page is None:
            return
        page, context.sha256 = self._open_stack(context.ref).decode_page(context.ref.page_offset, self._options)
        context.set_picture(
            to_picture(page.samples, self._options.window, "tifffile", page.orientation, page.conversions)
        )

    def _open_stack(self, ref: FrameRef) -> TiffStack:
        if ref.key is None:
            raise FrameMissing("gap in the numbering")
        if self._open_file is None or self._open_file[0] != ref.key:
            self.close()
            self._open_file = (ref.key, TiffStack(open_watched(self._sources, ref)))
        return self._open_file[1]

    def close(self) -> None:
        if self._open_file:
            self._open_file[1].close()
        self._open_file = None


class ImageDecodeStage(MediaStage):
    """Decodes a fetched image; skips TIFF pages, which are decoded already."""

    name, verb = "decode", "decoded"

    def __init__(self, options: DecodeOptions) -> None:
        self._decoder = ImageDecoder(options)

    def __call__(self, context: FrameContext) -> None:
        if context.picture is not None:
            return
        context.set_picture(self._decoder.decode(context.data))
        context.data = b""


class VideoDecodeStage(MediaStage):
    """Decodes frames of source videos. One source stays open, so that consecutive frames of it are read forward."""

    name, verb = "decode", "decoded"

    def __init__(self, sources: SourceReader, max_pixels: int, deinterlace: Deinterlace = "auto") -> None:
        self._sources = sources
        self._max_pixels, self._deinterlace = max_pixels, deinterlace
        self._keeps_fields: Callable[[Picture], bool] | None = None
        self._open_key: str | None = None
        self._reader: PictureReader | None = None
        # Why no picture of the open source can be shown.
        self._refusal: MediaUnreadable | None = None
        # The first source was not there when its colours were asked for.
        self.assumed_colour = False

    def __call__(self, context: FrameContext) -> None:
        if context.ref.key is None or context.ref.pts is None:
            raise FrameMissing("the source video has no picture here")
        try:
            context.set_picture(self._open_reader(context.ref).picture(context.ref, context.ref.pts))
        except MediaUnreadable:
            raise
        except BaseException:  # whatever state it is in, the next frame needs a new one
            self.close()
            raise

    def source_colour(self, refs: Iterable[FrameRef]) -> Colour:
        """The colours of the first source in `refs`, for a render that was planned without knowing them."""
        ref = next((ref for ref in refs if ref.key is not None), None)
        try:
            with media_faults("opened"):
                first = self._open_reader(ref).source.first_frame() if ref else None
            return video_colour(first).writable() if first else DEFAULT_VIDEO_COLOUR
        except FrameUnavailable:
            self.assumed_colour = True
            return DEFAULT_VIDEO_COLOUR
        except MediaUnreadable:
            return DEFAULT_VIDEO_COLOUR
        except ReadFailed as failed:
            raise failed.error from None

    def keep_fields_where(self, keeps_fields: Callable[[Picture], bool]) -> None:
        """Before the first frame: which interlaced pictures the output has room for as they are stored."""
        self._keeps_fields = keeps_fields
        self.close()

    def close(self) -> None:
        if self._reader:
            self._reader.close()
        self._open_key = self._reader = self._refusal = None

    def _open_reader(self, ref: FrameRef) -> PictureReader:
        if self._reader is None or self._open_key != ref.key:
            self.close()
            source = VideoSource(open_watched(self._sources, ref))
            self._reader, self._open_key = PictureReader(source, self._deinterlace, self._keeps_fields), ref.key
            try:
                source.require_limits(self._max_pixels)
            except MediaUnreadable as refusal:
                self._refusal = refusal
        if self._refusal is not None:
            raise self._refusal
        return self._reader


class AssumedColourStage:
    """Marks all frames of a render whose colours had to be assumed, because its first source was not there."""

    name = "decode"

    def __call__(self, context: FrameContext) -> None:
        context.transient = True


class TransformStage(MediaStage):
    """Converts the decoded picture to the encoder's pixel format and size."""

    name, verb = "transform", "converted"

    def __init__(self, transform: FrameTransform) -> None:
        self._transform = transform

    def __call__(self, context: FrameContext) -> None:
        assert context.picture is not None
        require_memory("converting it", self._transform.memory_needed(context.picture))
        context.clip_counts = self._transform.count_clipped(context.picture)
        context.conversions += self._transform.describe_pixels(context.picture)
        frame, context.reason = self._transform.apply(context.picture)
        kept = context.picture.field_order
        context.frame = tag_fields(frame, kept) if kept else frame
        context.conversions += self._transform.conversions(context.picture)


class RawSampleStage(TransformStage):
    """Replaces TransformStage for bin members: frames that have a tone keep their raw samples, which are reduced before
    the tone is applied."""

    def __call__(self, context: FrameContext) -> None:
        assert context.picture is not None
        if not self._transform.applies_tone_to(context.picture):
            super().__call__(context)
            return
        context.reason = self._transform.reshape_reason(context.picture)
        context.raw_picture = context.picture
