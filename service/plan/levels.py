"""What a scan knows about the sample values of a dataset, and percentiles from it."""

import dataclasses
import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

_TAIL = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.8)
PERCENTS: tuple[float, ...] = (
    *_TAIL,
    *(step / 2 for step in range(2, 199)),
    *(round(100 - percent, 3) for percent in reversed(_TAIL)),
)
"""Where the table of percentiles is kept: every half percent, and finer where windows usually end."""


@dataclass(frozen=True, slots=True)
class Levels:
    """Facts of decoded samples of `frames` frames spread over the sequence.

    `dtype` is NumPy's name ("uint16", "float32"), `bits` the significant ones, `channels` 1 for gray or 3 for RGB.
    `low`, `high` and `values` (at PERCENTS) are in the samples' own unit, over finite samples; `nan` and `inf` count
    the others. `low` and `high` are exact over these frames, other frames may exceed them.
    """

    dtype: str
    bits: int
    channels: int
    frames: int
    low: float
    high: float
    nan: int
    inf: int
    values: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"values": list(self.values)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Levels":
        return cls(**(document | {"values": tuple(document["values"])}))

    @property
    def deep(self) -> bool:
        """Whether a screen cannot show the samples as they are."""
        return self.bits > 8

    @property
    def is_float(self) -> bool:
        return self.dtype.startswith("float")

    def full(self) -> tuple[float, float]:
        """What the samples can hold; for floats, by convention, 0 to 1."""
        if self.is_float:
            return 0.0, 1.0
        if self.dtype.startswith("int"):
            return -float(1 << (self.bits - 1)), float((1 << (self.bits - 1)) - 1)
        return 0.0, float((1 << self.bits) - 1)

    def percentile(self, percent: float) -> float:
        """Linear between the kept ones."""
        place = min(max(bisect_left(PERCENTS, percent), 1), len(PERCENTS) - 1)
        below, above = PERCENTS[place - 1], PERCENTS[place]
        share = (percent - below) / (above - below)
        return math.fsum((self.values[place - 1] * (1 - share), self.values[place] * share))
