"""What part of a frame is read, how far it is turned, and how large the result is."""

from dataclasses import dataclass
from typing import Literal

# Products of two sides are counted in 32-bit integers.
MAX_SIDE = 32767

Rotation = Literal[0, 90, 180, 270]
Strides = tuple[int, int]


@dataclass(frozen=True, slots=True)
class StridedView:
    """A cropped and turned frame as a walk over memory, in elements from the frame's first; steps may be negative."""

    height: int
    width: int
    start: int
    stride_y: int
    stride_x: int


@dataclass(frozen=True, slots=True)
class Geometry:
    """Crop (top, left, height, width), then turn clockwise by degrees, then shrink to `size` (height, width).

    All in pixels; None keeps the whole frame, or its size. Raises ValueError for an unknown turn.
    """

    size: tuple[int, int] | None = None
    crop: tuple[int, int, int, int] | None = None
    rotation: Rotation = 0

    def __post_init__(self) -> None:
        if self.rotation not in (0, 90, 180, 270):
            raise ValueError(f"rotation must be 0, 90, 180 or 270, not {self.rotation!r}")

    def crop_box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """The crop for a frame of this size. Raises ValueError if it does not lie inside."""
        top, left, rows, columns = self.crop or (0, 0, height, width)
        if min(top, left) < 0 or min(rows, columns) < 1 or top + rows > height or left + columns > width:
            raise ValueError(f"crop {self.crop} does not lie inside a frame of {height} x {width}")
        return top, left, rows, columns

    def rotated_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) after crop and turn."""
        _, _, rows, columns = self.crop_box(height, width)
        return (columns, rows) if self.rotation in (90, 270) else (rows, columns)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the picture made from a frame of this size. Raises ValueError if it would grow."""
        source = self.rotated_size(height, width)
        size = self.size or source
        if min(size) < 1 or size[0] > source[0] or size[1] > source[1]:
            raise ValueError(f"size {size} is not between 1 x 1 and the {source[0]} x {source[1]} that is read")
        if max(source) > MAX_SIDE:
            raise ValueError(f"frames of {source[0]} x {source[1]} have a side longer than {MAX_SIDE}")
        return size

    def strided_view(self, frame: tuple[int, int], strides: Strides, subsampling: int = 1) -> StridedView:
        """How to walk a frame of this (height, width); `sample` is 2 for a plane with one sample per 2 x 2."""
        top, left, rows, columns = (side // subsampling for side in self.crop_box(*frame))
        down, right = strides
        start = top * down + left * right
        last_row, last_column = (rows - 1) * down, (columns - 1) * right
        match self.rotation:
            case 0:
                return StridedView(rows, columns, start, down, right)
            case 90:
                return StridedView(columns, rows, start + last_row, right, -down)
            case 180:
                return StridedView(rows, columns, start + last_row + last_column, -down, -right)
            case 270:
                return StridedView(columns, rows, start + last_column, -right, down)
