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

# With the default percents, a tenth of the samples other than the usual value are cut off from here on.
_SPARSE_PERCENT = 3.5
# A window is only noise if a thousandth of the samples is 65,536 times as far away as it is wide; of integers of at
# most 16 bits, if it is at most 3 wide and they are 256 times as far away.
_NOISE_WIDTH, _LEVELS, _FINE_LEVELS = 3, 256, 65536
_SIGNAL_PERCENTS, _ALL_BUT_HOT = (0.1, 99.9), (0.001, 99.999)
SPARSE_NOTE = "nearly all samples have one value: the window reaches from it to the percentiles of the others"
NOISE_NOTE = "the percentiles are only noise apart: the window reaches over all but 0.001 % of the samples at each end"
EQUAL_NOTE = "all measured samples are equal: the window reaches to the greatest value that they can hold"

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

    If one value makes up most of the samples, `usual` is that value, `others_percent` how many percent have another one
    and `others` the percentiles of those, at PERCENTS.
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
    usual: float | None = None
    others_percent: float = 0.0
    others: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"values": list(self.values), "others": list(self.others)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Levels":
        return cls(**(document | {"values": tuple(document["values"]), "others": tuple(document.get("others", ()))}))

    @property
    def is_deep(self) -> bool:
        """Whether a screen cannot show the samples as they are: they have more than 8 bits, or a sign."""
        return self.bits > 8 or not self.dtype.startswith("uint")

    @property
    def is_float(self) -> bool:
        return self.dtype.startswith("float")

    @property
    def is_short_integer(self) -> bool:
        """Whether the samples are integers of at most 16 bits."""
        return not self.is_float and self.bits <= 16

    def full_range(self) -> tuple[float, float]:
        """The smallest and the largest value that the type holds; for floats, by convention, 0 to 1."""
        if self.is_float:
            return 0.0, 1.0
        if self.dtype.startswith("int"):
            return -float(1 << (self.bits - 1)), float((1 << (self.bits - 1)) - 1)
        return 0.0, float((1 << self.bits) - 1)

    def percentile(self, percent: float) -> float:
        """Of all samples, linear between the recorded ones."""
        return _interpolate(self.values, percent)

    def other_percentile(self, percent: float) -> float:
        """Of the samples that differ from the usual value; if none was sampled, of the lowest and the highest."""
        return _interpolate(self.others, percent) if self.others else self.low if percent < 50 else self.high


