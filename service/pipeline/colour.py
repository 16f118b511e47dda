"""Which numbers mean which colour: the tags a picture carries and the ones the output is written with.

Values are those of ISO/IEC 23091-2 (H.273), which FFmpeg's AVCOL_* share.
"""

from dataclasses import dataclass

from av import VideoFrame

UNSPECIFIED = 2
LIMITED_RANGE, FULL_RANGE = 1, 2
RGB_MATRIX, BT709, BT470BG, SMPTE170M, BT2020, BT2020_CONSTANT = 0, 1, 5, 6, 9, 10
SRGB_TRANSFER = 13


@dataclass(frozen=True, slots=True)
class ColourTags:
    """H.273 code points of a limited-range YCbCr output."""

    matrix: int
    primaries: int
    transfer: int
    chroma_centred: bool = False


IMAGE_COLOUR = ColourTags(SMPTE170M, BT709, SRGB_TRANSFER, chroma_centred=True)
"""For image frames: a JPEG is BT.601 YCbCr of sRGB with centred chroma, so only the range has to change."""

DEFAULT_VIDEO_COLOUR = ColourTags(BT709, BT709, BT709)
"""For a source video that says nothing and whose source cannot be opened."""


def video_colour(frame: VideoFrame) -> ColourTags:
    """The source's own tags; for what it leaves open, what players assume from its height."""
    assumed = BT709 if frame.height >= 720 else SMPTE170M
    matrix = frame.colorspace if frame.colorspace not in (0, UNSPECIFIED) else assumed
    primaries = frame.color_primaries if frame.color_primaries != UNSPECIFIED else _default_primaries(matrix)
    transfer = frame.color_trc if frame.color_trc != UNSPECIFIED else _default_transfer(matrix)
    return ColourTags(matrix, primaries, transfer)


def _default_primaries(matrix: int) -> int:
    return matrix if matrix in (BT709, BT470BG, SMPTE170M, BT2020) else BT709


def _default_transfer(matrix: int) -> int:
    return SMPTE170M if matrix in (BT470BG, SMPTE170M) else BT709


def swscale_matrix(matrix: int) -> int:
    """swscale's own number (SWS_CS_*) for an H.273 matrix: BT.470BG and SMPTE 170M share one set of coefficients."""
    return {SMPTE170M: BT470BG, BT2020_CONSTANT: BT2020}.get(matrix, matrix)
