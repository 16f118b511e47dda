"""Collects the sample levels (minimum, maximum, percentiles) of a sequence in bounded memory."""

from typing import Any

import numpy as np

from service.pipeline.picture import Samples
from service.plan.tone import PERCENTS, Levels

# Samples kept of a frame whose values do not fit into a histogram of 65,536 bins.
_MAX_SAMPLES_PER_FRAME = 65_536

# Rows counted at once: NumPy widens them to 64 bits.
_BLOCK_ROWS = 256
_Values = np.ndarray[Any, np.dtype[np.float64]]
_Counts = np.ndarray[Any, np.dtype[np.int64]]


class LevelSampler:
    """Counts every unsigned 8 and 16-bit sample; of other types, keeps an evenly spaced subset."""

    def __init__(self) -> None:
        self._histogram = np.zeros(65536, np.int64)
        self._pool: list[_Values] = []
        self._dtypes = set[np.dtype[Any]]()
        self._frames = self._bits = self._nan = self._inf = 0
        self._low, self._high = np.inf, -np.inf
        self._gray = self._uses_pool = False

    def add(self, samples: Samples, bits: int) -> None:
        """Add a frame, (height, width) or (height, width, 3); `bits` is the bit depth in its header."""
        self._frames += 1
        self._bits = max(self._bits, bits)
        self._dtypes.add(samples.dtype)
        self._gray |= samples.ndim == 2
        flat = samples.reshape(-1)
        finite = self._drop_non_finite(flat)
        if finite.size:
            self._low = min(self._low, float(finite.min()))
            self._high = max(self._high, float(finite.max()))
        if samples.dtype in (np.uint8, np.uint16):
            for row in range(0, len(samples), _BLOCK_ROWS):
                self._histogram += np.bincount(samples[row : row + _BLOCK_ROWS].reshape(-1), minlength=65536)
        else:
            self._uses_pool = True
        self._pool.append(finite[:: max(1, finite.size // _MAX_SAMPLES_PER_FRAME) | 1].astype(np.float64))

    def _drop_non_finite(self, flat: Samples) -> Samples:
        if flat.dtype.kind != "f" or np.isfinite(flat).all():
            return flat
        self._nan += int(np.isnan(flat).sum())
        self._inf += int(np.isinf(flat).sum())
        return flat[np.isfinite(flat)]

    def levels(self) -> Levels | None:
        """None if there was no finite sample."""
        if self._low > self._high:
            return None
        values, counts = self._distribution()
        percentiles = _percentiles(values, counts)
        usual, others_percent, others = _others(values, counts)
        return Levels(
            np.result_type(*self._dtypes).name,
            self._bits,
            1 if self._gray else 3,
            self._frames,
            self._low,
            self._high,
            self._nan,
            self._inf,
            (self._low, *percentiles[1:-1], self._high),
            usual,
            others_percent,
            others,
        )

    def _distribution(self) -> tuple[_Values, _Counts]:
        """(values, ascending; how often each occurs)."""
        if self._uses_pool:
            return np.unique(np.concatenate(self._pool), return_counts=True)
        present = np.flatnonzero(self._histogram)
        return present.astype(np.float64), self._histogram[present]


def _percentiles(values: _Values, counts: _Counts) -> list[float]:
    """At PERCENTS: the smallest value that at least so many samples do not exceed."""
    below = np.cumsum(counts)
    return [float(values[np.searchsorted(below, percent / 100 * below[-1])]) for percent in PERCENTS]


def _others(values: _Values, counts: _Counts) -> tuple[float | None, float, tuple[float, ...]]:
    """(usual value, percent of other samples, their percentiles); (None, 0, ()) if no value makes up most samples."""
    place, total = int(np.argmax(counts)), int(counts.sum())
    if 2 * counts[place] < total:
        return None, 0.0, ()
    others = np.delete(values, place), np.delete(counts, place)
    percentiles = tuple(_percentiles(*others)) if others[0].size else ()
    return float(values[place]), 100 * float(others[1].sum()) / total, percentiles
