"""A stage for MJPEG: a JPEG that is already what the output wants goes into the file as it is."""

from service.pipeline import exif
from service.pipeline.image_header import JPEG_MAGIC, jpeg_header
from service.pipeline.jpeg_shape import end_of_image, jpeg_layout
from service.pipeline.work import FrameContext
from service.plan.render_plan import RenderOptions


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
