"""How deep samples become 8-bit levels: what a scan measured, what a request asks for, and the window that follows.

One window holds for the whole sequence, so that brightness does not flicker.
"""

import dataclasses
import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any, Literal, get_args

from service.errors import InvalidRequest, invalid_field

ToneMode = Literal["full", "minmax", "percentile", "fixed"]
Colormap = Literal[
    "gray",
    "viridis",
    "plasma",
    "inferno",
    "magma",
    "cividis",
    "turbo",
    "hot",
    "bone",
    "coolwarm",
    "red",
    "green",
    "blue",
    "cyan",
    "magenta",
    "yellow",
]
COLORMAPS: tuple[Colormap, ...] = get_args(Colormap)

# A sensor's few dead and hot pixels are outside, and at most one pixel in 143 in all: the automatic contrast of
# scientific viewers.
DEFAULT_PERCENTS = (0.35, 99.65)

_TAIL = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.8)
# The percents at which a scan records percentiles: every half percent, and finer where windows usually end.
PERCENTS: tuple[float, ...] = (
    *_TAIL,
    *(step / 2 for step in range(2, 199)),
    *(round(100 - percent, 3) for percent in reversed(_TAIL)),
)


@dataclass(frozen=True, slots=True)
class Levels:
    """What a scan measured of the decoded samples of `frames` frames, spread over the sequence.

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
    def is_deep(self) -> bool:
        """Whether the samples have more than 8 bits, so that a screen cannot show them as they are."""
        return self.bits > 8

    @property
    def is_float(self) -> bool:
        return self.dtype.startswith("float")

    def full_range(self) -> tuple[float, float]:
        """The smallest and the largest value that the type holds; for floats, by convention, 0 to 1."""
        if self.is_float:
            return 0.0, 1.0
        if self.dtype.startswith("int"):
            return -float(1 << (self.bits - 1)), float((1 << (self.bits - 1)) - 1)
        return 0.0, float((1 << self.bits) - 1)

    def percentile(self, percent: float) -> float:
        """Linear between the recorded ones."""
        place = min(max(bisect_left(PERCENTS, percent), 1), len(PERCENTS) - 1)
        below, above = PERCENTS[place - 1], PERCENTS[place]
        share = (percent - below) / (above - below)
        return math.fsum((self.values[place - 1] * (1 - share), self.values[place] * share))


@dataclass(frozen=True, slots=True)
class ToneSpec:
    """The tone of a request: `low` and `high` are percents (percentile), sample values (fixed), else None."""

    mode: ToneMode = "percentile"
    low: float | None = None
    high: float | None = None
    gamma: float = 1.0
    colormap: Colormap = "gray"
    inverse: bool = False


@dataclass(frozen=True, slots=True)
class Tone:
    """Sample -> level, the same for every frame: `low` and `high`, in the samples' own unit, become 0 and 1; then
    `** gamma` (below 1 brightens); then the colormap, reversed when `inverse`.

    `shallow` says that it applies to 8-bit gray frames too; otherwise only to deeper ones.
    """

    low: float
    high: float
    gamma: float = 1.0
    colormap: Colormap = "gray"
    inverse: bool = False
    shallow: bool = False

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Tone":
        return cls(**document)


def resolve_tone(spec: ToneSpec | None, levels: Levels | None) -> Tone | None:
    """The concrete tone of a render; None where frames are shown as they are.

    Without a spec, deep frames get the percentile window and 8-bit ones none. Raises InvalidRequest, pointing into
    `#/tone`.
    """
    if spec is None:
        return resolve_tone(ToneSpec(), levels) if levels and levels.is_deep else None
    if levels is None:
        detail = "tone is for gray or deeper than 8-bit images, and the last scan found none that can be decoded"
        raise invalid_field("#/tone", detail, "no_levels")
    if spec.colormap != "gray" and levels.channels == 3:
        raise invalid_field("#/tone/colormap", "a colormap needs gray frames, and these are RGB", "not_gray")
    low, high = _window(spec, levels)
    return Tone(low + 0.0, high + 0.0, float(spec.gamma), spec.colormap, spec.inverse, not levels.is_deep)


def _window(spec: ToneSpec, levels: Levels) -> tuple[float, float]:
    if spec.mode in ("full", "minmax"):
        for name in ("low", "high"):
            if getattr(spec, name) is not None:
                raise invalid_field(f"#/tone/{name}", f"mode {spec.mode} finds its own: leave it out", "exclusive")
        return _non_empty(*(levels.full_range() if spec.mode == "full" else (levels.low, levels.high)))
    if spec.mode == "fixed":
        return _fixed_window(spec)
    low, high = _percents(spec)
    return _non_empty(*_rounded_outwards(levels.percentile(low), levels.percentile(high), (levels.low, levels.high)))


def _fixed_window(spec: ToneSpec) -> tuple[float, float]:
    if spec.low is None or spec.high is None:
        missing = "low" if spec.low is None else "high"
        raise invalid_field(f"#/tone/{missing}", "mode fixed needs low and high, as sample values", "missing")
    if not spec.low < spec.high:
        raise _wrong_order()
    return spec.low, spec.high


def _percents(spec: ToneSpec) -> tuple[float, float]:
    low = DEFAULT_PERCENTS[0] if spec.low is None else spec.low
    high = DEFAULT_PERCENTS[1] if spec.high is None else spec.high
    for name, value in (("low", low), ("high", high)):
        if not 0 <= value <= 100:
            raise invalid_field(f"#/tone/{name}", "in mode percentile it is a percent, 0 to 100", "out_of_range")
    if not low < high:
        raise _wrong_order()
    return low, high


def _wrong_order() -> InvalidRequest:
    return invalid_field("#/tone/high", "high must be above low", "unordered")


def _rounded_outwards(low: float, high: float, limits: tuple[float, float]) -> tuple[float, float]:
    """The window, extended to multiples of 1/256 to 1/512 of its width (less than one output level) within `limits`.

    A sequence that grows a little then keeps its window, and with it the segments that are cached.
    """
    width = high - low
    if width <= 0:
        return low, high
    step = 2.0 ** (math.floor(math.log2(width)) - 8)
    return max(math.floor(low / step) * step, limits[0]), min(math.ceil(high / step) * step, limits[1])


def _non_empty(low: float, high: float) -> tuple[float, float]:
    """A sequence of one value gets a window that begins there, and is shown black."""
    return (low, high) if low < high else (low, math.nextafter(max(low + 1, low), math.inf))
