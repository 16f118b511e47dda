"""In which form a frame's samples come out of its decoder, told from headers: what the catalogue notes of it."""

from av import VideoFrame

from service.pipeline.colour import FULL
from service.pipeline.image_header import ImageHeader
from service.pipeline.jpeg_shape import jpeg_shape
from service.plan.formats import PixelFormat, format_after_rotation

_RGB = ("rgb24", "bgr24", "bgr0", "rgb0", "gbrp", "0rgb", "0bgr")
_DEEP_RGB = ("rgb48le", "rgb48be", "gbrp16le")
_CMYK = 4


def image_form(header: ImageHeader, head: bytes, turn: int) -> str | None:
    """None for what cannot be shown. `turn` is the EXIF orientation: chroma that cannot be turned is made full."""
    if header.format == "jpeg":
        return None if header.channels == _CMYK else _turned(jpeg_shape(head).form, header, turn)
    if header.format == "webp" and header.plain:
        return _turned("yuv420p", header, turn)
    return sampled_form(header.bit_depth, header.channels)


def sampled_form(bits: int, channels: int) -> str:
    """Of gray or RGB samples, an alpha channel not counted; deeper than 16 bits there is no PixelForm for them."""
    if bits > 16:
        return f"{bits}-bit samples"
    if channels <= 2:
        return "gray" if bits <= 8 else "gray16le"
    return "bgr0" if bits <= 8 else "gbrp16le"


def _turned(form: PixelFormat, header: ImageHeader, turn: int) -> str:
    return format_after_rotation(form, (header.width, header.height), quarter=turn >= 5) if turn > 1 else form


def video_form(frame: VideoFrame) -> str:
    """A PixelForm, or a text that is none for formats that have no equal there."""
    name = frame.format.name
    if name in _RGB:
        return "bgr0"
    if name in _DEEP_RGB:
        return "gbrp16le"
    full = frame.color_range == FULL or "j" in name
    if name.startswith("gray"):
        return name if full else f"{name} of limited range"
    if full and name in ("yuv420p", "yuv422p", "yuv444p"):
        return name.replace("yuv", "yuvj")
    return f"{name} of full range" if full and "j" not in name else name
