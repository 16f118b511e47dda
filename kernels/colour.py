"""R'G'B' to Y'CbCr: matrix and range, after ITU-R BT.601-7 and BT.709-6."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

Matrix = Literal["bt601", "bt709"]


class Coefficients(NamedTuple):
    """One component of Y'CbCr, in 8-bit levels: offset + red * R' + green * G' + blue * B'."""

    offset: float
    red: float
    green: float
    blue: float


# (Kr, Kb), from the luma equations of BT.601-7 (section 2.5) and BT.709-6 (signal format).
_LUMA_OF: dict[str, tuple[float, float]] = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}

# Limited-range 8-bit quantisation, the same in BT.601-7 and BT.709-6. Full range spans 255 for luma and chroma (H.273,
# MatrixCoefficients).
LIMITED_LUMA, LIMITED_CHROMA, LUMA_FLOOR, CHROMA_ZERO = 219.0, 224.0, 16.0, 128.0

# (offset, scale) that convert full-range samples to limited range.
LIMITED_RANGE_LUMA = (LUMA_FLOOR, LIMITED_LUMA / 255)
LIMITED_RANGE_CHROMA = (CHROMA_ZERO * (1 - LIMITED_CHROMA / 255), LIMITED_CHROMA / 255)


@dataclass(frozen=True, slots=True)
class Colour:
    """The Y'CbCr encoding of R'G'B' of 0..255. Raises ValueError for an unknown matrix."""

    matrix: Matrix = "bt601"
    full_range: bool = False

    def __post_init__(self) -> None:
        if self.matrix not in _LUMA_OF:
            raise ValueError(f"matrix must be one of {', '.join(_LUMA_OF)}, not {self.matrix!r}")

    def coefficients(self) -> tuple[Coefficients, Coefficients, Coefficients]:
        """The coefficients of Y', Cb and Cr.

        E'y = Kr R + (1-Kr-Kb) G + Kb B, E'cb = (B - E'y) / (2 (1-Kb)), E'cr = (R - E'y) / (2 (1-Kr)).
        """
        red, blue = _LUMA_OF[self.matrix]
        green = 1 - red - blue
        luma, chroma = (1.0, 1.0) if self.full_range else (LIMITED_LUMA / 255, LIMITED_CHROMA / 255)
        floor = 0.0 if self.full_range else LUMA_FLOOR
        to_cb, to_cr = chroma / (2 * (1 - blue)), chroma / (2 * (1 - red))
        return (
            Coefficients(floor, luma * red, luma * green, luma * blue),
            Coefficients(CHROMA_ZERO, -to_cb * red, -to_cb * green, to_cb * (1 - blue)),
            Coefficients(CHROMA_ZERO, to_cr * (1 - red), -to_cr * green, -to_cr * blue),
        )
