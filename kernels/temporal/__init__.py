"""Bins of neighbouring frames, of which each becomes one picture: their mean, or their maximum.

Not an operation of its own: `rgb_to_nv12` and `nv12_scale` take `Bins` and read every frame once.
- mean: of all samples under an output sample, over area and frames, rounded once.
- max of RGB: each channel's maximum at each source pixel, before the area average.
- max of NV12: luma's maximum at each source pixel; each Cb, Cr pair from the frame whose 2 x 2 luma above it is
  brightest, the earliest of equals. A maximum of chroma samples would be a colour that no frame had.
"""

from dataclasses import dataclass
from typing import Literal

Reduction = Literal["mean", "max"]


@dataclass(frozen=True, slots=True)
class Bins:
    """`frames` neighbours to a bin; the last bin holds what is left. Raises ValueError."""

    frames: int = 1
    mode: Reduction = "mean"

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"bins.frames must be at least 1, not {self.frames}")
        if self.mode not in ("mean", "max"):
            raise ValueError(f"bins.mode must be mean or max, not {self.mode!r}")

    @property
    def reduction(self) -> Literal["one", "mean", "max"]:
        """How the kernels read a bin; one frame needs no loop."""
        return "one" if self.frames == 1 else self.mode

    def count(self, frames: int) -> int:
        """How many bins this many frames make."""
        return -(-frames // self.frames)


NO_BINS = Bins()
