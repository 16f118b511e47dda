"""EXIF orientations: composing two of them, and finding a box in the stored picture."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.pipeline.orientation import compose_orientations, orient, to_stored_box


@given(st.integers(1, 8), st.integers(1, 8))
def test_two_turns_are_one(first: int, second: int) -> None:
    stored = np.arange(6, dtype=np.uint8).reshape(2, 3)
    both = orient(orient(stored, first), second)
    assert np.array_equal(orient(stored, compose_orientations(first, second)), both)


@given(st.integers(1, 8), st.data())
def test_the_box_in_the_stored_picture_holds_the_same_pixels(orientation: int, data: st.DataObject) -> None:
    stored = np.arange(35, dtype=np.uint8).reshape(5, 7)
    upright = orient(stored, orientation)
    height, width = upright.shape
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    right, bottom = data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height))
    x0, y0, x1, y1 = to_stored_box((left, top, right, bottom), (width, height), orientation)
    part = orient(stored[y0:y1, x0:x1], orientation)
    assert np.array_equal(part, upright[top:bottom, left:right])
