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
        values = self._sample_percentiles() if self._uses_pool else self._histogram_percentiles()
        return Levels(
            np.result_type(*self._dtypes).name,
            self._bits,
            1 if self._gray else 3,
            self._frames,
            self._low,
            self._high,
            self._nan,
            self._inf,
            (self._low, *values[1:-1], self._high),
        )

    def _histogram_percentiles(self) -> list[float]:
        """Of each percentage, the smallest value that at least so many samples do not exceed."""
        below = np.cumsum(self._histogram)
        return [float(np.searchsorted(below, percent / 100 * below[-1])) for percent in PERCENTS]

    def _sample_percentiles(self) -> list[float]:
        values = np.sort(np.concatenate(self._pool))
        places = np.ceil(np.array(PERCENTS) / 100 * values.size).astype(np.int64) - 1
        return [float(values[place]) for place in places.clip(0)]
