"""Samples of any type -> 16-bit positions in a window, with what lies outside counted. The linear half of a tone."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

Samples = np.ndarray[Any, Any]
Positions = np.ndarray[Any, np.dtype[np.uint16]]
TOP = 65535
_ROWS = 64
"""Rows worked on at once, so that intermediate values stay in the cache."""


class Clipped(NamedTuple):
    """How many source samples of a frame lay below the window, above it, or were not a number."""

    below: int
    above: int
    nan: int


@dataclass(frozen=True, slots=True)
class Window:
    """`low` and `high`, in the samples' own unit, become positions 0 and 65535; what lies outside is cut off there.

    Infinities count as below or above; what is not a number is shown at 0.
    """

    low: float
    high: float

    def table(self) -> Positions:
        """(65536,) position of each unsigned 16-bit sample; the first 256 serve 8-bit ones."""
        share = (np.arange(65536, dtype=np.float64) - self.low) / (self.high - self.low)
        places: Positions = np.rint(share.clip(0, 1) * TOP).astype(np.uint16)
        return places

    def positions(self, samples: Samples) -> tuple[Positions, Clipped]:
        """Of any real type and shape, in float64 for 32-bit integers and float64, else in float32."""
        exact = np.float64 if samples.dtype.itemsize > 4 or samples.dtype in (np.int32, np.uint32) else np.float32
        found = np.empty(samples.shape, np.uint16)
        for row in range(0, len(samples), _ROWS):
            part: Samples = samples[row : row + _ROWS].astype(exact)
            with np.errstate(over="ignore", invalid="ignore"):
                part -= exact(self.low)
                part *= exact(TOP / (self.high - self.low))
            np.fmin(np.fmax(part, 0, out=part), TOP, out=part)
            found[row : row + _ROWS] = np.rint(part, out=part)
        return found, self.clipped(samples)

    def clipped(self, samples: Samples) -> Clipped:
        nan = np.count_nonzero(np.isnan(samples)) if samples.dtype.kind == "f" else 0
        return Clipped(_count(samples, np.less, self.low), _count(samples, np.greater, self.high), int(nan))


def _count(samples: Samples, outside: np.ufunc, bound: float) -> int:
    """Integer samples are compared as such: their type cannot hold every bound."""
    if samples.dtype.kind in "iu":
        limits = np.iinfo(samples.dtype)
        whole = int(np.ceil(bound)) if outside is np.less else int(np.floor(bound))
        if not limits.min <= whole <= limits.max:
            everything = whole > limits.max if outside is np.less else whole < limits.min
            return samples.size if everything else 0
        return int(np.count_nonzero(outside(samples, samples.dtype.type(whole))))
    return int(np.count_nonzero(outside(samples, bound)))
