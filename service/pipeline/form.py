"""What the frames of a render look like to its encoder: FFmpeg's pixel format, range, black."""

from dataclasses import dataclass

from service.pipeline.colour import FULL, LIMITED
from service.plan.formats import PixelFormat


@dataclass(frozen=True, slots=True)
class Form:
    """`black` has one sample per plane; a sample of `bgr0` is a pixel of 32 bits."""

    pixel_format: str
    range: int
    black: tuple[int, ...]
    rgb: bool = False

    @property
    def deep(self) -> bool:
        return self.pixel_format.endswith("le")


_LIMITED, _FULL = (16, 128, 128), (0, 128, 128)

FORMS: dict[PixelFormat, Form] = {
    "yuv420p": Form("yuv420p", LIMITED, _LIMITED),
    "yuv422p": Form("yuv422p", LIMITED, _LIMITED),
    "yuv444p": Form("yuv444p", LIMITED, _LIMITED),
    "yuv420p10le": Form("yuv420p10le", LIMITED, (64, 512, 512)),
    "yuv422p10le": Form("yuv422p10le", LIMITED, (64, 512, 512)),
    "yuv444p10le": Form("yuv444p10le", LIMITED, (64, 512, 512)),
    "yuvj420p": Form("yuv420p", FULL, _FULL),
    "yuvj422p": Form("yuv422p", FULL, _FULL),
    "yuvj444p": Form("yuv444p", FULL, _FULL),
    "gray": Form("gray", FULL, (0,)),
    "gray16le": Form("gray16le", FULL, (0,)),
    "bgr0": Form("bgr0", FULL, (0,), rgb=True),
    "gbrp16le": Form("gbrp16le", FULL, (0, 0, 0), rgb=True),
}
