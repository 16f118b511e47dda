"""What part of a frame is read, how far it is turned, and how large the result is."""

from dataclasses import dataclass
from typing import Literal

LONGEST_SIDE = 32767
"""Products of two sides are counted in 32-bit integers."""

Turn = Literal[0, 90, 180, 270]
Steps = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Reading:
    """A cropped and turned frame as a walk over memory, in elements from the frame's first; steps may be negative."""

    height: int
    width: int
    start: int
    step_y: int
    step_x: int


@dataclass(frozen=True, slots=True)
class Geometry:
    """Crop (top, left, height, width), then turn clockwise by degrees, then shrink to `size` (height, width).

    All in pixels; None keeps the whole frame, or its size. Raises ValueError for an unknown turn.
    """

    size: tuple[int, int] | None = None
    crop: tuple[int, int, int, int] | None = None
    turn: Turn = 0

    def __post_init__(self) -> None:
        if self.turn not in (0, 90, 180, 270):
            raise ValueError(f"turn must be 0, 90, 180 or 270, not {self.turn!r}")

    def box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """The crop for a frame of this size. Raises ValueError if it does not lie inside."""
        top, left, rows, columns = self.crop or (0, 0, height, width)
        if min(top, left) < 0 or min(rows, columns) < 1 or top + rows > height or left + columns > width:
            raise ValueError(f"crop {self.crop} does not lie inside a frame of {height} x {width}")
        return top, left, rows, columns

    def upright(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) after crop and turn."""
        _, _, rows, columns = self.box(height, width)
        return (columns, rows) if self.turn in (90, 270) else (rows, columns)

    def result(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the picture made from a frame of this size. Raises ValueError if it would grow."""
        source = self.upright(height, width)
        size = self.size or source
        if min(size) < 1 or size[0] > source[0] or size[1] > source[1]:
            raise ValueError(f"size {size} is not between 1 x 1 and the {source[0]} x {source[1]} that is read")
        if max(source) > LONGEST_SIDE:
            raise ValueError(f"frames of {source[0]} x {source[1]} have a side longer than {LONGEST_SIDE}")
        return size

    def reading(self, frame: tuple[int, int], steps: Steps, sample: int = 1) -> Reading:
        """How to walk a frame of this (height, width); `sample` is 2 for a plane with one sample per 2 x 2."""
        top, left, rows, columns = (side // sample for side in self.box(*frame))
        down, right = steps
        start = top * down + left * right
        last_row, last_column = (rows - 1) * down, (columns - 1) * right
        match self.turn:
            case 0:
                return Reading(rows, columns, start, down, right)
            case 90:
                return Reading(columns, rows, start + last_row, right, -down)
            case 180:
                return Reading(rows, columns, start + last_row + last_column, -down, -right)
            case 270:
                return Reading(columns, rows, start + last_column, -right, down)
