"""What the frames of a render look like to its encoder: FFmpeg's pixel format, range, black."""

from dataclasses import dataclass

from service.pipeline.colour import FULL_RANGE, LIMITED_RANGE
from service.plan.formats import PixelFormat


@dataclass(frozen=True, slots=True)
class PixelFormatSpec:
    """`black` has one sample per plane; a sample of `bgr0` is a pixel of 32 bits."""

    pixel_format: str
    range: int
    black: tuple[int, ...]
    rgb: bool = False

    @property
    def high_bit_depth(self) -> bool:
        return self.pixel_format.endswith("le")


_LIMITED_BLACK, _FULL_BLACK = (16, 128, 128), (0, 128, 128)

PIXEL_FORMATS: dict[PixelFormat, PixelFormatSpec] = {
    "yuv420p": PixelFormatSpec("yuv420p", LIMITED_RANGE, _LIMITED_BLACK),
    "yuv422p": PixelFormatSpec("yuv422p", LIMITED_RANGE, _LIMITED_BLACK),
    "yuv444p": PixelFormatSpec("yuv444p", LIMITED_RANGE, _LIMITED_BLACK),
    "yuv420p10le": PixelFormatSpec("yuv420p10le", LIMITED_RANGE, (64, 512, 512)),
    "yuv422p10le": PixelFormatSpec("yuv422p10le", LIMITED_RANGE, (64, 512, 512)),
    "yuv444p10le": PixelFormatSpec("yuv444p10le", LIMITED_RANGE, (64, 512, 512)),
    "yuvj420p": PixelFormatSpec("yuv420p", FULL_RANGE, _FULL_BLACK),
    "yuvj422p": PixelFormatSpec("yuv422p", FULL_RANGE, _FULL_BLACK),
    "yuvj444p": PixelFormatSpec("yuv444p", FULL_RANGE, _FULL_BLACK),
    "gray": PixelFormatSpec("gray", FULL_RANGE, (0,)),
    "gray16le": PixelFormatSpec("gray16le", FULL_RANGE, (0,)),
    "bgr0": PixelFormatSpec("bgr0", FULL_RANGE, (0,), rgb=True),
    "gbrp16le": PixelFormatSpec("gbrp16le", FULL_RANGE, (0, 0, 0), rgb=True),
}
