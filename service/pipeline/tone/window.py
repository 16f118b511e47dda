"""Maps samples of any type to 16-bit positions in a tone window, and counts those outside of it."""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from service.pipeline.picture import ClipCounts, Samples
from service.plan.tone import Tone

Positions = np.ndarray[Any, np.dtype[np.uint16]]
MAX_POSITION = 65535
# Rows processed at once, so that intermediate values stay in the CPU cache.
_BLOCK_ROWS = 32


@dataclass(frozen=True, slots=True)
class Window:
    """Maps `low` and `high`, in units of the samples, to positions 0 and 65535; values outside are clipped.

    Infinities count as below or above; NaN becomes position 0.
    """

    low: float
    high: float

    @classmethod
    def of(cls, tone: Tone) -> Self:
        """The window of a tone."""
        return cls(tone.low, tone.high)

    def lookup_table(self) -> Positions:
        """(65536,) uint16: the position of each unsigned 16-bit sample; the first 256 are those of 8-bit samples."""
        return self.to_positions(np.arange(65536, dtype=np.float64))

    def to_positions(self, values: "np.ndarray[Any, np.dtype[np.float64]]") -> Positions:
        """Positions of sample values of any shape, rounded to the nearest: (value - low) / (high - low) * 65535."""
        with np.errstate(over="ignore"):
            share = (values - self.low) / (self.high - self.low)
        places: Positions = np.rint(share.clip(0, 1) * MAX_POSITION).astype(np.uint16)
        return places

    def map_into(self, samples: Samples, positions: Positions) -> None:
        """Fill `positions`, of the same shape, from samples of any real type.

        Computed in float32, in float64 for samples that float32 cannot hold.
        """
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
        """How many samples are below the window, above it, or NaN."""
        nan = np.count_nonzero(np.isnan(samples)) if samples.dtype.kind == "f" else 0
        return ClipCounts(
            _count_outside(samples, np.less, self.low), _count_outside(samples, np.greater, self.high), int(nan)
        )


@dataclass(frozen=True, slots=True)
class Stretch:
    """A fast integer mapping of unsigned 8 and 16-bit samples that can be averaged without losing precision.

    Samples are clipped to the integers around the window and shifted left to use all 16 bits.
    """

    window: Window

    @property
    def _range_and_shift(self) -> tuple[int, int, int]:
        """(lowest sample, highest sample, shift in bits)."""
        low = min(max(math.floor(self.window.low), 0), MAX_POSITION - 1)
        high = max(min(math.ceil(self.window.high), MAX_POSITION), low + 1)
        return low, high, 16 - (high - low).bit_length()

    def map_into(self, samples: Samples, positions: Positions) -> None:
        """Fill `positions`, of the same shape."""
        low, high, shift = self._range_and_shift
        for row in range(0, len(samples), _BLOCK_ROWS):
            part = positions[row : row + _BLOCK_ROWS]
            np.copyto(part, samples[row : row + _BLOCK_ROWS])
            np.clip(part, np.uint16(low), np.uint16(high), out=part)
            part -= np.uint16(low)
            part <<= np.uint16(shift)

    def lookup_table(self) -> Positions:
        """(65536,) uint16: the window position of each stretched sample."""
        low, _, shift = self._range_and_shift
        return self.window.to_positions(low + np.arange(65536, dtype=np.float64) / (1 << shift))


def _count_outside(samples: Samples, outside: np.ufunc, bound: float) -> int:
    """Integers are compared with an integer bound; a bound that their type cannot hold is handled separately."""
    if samples.dtype.kind in "iu":
        limits = np.iinfo(samples.dtype)
        whole = int(np.ceil(bound)) if outside is np.less else int(np.floor(bound))
        if not limits.min <= whole <= limits.max:
            everything = whole > limits.max if outside is np.less else whole < limits.min
            return samples.size if everything else 0
        return int(np.count_nonzero(outside(samples, samples.dtype.type(whole))))
    with np.errstate(over="ignore"):  # a bound beyond float16 or float32 becomes infinite
        return int(np.count_nonzero(outside(samples, bound)))
