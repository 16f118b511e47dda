"""Maps samples of any type to 16-bit positions in a tone window and counts what lies outside."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.pipeline.picture import ClipCounts, Samples

Positions = np.ndarray[Any, np.dtype[np.uint16]]
MAX_POSITION = 65535
# Rows worked on at once, so that intermediate values stay in the cache.
_BLOCK_ROWS = 32


@dataclass(frozen=True, slots=True)
class Window:
    """`low` and `high`, in the samples' own unit, become positions 0 and 65535; what lies outside is cut off there.

    Infinities count as below or above; what is not a number is shown at 0.
    """

    low: float
    high: float

    def lookup_table(self) -> Positions:
        """(65536,) position of each unsigned 16-bit sample; the first 256 serve 8-bit ones."""
        return self.to_positions(np.arange(65536, dtype=np.float64))

    def to_positions(self, values: "np.ndarray[Any, np.dtype[np.float64]]") -> Positions:
        """Of sample values, exactly."""
        with np.errstate(over="ignore"):
            share = (values - self.low) / (self.high - self.low)
        places: Positions = np.rint(share.clip(0, 1) * MAX_POSITION).astype(np.uint16)
        return places

    def map_into(self, samples: Samples, positions: Positions) -> None:
        """Fill `positions`, of the same shape, from samples of any real type: in float64 for those that float32 cannot
        hold, else in float32."""
        exact = np.float64 if samples.dtype.itemsize > 4 or samples.dtype in (np.int32, np.uint32) else np.float32
        for row in range(0, len(samples), _BLOCK_ROWS):
            part: Samples = samples[row : row + _BLOCK_ROWS].astype(exact)
            with np.errstate(over="ignore", invalid="ignore"):
                part -= exact(self.low)
                part *= exact(MAX_POSITION / (self.high - self.low))
                part += exact(0.5)
            np.clip(part, exact(0.5), exact(MAX_POSITION + 0.5), out=part)
            if samples.dtype.kind == "f":
                part[np.isnan(part)] = 0.5
            positions[row : row + _BLOCK_ROWS] = part

    def count_clipped(self, samples: Samples) -> ClipCounts:
        nan = np.count_nonzero(np.isnan(samples)) if samples.dtype.kind == "f" else 0
        return ClipCounts(
            _count_outside(samples, np.less, self.low), _count_outside(samples, np.greater, self.high), int(nan)
        )


@dataclass(frozen=True, slots=True)
class Stretch:
    """Unsigned 8 and 16-bit samples, cut off at the whole numbers around a window and shifted up to use all 16 bits.

    A faster way to positions that can be averaged: no precision is lost, and no number is multiplied.
    """

    window: Window

    @property
    def _range_and_shift(self) -> tuple[int, int, int]:
        """Lowest and highest sample, and the shift."""
        low = min(max(math.floor(self.window.low), 0), MAX_POSITION - 1)
        high = max(min(math.ceil(self.window.high), MAX_POSITION), low + 1)
        return low, high, 16 - (high - low).bit_length()

    def map_into(self, samples: Samples, positions: Positions) -> None:
        """Fill `stretched`, of the same shape."""
        low, high, shift = self._range_and_shift
        for row in range(0, len(samples), _BLOCK_ROWS):
            part = positions[row : row + _BLOCK_ROWS]
            np.copyto(part, samples[row : row + _BLOCK_ROWS])
            np.clip(part, np.uint16(low), np.uint16(high), out=part)
            part -= np.uint16(low)
            part <<= np.uint16(shift)

    def lookup_table(self) -> Positions:
        """(65536,) position of each stretched sample."""
        low, _, shift = self._range_and_shift
        return self.window.to_positions(low + np.arange(65536, dtype=np.float64) / (1 << shift))


def _count_outside(samples: Samples, outside: np.ufunc, bound: float) -> int:
    """Integer samples are compared as such: their type cannot hold every bound."""
    if samples.dtype.kind in "iu":
        limits = np.iinfo(samples.dtype)
        whole = int(np.ceil(bound)) if outside is np.less else int(np.floor(bound))
        if not limits.min <= whole <= limits.max:
            everything = whole > limits.max if outside is np.less else whole < limits.min
            return samples.size if everything else 0
        return int(np.count_nonzero(outside(samples, samples.dtype.type(whole))))
    with np.errstate(over="ignore"):  # a bound beyond float16 or float32 is infinite to them
        return int(np.count_nonzero(outside(samples, bound)))
