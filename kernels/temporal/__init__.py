"""Bins: the mean or the maximum of neighbouring frames as one picture.

Not an operation of its own: all operations take `Bins` and read every frame once.
- mean: over all samples under an output sample, over area and frames, rounded once.
- max of RGB: the maximum of each channel at each source pixel, before the area average.
- max of NV12: the maximum of luma at each source pixel; each Cb, Cr pair from the frame with the brightest 2 x 2 luma
  at that place, the first of equals. A maximum of Cb and of Cr would be a colour that no frame had.
"""

from dataclasses import dataclass
from typing import Literal

Reduction = Literal["mean", "max"]


@dataclass(frozen=True, slots=True)
class Bins:
    """`frames` neighbours make one bin; the last bin may have fewer. Raises ValueError for less than 1."""

    frames: int = 1
    mode: Reduction = "mean"

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"bins.frames must be at least 1, not {self.frames}")
        if self.mode not in ("mean", "max"):
            raise ValueError(f"bins.mode must be mean or max, not {self.mode!r}")

    @property
    def reduction(self) -> Literal["one", "mean", "max"]:
        """The REDUCE argument of the kernels; a bin of one frame needs no loop."""
        return "one" if self.frames == 1 else self.mode

    def count(self, frames: int) -> int:
        """The number of bins for this many frames."""
        return -(-frames // self.frames)


NO_BINS = Bins()
