"""Window positions are exact and clip counts are right, for samples of every type."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.pipeline.picture import ClipCounts
from service.pipeline.tone.window import MAX_POSITION, Stretch, Window

DTYPES = ("u1", "u2", "i2", "u4", "i4", "f2", "f4", "f8")
SIDES = st.tuples(st.integers(1, 40), st.integers(1, 5))
BOUNDS = st.floats(-1e5, 1e5).flatmap(lambda low: st.tuples(st.just(low), st.floats(low + 0.5, low + 2e5)))


@st.composite
def draw_samples(draw: Any) -> np.ndarray[Any, Any]:
    return draw(arrays.arrays(np.dtype(draw(st.sampled_from(DTYPES))), draw(SIDES)))


def map_samples(window: Window, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    found = np.full(values.shape, 0xA5A5, np.uint16)
    window.map_into(values, found)
    return found


@given(draw_samples(), BOUNDS)
def test_places_are_linear_cut_off_and_never_a_number_out_of_nothing(
    values: np.ndarray[Any, Any], bounds: tuple[float, float]
) -> None:
    low, high = bounds
    share = (values.astype(np.float64) - low) / (high - low)
    expected = np.nan_to_num(share, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1) * MAX_POSITION
    in_float32 = values.dtype.itemsize <= 4 and values.dtype not in (np.int32, np.uint32)
    step = float(np.spacing(np.float32(max(abs(low), abs(high))))) / (high - low)
    rough = 16.0 + step * MAX_POSITION if in_float32 else 1.0
    assert np.abs(map_samples(Window(low, high), values) - expected).max() <= rough


@given(draw_samples(), BOUNDS)
def test_counts_are_those_of_plain_comparison(values: np.ndarray[Any, Any], bounds: tuple[float, float]) -> None:
    low, high = bounds
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            low, high = float(values.dtype.type(low)), float(values.dtype.type(high))
    exact = values.astype(np.float64)
    expected = ClipCounts(int((exact < low).sum()), int((exact > high).sum()), int(np.isnan(exact).sum()))
    assert Window(*bounds).count_clipped(values) == expected


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@given(bounds=st.tuples(st.floats(-500, 70_000), st.floats(-500, 70_000)).filter(lambda pair: pair[0] < pair[1]))
def test_tables_and_stretches_find_the_same_places(dtype: str, bounds: tuple[float, float]) -> None:
    window = Window(*bounds)
    every = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(-1, 8)
    stretched = np.empty(every.shape, np.uint16)
    Stretch(window).map_into(every, stretched)
    by_table = window.lookup_table()[every]
    np.testing.assert_array_equal(Stretch(window).lookup_table()[stretched], by_table)
    assert by_table.min() >= 0
    assert (np.diff(by_table.reshape(-1).astype(int)) >= 0).all()


def test_a_narrow_window_uses_all_of_its_bits() -> None:
    """The mean of four 12-bit samples then keeps its fraction."""
    stretched = np.empty((1, 2), np.uint16)
    Stretch(Window(100, 150)).map_into(np.array([[100, 150]], np.uint16), stretched)
    assert stretched.tolist() == [[0, 50 << 10]]