def _interpolate(values: tuple[float, ...], percent: float) -> float:
    """Linear between the two of PERCENTS around it."""
    place = min(max(bisect_left(PERCENTS, percent), 1), len(PERCENTS) - 1)
    below, above = PERCENTS[place - 1], PERCENTS[place]
    share = (percent - below) / (above - below)
    return math.fsum((values[place - 1] * (1 - share), values[place] * share))


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

    `shallow` says that it applies to 8-bit gray frames too; otherwise only to deeper ones. `note` says why the window
    is another than the percentiles that were asked for, empty if it is not.
    """

    low: float
    high: float
    gamma: float = 1.0
    colormap: Colormap = "gray"
    inverse: bool = False
    shallow: bool = False
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Tone":
        return cls(**document)


def resolve_tone(spec: ToneSpec | None, levels: Levels | None, *, deep: bool = False) -> Tone | None:
    """The concrete tone of a render; None where frames are shown as they are.

    Without a spec, deep frames get the percentile window and 8-bit ones none. `deep` says that there are deep frames
    even if there are no levels. Raises InvalidRequest, pointing into `#/tone`.
    """
    if spec is None:
        return resolve_tone(ToneSpec(), levels) if levels and levels.is_deep else None
    if levels is None and deep:
        return _unmeasured_tone(spec)
    if levels is None:
        detail = "tone is for gray or deeper than 8-bit images, and the last scan found none that can be decoded"
        raise invalid_field("#/tone", detail, "no_levels")
    if spec.colormap != "gray" and levels.channels == 3:
        raise invalid_field("#/tone/colormap", "a colormap needs gray frames, and these are RGB", "not_gray")
    low, high, note = _window(spec, levels)
    return Tone(low + 0.0, high + 0.0, float(spec.gamma), spec.colormap, spec.inverse, not levels.is_deep, note)


def _unmeasured_tone(spec: ToneSpec) -> Tone:
    """Of deep frames in which a scan has found no number: only a fixed window is possible."""
    if spec.mode != "fixed":
        detail = "the scan found no number in the frames that it measured: use mode fixed, with low and high"
        raise invalid_field("#/tone/mode", detail, "no_levels")
    low, high = _fixed_window(spec)
    return Tone(low + 0.0, high + 0.0, float(spec.gamma), spec.colormap, spec.inverse)


def _window(spec: ToneSpec, levels: Levels) -> tuple[float, float, str]:
    """(low, high, why they are not the percentiles that were asked for)."""
    if spec.mode in ("full", "minmax"):
        for name in ("low", "high"):
            if getattr(spec, name) is not None:
                raise invalid_field(f"#/tone/{name}", f"mode {spec.mode} finds its own: leave it out", "exclusive")
        return *_non_empty(*(levels.full_range() if spec.mode == "full" else (levels.low, levels.high))), ""
    if spec.mode == "fixed":
        return *_fixed_window(spec), ""
    percents = _percents(spec)
    if levels.low == levels.high and levels.is_short_integer and levels.low < levels.full_range()[1]:
        return levels.low, levels.full_range()[1], EQUAL_NOTE  # other frames may have more
    low, high, note = _percentile_window(percents, levels)
    return *_non_empty(*_rounded_outwards(low, high, (levels.low, levels.high))), note


def _percentile_window(percents: tuple[float, float], levels: Levels) -> tuple[float, float, str]:
    """(low, high, note). Where the percentiles fall together, the window reaches over what they would cut off.

    - Nearly all samples have one value (stars, beads, events, masks): from that value to the percentiles of the others.
    - The window would hold only noise and the signal is far outside: over all but a few hot pixels.
    """
    low, high = levels.percentile(percents[0]), levels.percentile(percents[1])
    if levels.low == levels.high:
        return low, high, ""
    if low == high or _cuts_off_the_others(percents, levels):
        usual = low if levels.usual is None else levels.usual
        others = levels.other_percentile(percents[0]), levels.other_percentile(percents[1])
        return min(usual, others[0]), max(usual, others[1]), SPARSE_NOTE
    if _is_only_noise(low, high, levels):
        return levels.percentile(_ALL_BUT_HOT[0]), levels.percentile(_ALL_BUT_HOT[1]), NOISE_NOTE
    return low, high, ""


def _is_only_noise(low: float, high: float, levels: Levels) -> bool:
    """Whether a thousandth of the samples, of more than one value, is very far from a narrow window.

    One value far away is a mark, such as a hot column or "no data": that it is cut off hides nothing.
    """
    width, (far_low, far_high) = high - low, _SIGNAL_PERCENTS
    reach = (_LEVELS if levels.is_short_integer and width <= _NOISE_WIDTH else _FINE_LEVELS) * width
    below, above = levels.percentile(far_low), levels.percentile(far_high)
    return (low - below > reach and levels.percentile(_ALL_BUT_HOT[0]) < below) or (
        above - high > reach and levels.percentile(_ALL_BUT_HOT[1]) > above
    )


def _cuts_off_the_others(percents: tuple[float, float], levels: Levels) -> bool:
    """Whether few samples differ from the usual value, and over a tenth of those would be above or below the window."""
    if levels.usual is None or levels.others_percent > _SPARSE_PERCENT:
        return False
    return 5 * (percents[0] + 100 - percents[1]) > levels.others_percent


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
