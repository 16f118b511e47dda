"""The tone curve from samples to levels, and the result of `tone`."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from kernels.colour import Colour
from kernels.nv12 import Nv12

if TYPE_CHECKING:
    from torch import Tensor

_BT601_LIMITED = Colour()


class ToneResult(NamedTuple):
    """`clipped` is int32 (pictures, 3): the samples of each picture that are below the window, above it, and NaN. Of a
    bin, the samples of its mean or maximum are counted."""

    picture: Nv12
    clipped: "Tensor"


@dataclass(frozen=True, eq=False, slots=True)
class Curve:
    """Maps a sample to a level and a level to a colour, in three steps:

    1. Window: `low` and `high`, in the unit of the samples, become 0 and 1. Samples outside are clipped to 0 or 1,
       infinities too; NaN becomes 0.
    2. Gamma: `level ** gamma`, as in matplotlib's PowerNorm. Below 1 brightens.
    3. Colour: `lut`, uint8 R'G'B' (256, 3) or (1024, 3) at equal steps, or gray without it; then `colour` to NV12.

    Raises ValueError for a window or a gamma that is empty, infinite or NaN.
    """

    low: float
    high: float
    gamma: float = 1.0
    lut: "Tensor | None" = None
    colour: Colour = _BT601_LIMITED

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"curve.low and curve.high must be finite and ascending, not {self.low} and {self.high}")
        if not (math.isfinite(self.gamma) and self.gamma > 0):
            raise ValueError(f"curve.gamma must be finite and above 0, not {self.gamma}")

    @property
    def slope(self) -> float:
        return 1 / (self.high - self.low)
