"""Colour tags (H.273 code points) and the pixel formats that frames are encoded in."""

from dataclasses import dataclass

from av import VideoFrame

from service.plan.colour import BT470BG, BT709, BT2020, SDR_COLOUR, SMPTE170M, SRGB_TRANSFER, UNSPECIFIED, Colour
from service.plan.formats import PixelFormat

LIMITED_RANGE, FULL_RANGE = 1, 2
RGB_MATRIX = 0
# Matrices that swscale computes: BT.709, FCC, both kinds of BT.601, SMPTE 240M, BT.2020 non-constant luminance.
SWSCALE_MATRICES = frozenset((1, 4, 5, 6, 7, 9))

# What H.273 defines; other numbers are reserved and mean nothing.
_MATRICES = frozenset((*range(1, 18),)) - {UNSPECIFIED, 3}
_PRIMARIES = frozenset((1, *range(4, 13), 22))
_TRANSFERS = frozenset((1, *range(4, 19)))


@dataclass(frozen=True, slots=True)
class ColourTags(Colour):
    """H.273 code points of the YCbCr output. Chroma samples are centred as in JPEG, or left as in MPEG-2."""

    chroma_centred: bool = False

    @classmethod
    def of(cls, colour: Colour) -> "ColourTags":
        return ColourTags(colour.matrix, colour.primaries, colour.transfer)


# For image frames: a JPEG has BT.601 YCbCr of sRGB with centred chroma, so only the range has to be converted.
IMAGE_COLOUR = ColourTags(SMPTE170M, BT709, SRGB_TRANSFER, chroma_centred=True)

# For a source video that cannot be opened.
DEFAULT_VIDEO_COLOUR = ColourTags.of(SDR_COLOUR)


def video_colour(frame: VideoFrame) -> Colour:
    """What a source's frame means: its own tags, and in place of unspecified and reserved ones what players assume.

    The matrix is that of BT.2020 for its primaries, of BT.709 from 720 lines on, else of BT.601; primaries and transfer
    are those of the matrix. XYZ is what swscale makes of it: R'G'B' of BT.709.
    """
    if frame.format.name.startswith("xyz"):
        return SDR_COLOUR
    assumed = BT2020 if frame.color_primaries == BT2020 else BT709 if frame.height >= 720 else SMPTE170M
    matrix = frame.colorspace if frame.colorspace in _MATRICES else assumed
    default_primaries = matrix if matrix in (BT709, BT470BG, SMPTE170M, BT2020) else BT709
    default_transfer = SMPTE170M if matrix in (BT470BG, SMPTE170M) else BT709
    return Colour(
        matrix,
        frame.color_primaries if frame.color_primaries in _PRIMARIES else default_primaries,
        frame.color_trc if frame.color_trc in _TRANSFERS else default_transfer,
    )


def video_range(frame: VideoFrame) -> int:
    """The range of a decoded frame: its tag, else full for RGB, XYZ, gray and the formats of JPEG, else limited.

    RGB and XYZ are full whatever their tag, as in FFmpeg.
    """
    name = frame.format.name
    if frame.format.is_rgb or name.startswith("xyz"):
        return FULL_RANGE
    if frame.color_range in (LIMITED_RANGE, FULL_RANGE):
        return frame.color_range
    has_chroma = len(frame.format.components) >= 3
    return LIMITED_RANGE if has_chroma and not name.startswith("yuvj") else FULL_RANGE


def swscale_matrix(matrix: int) -> int:
    """swscale's number (SWS_CS_*) of an H.273 matrix: BT.470BG and SMPTE 170M have the same coefficients."""
    return BT470BG if matrix == SMPTE170M else matrix


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
