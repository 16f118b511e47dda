"""Decimation that keeps every frame: neighbours become one picture."""

from dataclasses import dataclass
from typing import Literal

DecimationMode = Literal["drop", "mean", "max"]


@dataclass(frozen=True, slots=True)
class Bins:
    """`size` source frames make one output frame; the last bin of a render may hold fewer.

    `mean` averages frames that have been scaled: averaging and scaling can change places, and small frames are quicker.
    `max` keeps the brightest at full size and scales afterwards: a scaled point of light is dimmer than the point.
    `width` x `height` (even) is the size at which frames are laid over one another.
    """

    mode: Literal["mean", "max"]
    size: int
    width: int
    height: int


def bins_of(mode: DecimationMode, size: int, native: tuple[int, int], output: tuple[int, int]) -> Bins | None:
    """None where frames are dropped, or one frame makes a bin. `native` is the even size before scaling."""
    if mode == "drop" or size == 1:
        return None
    return Bins(mode, size, *(output if mode == "mean" else native))
