"""Colour tags (H.273 code points) and the pixel formats that frames are encoded in."""

from dataclasses import dataclass

from av import VideoFrame

from service.plan.formats import PixelFormat

UNSPECIFIED = 2
LIMITED_RANGE, FULL_RANGE = 1, 2
RGB_MATRIX, BT709, BT470BG, SMPTE170M, BT2020, BT2020_CONSTANT = 0, 1, 5, 6, 9, 10
SRGB_TRANSFER = 13


@dataclass(frozen=True, slots=True)
class ColourTags:
    """H.273 code points of the YCbCr output. Chroma samples are centred as in JPEG, or left as in MPEG-2."""

    matrix: int
    primaries: int
    transfer: int
    chroma_centred: bool = False


# For image frames: a JPEG has BT.601 YCbCr of sRGB with centred chroma, so only the range has to be converted.
IMAGE_COLOUR = ColourTags(SMPTE170M, BT709, SRGB_TRANSFER, chroma_centred=True)

# For a source video that cannot be opened.
DEFAULT_VIDEO_COLOUR = ColourTags(BT709, BT709, BT709)


def video_colour(frame: VideoFrame) -> ColourTags:
    """The source's own tags; unspecified ones are what players assume: BT.709 from 720 lines on, else BT.601."""
    assumed = BT709 if frame.height >= 720 else SMPTE170M
    matrix = frame.colorspace if frame.colorspace not in (0, UNSPECIFIED) else assumed
    default_primaries = matrix if matrix in (BT709, BT470BG, SMPTE170M, BT2020) else BT709
    default_transfer = SMPTE170M if matrix in (BT470BG, SMPTE170M) else BT709
    return ColourTags(
        matrix,
        frame.color_primaries if frame.color_primaries != UNSPECIFIED else default_primaries,
        frame.color_trc if frame.color_trc != UNSPECIFIED else default_transfer,
    )


def swscale_matrix(matrix: int) -> int:
    """swscale's number (SWS_CS_*) of an H.273 matrix: BT.470BG and SMPTE 170M have the same coefficients."""
    return {SMPTE170M: BT470BG, BT2020_CONSTANT: BT2020}.get(matrix, matrix)


@dataclass(frozen=True, slots=True)
class PixelFormatSpec:
    """FFmpeg's name, the range (H.273), and one sample of black per plane (of bgr0, a pixel of 32 bits)."""

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
