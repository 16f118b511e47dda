"""Crop, rotation and output size of a frame, and the strided view of memory that they lead to."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

# A product of two sides fits into a 32-bit integer.
MAX_SIDE = 32767

Rotation = Literal[0, 90, 180, 270]
Strides = tuple[int, int]


class CropBox(NamedTuple):
    """In pixels of the stored frame, before rotation."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class StridedView:
    """A cropped and rotated frame in memory. `start` and the strides count elements; strides may be negative."""

    height: int
    width: int
    start: int
    stride_y: int
    stride_x: int


@dataclass(frozen=True, slots=True)
class Geometry:
    """Crop, then rotate clockwise by degrees, then shrink to `size` (height, width), in pixels.

    `crop` None keeps the whole frame, `size` None keeps its size. Raises ValueError for an unknown rotation.
    """

    size: tuple[int, int] | None = None
    crop: CropBox | None = None
    rotation: Rotation = 0

    def __post_init__(self) -> None:
        if self.rotation not in (0, 90, 180, 270):
            raise ValueError(f"rotation must be 0, 90, 180 or 270, not {self.rotation!r}")

    def crop_box(self, height: int, width: int) -> CropBox:
        """The part of a frame of this size that is read. Raises ValueError if the crop exceeds the frame."""
        box = self.crop or CropBox(0, 0, height, width)
        top, left, rows, columns = box
        if min(top, left) < 0 or min(rows, columns) < 1 or top + rows > height or left + columns > width:
            raise ValueError(f"crop {self.crop} exceeds a frame of {height} x {width}")
        return box

    def rotated_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) after crop and rotation."""
        box = self.crop_box(height, width)
        return (box.width, box.height) if self.rotation in (90, 270) else (box.height, box.width)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the output for a frame of this size. Raises ValueError for an enlargement."""
        source = self.rotated_size(height, width)
        size = self.size or source
        if min(size) < 1 or size[0] > source[0] or size[1] > source[1]:
            raise ValueError(f"size {size} is not between 1 x 1 and the {source[0]} x {source[1]} that is read")
        if max(source) > MAX_SIDE:
            raise ValueError(f"frames of {source[0]} x {source[1]} have a side longer than {MAX_SIDE}")
        return size

    def strided_view(self, frame: tuple[int, int], strides: Strides, subsampling: int = 1) -> StridedView:
        """The view of a frame of this (height, width); `subsampling` is 2 for planes with one sample per 2 x 2."""
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
