"""Image bytes -> Picture, with every limit checked on the header first and no damage concealed."""

import av
from av import VideoFrame
from av.video.codeccontext import VideoCodecContext

from service.pipeline import exif
from service.pipeline.frames import Unreadable
from service.pipeline.image_header import (
    ImageHeader,
    image_format,
    jpeg_header,
    png_header,
    require_pixels_within,
)
from service.pipeline.picture import Picture
from service.pipeline.tiff import decode_tiff

_CODECS = {"jpeg": "mjpeg", "png": "png"}
_CHECKS = {"err_detect": "crccheck+bitstream+buffer+explode"}


class ImageDecoder:
    """Decodes frame after frame with one codec context per format, on the calling thread."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._contexts: dict[str, VideoCodecContext] = {}

    def decode(self, data: bytes) -> Picture:
        """A JPEG stays YCbCr, full range, BT.601; PNG and TIFF stay RGB or gray. Raises Unreadable."""
        kind = image_format(data)
        if kind == "tiff":
            return decode_tiff(data, self._max_pixels)
        header = jpeg_header(data) if kind == "jpeg" else png_header(data)
        require_pixels_within(header.width, header.height, self._max_pixels)
        _require_end(data, header)
        frame = self._decode(data, header)
        return Picture(frame, f"ffmpeg-{_CODECS[kind]}", exif.orientation(header.exif) if header.exif else 1)

    def _decode(self, data: bytes, header: ImageHeader) -> VideoFrame:
        codec = _CODECS[header.format]
        context = self._contexts.get(codec) or _open(codec)
        self._contexts.pop(codec, None)  # a context that failed once is not used again
        try:
            frames = context.decode(av.Packet(data))
        except av.FFmpegError as error:
            raise Unreadable(f"the {header.format.upper()} is damaged: {error.strerror}") from error
        self._contexts[codec] = context
        return _sound(frames, header)


def _open(codec: str) -> VideoCodecContext:
    context = av.CodecContext.create(codec, "r")
    assert isinstance(context, VideoCodecContext)
    context.thread_count = 1
    context.options = dict(_CHECKS)
    return context


def _require_end(data: bytes, header: ImageHeader) -> None:
    """FFmpeg paints over what a truncated file lacks; inside a scan FF D9 can only be the end-of-image marker."""
    if header.format == "jpeg" and data.find(b"\xff\xd9", header.body) < 0:
        raise Unreadable("the JPEG is truncated: it has no end-of-image marker")
    if header.format == "png" and data.rfind(b"IEND") < 0:
        raise Unreadable("the PNG is truncated: it has no end chunk")


def _sound(frames: list[VideoFrame], header: ImageHeader) -> VideoFrame:
    if not frames:
        raise Unreadable(f"the {header.format.upper()} holds no picture")
    frame = frames[0]
    if frame.is_corrupt:
        raise Unreadable(f"the {header.format.upper()} is damaged: parts of the picture are lost")
    if (frame.width, frame.height) != (header.width, header.height):
        raise Unreadable(f"the {header.format.upper()} is not the size its header says")
    return frame
