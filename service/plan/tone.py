"""How deep samples become levels: what may be asked for, and the one concrete window of a whole sequence."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from service.errors import Invalid, invalid_field
from service.plan.levels import Levels

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
DEFAULT_PERCENTS = (0.35, 99.65)
"""A sensor's few dead and hot pixels lie outside, and so does at most one pixel in 143 at each end: the contrast that
scientific viewers choose by themselves."""


@dataclass(frozen=True, slots=True)
class ToneWish:
    """A request. `low` and `high` are percents in mode percentile, sample values in mode fixed, else unset."""

    mode: ToneMode = "percentile"
    low: float | None = None
    high: float | None = None
    gamma: float = 1.0
    colormap: Colormap = "gray"
    inverse: bool = False


@dataclass(frozen=True, slots=True)
class Tone:
    """Sample -> level, the same for every frame: `low` and `high`, in the samples' own unit, become 0 and 1; then
    `** gamma` (below 1 brightens); then the colormap, turned round when `inverse`.

    `shallow` says that 8-bit gray frames go through it too; otherwise only deeper ones do.
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


def settled(wish: ToneWish | None, levels: Levels | None) -> Tone | None:
    """The concrete tone of a render; None where frames are shown as they are. Raises Invalid with a pointer.

    Without a wish, deep frames get the percentile window and 8-bit ones none.
    """
    if wish is None:
        return settled(ToneWish(), levels) if levels and levels.deep else None
    if levels is None:
        detail = "tone is for gray or deeper than 8-bit images, and the last scan found none that can be decoded"
        raise invalid_field("#/tone", detail, "no_levels")
    if wish.colormap != "gray" and levels.channels == 3:
        raise invalid_field("#/tone/colormap", "a colormap needs gray frames, and these are RGB", "not_gray")
    low, high = _window(wish, levels)
    return Tone(low + 0.0, high + 0.0, float(wish.gamma), wish.colormap, wish.inverse, not levels.deep)


def _window(wish: ToneWish, levels: Levels) -> tuple[float, float]:
    if wish.mode in ("full", "minmax"):
        for name in ("low", "high"):
            if getattr(wish, name) is not None:
                raise invalid_field(f"#/tone/{name}", f"mode {wish.mode} finds its own: leave it out", "exclusive")
        return _apart(*(levels.full() if wish.mode == "full" else (levels.low, levels.high)))
    if wish.mode == "fixed":
        return _fixed(wish)
    low, high = _percents(wish)
    return _apart(*_steady(levels.percentile(low), levels.percentile(high), (levels.low, levels.high)))


def _fixed(wish: ToneWish) -> tuple[float, float]:
    if wish.low is None or wish.high is None:
        missing = "low" if wish.low is None else "high"
        raise invalid_field(f"#/tone/{missing}", "mode fixed needs low and high, as sample values", "missing")
    if not wish.low < wish.high:
        raise _unordered()
    return wish.low, wish.high


def _percents(wish: ToneWish) -> tuple[float, float]:
    low = DEFAULT_PERCENTS[0] if wish.low is None else wish.low
    high = DEFAULT_PERCENTS[1] if wish.high is None else wish.high
    for name, value in (("low", low), ("high", high)):
        if not 0 <= value <= 100:
            raise invalid_field(f"#/tone/{name}", "in mode percentile it is a percent, 0 to 100", "out_of_range")
    if not low < high:
        raise _unordered()
    return low, high


def _unordered() -> Invalid:
    return invalid_field("#/tone/high", "high must be above low", "unordered")


def _steady(low: float, high: float, limits: tuple[float, float]) -> tuple[float, float]:
    """Moved outwards to multiples of 1/256 to 1/512 of the width, less than one level of the output, but no further
    than `limits`: so that a sequence that grows a little keeps its window, and with it the segments already made."""
    width = high - low
    if width <= 0:
        return low, high
    step = 2.0 ** (math.floor(math.log2(width)) - 8)
    return max(math.floor(low / step) * step, limits[0]), min(math.ceil(high / step) * step, limits[1])


def _apart(low: float, high: float) -> tuple[float, float]:
    """A sequence of one value is shown black, by a window that begins there."""
    return (low, high) if low < high else (low, math.nextafter(max(low + 1, low), math.inf))
