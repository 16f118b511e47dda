"""In which form a frame's samples come out of its decoder, told from headers: what the catalogue notes of it."""

from av import VideoFrame

from service.pipeline.colour import FULL_RANGE
from service.pipeline.image_header import ImageHeader
from service.pipeline.jpeg_shape import jpeg_layout
from service.plan.formats import PixelFormat, format_after_rotation

_RGB = ("rgb24", "bgr24", "bgr0", "rgb0", "gbrp", "0rgb", "0bgr")
_DEEP_RGB = ("rgb48le", "rgb48be", "gbrp16le")
_CMYK = 4


def image_pixel_format(header: ImageHeader, head: bytes, orientation: int) -> str | None:
    """None for what cannot be shown. `turn` is the EXIF orientation: chroma that cannot be turned is made full."""
    if header.format == "jpeg":
        return (
            None
            if header.channels == _CMYK
            else _format_after_rotation(jpeg_layout(head).pixel_format, header, orientation)
        )
    if header.format == "webp" and header.plain:
        return _format_after_rotation("yuv420p", header, orientation)
    return sample_pixel_format(header.bit_depth, header.channels)


def sample_pixel_format(bits: int, channels: int) -> str:
    """Of gray or RGB samples, an alpha channel not counted; deeper than 16 bits there is no PixelForm for them."""
    if bits > 16:
        return f"{bits}-bit samples"
    if channels <= 2:
        return "gray" if bits <= 8 else "gray16le"
    return "bgr0" if bits <= 8 else "gbrp16le"


def _format_after_rotation(pixel_format: PixelFormat, header: ImageHeader, orientation: int) -> str:
    return (
        format_after_rotation(pixel_format, (header.width, header.height), quarter=orientation >= 5)
        if orientation > 1
        else pixel_format
    )


def video_pixel_format(frame: VideoFrame) -> str:
    """A PixelForm, or a text that is none for formats that have no equal there."""
    name = frame.format.name
    if name in _RGB:
        return "bgr0"
    if name in _DEEP_RGB:
        return "gbrp16le"
    full = frame.color_range == FULL_RANGE or "j" in name
    if name.startswith("gray"):
        return name if full else f"{name} of limited range"
    if full and name in ("yuv420p", "yuv422p", "yuv444p"):
        return name.replace("yuv", "yuvj")
    return f"{name} of full range" if full and "j" not in name else name
