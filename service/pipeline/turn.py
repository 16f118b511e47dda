"""The eight ways to turn a picture, as EXIF numbers them, and how they follow one another."""

ORIENTATION_BY_DEGREES = {0: 1, 90: 6, 180: 3, 270: 8}
"""Degrees clockwise -> the EXIF orientation that asks for this turn."""

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
"""EXIF orientation -> (transpose, then mirror left-right, then mirror top-bottom)."""

_ORIENTATION_NUMBERS = {parts: number for number, parts in _COMPONENTS.items()}

Box = tuple[int, int, int, int]


def compose_orientations(first: int, second: int) -> int:
    """The one orientation that does what `first` and then `second` do."""
    (transposed, across, down), (again, across_too, down_too) = _COMPONENTS[first], _COMPONENTS[second]
    if again:
        across, down = down, across
    return _ORIENTATION_NUMBERS[transposed != again, across != across_too, down != down_too]


def to_stored_box(box: Box, upright: tuple[int, int], orientation: int) -> Box:
    """Where (left, top, right, bottom) of the upright picture of this size lies in the stored one."""
    left, top, right, bottom = box
    transposed, across, down = _COMPONENTS[orientation]
    if across:
        left, right = upright[0] - right, upright[0] - left
    if down:
        top, bottom = upright[1] - bottom, upright[1] - top
    return (top, left, bottom, right) if transposed else (left, top, right, bottom)
