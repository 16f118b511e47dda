"""EXIF orientations, 1 to 8: how a stored picture is transposed and mirrored to stand upright."""

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


def orientation_of_display(degrees: int) -> int:
    """The EXIF orientation for a video's display matrix: degrees counter-clockwise; 1 unless a multiple of 90."""
    return ORIENTATION_BY_DEGREES.get(-degrees % 360, 1)


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
