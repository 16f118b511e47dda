"""How often sample values are in a sequence, from the percentiles that a scan recorded: what a window is chosen on."""

import itertools
import math
from bisect import bisect_left
from dataclasses import dataclass

from service.plan.tone import PERCENTS, Levels

STEPS = 64
# Of the samples, at most so many percent lie beyond each end, which is moved out by a share of the width.
_BEYOND_PERCENT, _MARGIN = 0.1, 0.1


@dataclass(frozen=True, slots=True)
class SampleHistogram:
    """The share of the samples in each of the equal steps from `low` to `high`, in the samples' own unit."""

    low: float
    high: float
    shares: tuple[float, ...]


def sample_histogram(levels: Levels) -> SampleHistogram:
    """Over the whole range of 8-bit samples; of others, where nearly all of them are."""
    low, high = _range(levels) if levels.is_deep else levels.full_range()
    steps = STEPS if levels.is_float else max(min(STEPS, int(high - low)), 1)
    edges = [low + (high - low) * step / steps for step in range(steps)]
    below = [*(_percent_below(levels, edge) for edge in edges), _percent_below(levels, math.nextafter(high, math.inf))]
    shares = (max(upper - lower, 0) / 100 for lower, upper in itertools.pairwise(below))
    return SampleHistogram(low, high, tuple(round(share, 5) for share in shares))


def _range(levels: Levels) -> tuple[float, float]:
    low, high = levels.percentile(_BEYOND_PERCENT), levels.percentile(100 - _BEYOND_PERCENT)
    margin = (high - low) * _MARGIN
    low, high = max(low - margin, levels.low), min(high + margin, levels.high)
    if not levels.is_float:
        low, high = math.floor(low), math.ceil(high)
    return float(low), float(high) if high > low else low + 1.0


def _percent_below(levels: Levels, value: float) -> float:
    """How many percent of the samples are less, linear between the recorded percentiles."""
    values = levels.values
    if value <= values[0]:
        return 0.0
    if value > values[-1]:
        return 100.0
    place = bisect_left(values, value)
    lower, upper = values[place - 1], values[place]
    return PERCENTS[place - 1] + (PERCENTS[place] - PERCENTS[place - 1]) * (value - lower) / (upper - lower)
