"""EXIF orientations, 1 to 8: how a stored picture is transposed and mirrored to stand upright."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

# Degrees clockwise -> the EXIF orientation that asks for this turn.
ORIENTATION_BY_DEGREES = {0: 1, 90: 6, 180: 3, 270: 8}

# EXIF orientation -> (transpose, then mirror left-right, then mirror top-bottom).
_COMPONENTS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}
_NUMBERS = {components: number for number, components in _COMPONENTS.items()}

Plane = np.ndarray[Any, np.dtype[Any]]
# (left, top, right, bottom) in pixels; right and bottom are exclusive.
Box = tuple[int, int, int, int]


def orientation_of_display(matrix: Sequence[int]) -> int:
    """The EXIF orientation for a video's display matrix, a b u c d v x y w (ISO/IEC 14496-12, 6.2.2).

    As FFmpeg's command puts videos upright: by the direction of (a, b), and mirrored by the signs of the others. 1 for
    an angle that is not a multiple of 90 degrees, which FFmpeg would show with black corners.
    """
    a, _, _, c, d, *_ = matrix
    match display_degrees(matrix):
        case 0:
            return 4 if d < 0 else 1
        case 90:
            return 5 if c > 0 else 6
        case 180:
            return _NUMBERS[False, a < 0, d < 0]
        case 270:
            return 7 if c < 0 else 8
        case _:
            return 1


def display_degrees(matrix: Sequence[int]) -> int:
    """The turn of a display matrix clockwise, rounded to a degree from 0 to 359; 0 for one that shows nothing."""
    a, b, _, c, d, *_ = matrix
    across, down = math.hypot(a, c), math.hypot(b, d)
    return round(math.degrees(math.atan2(b / down, a / across))) % 360 if across and down else 0


def swaps_sides(orientation: int) -> bool:
    """Whether width and height are exchanged when the picture is put upright."""
    return _COMPONENTS[orientation][0]


def oriented_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """(width, height) upright of a picture stored with this (width, height), or the other way round."""
    return (size[1], size[0]) if swaps_sides(orientation) else size


def orient(plane: Plane, orientation: int) -> Plane:
    """An upright view of a plane, (height, width)."""
    transposed, across, down = _COMPONENTS[orientation]
    plane = plane.T if transposed else plane
    return plane[:: -1 if down else 1, :: -1 if across else 1]


def compose_orientations(first: int, second: int) -> int:
    """The one orientation that has the effect of `first` and then `second`."""
    (transposed, across, down), (again, across_too, down_too) = _COMPONENTS[first], _COMPONENTS[second]
    if again:
        across, down = down, across
    return _NUMBERS[transposed != again, across != across_too, down != down_too]


def to_stored_box(box: Box, upright: tuple[int, int], orientation: int) -> Box:
    """The box in the stored picture that shows (left, top, right, bottom) of the upright one of size `upright`."""
    left, top, right, bottom = box
    transposed, across, down = _COMPONENTS[orientation]
    if across:
        left, right = upright[0] - right, upright[0] - left
    if down:
        top, bottom = upright[1] - bottom, upright[1] - top
    return (top, left, bottom, right) if transposed else (left, top, right, bottom)
