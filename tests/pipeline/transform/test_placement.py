"""Placement on the output canvas: whole chroma samples, and aspects that are rounded to even sizes."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from service.pipeline.transform.placement import pad, same_aspect

sides = st.integers(1, 4000)


@given(st.tuples(sides, sides), st.tuples(sides.map(lambda n: 2 * n), sides.map(lambda n: 2 * n)))
def test_a_padded_picture_stays_inside_on_whole_chroma_samples(
    source: tuple[int, int], canvas: tuple[int, int]
) -> None:
    place = pad(source, canvas)
    assert 2 <= place.width <= canvas[0] - place.left
    assert 2 <= place.height <= canvas[1] - place.top
    assert not any(side % 2 for side in (place.width, place.height, place.left, place.top))


@given(st.tuples(st.integers(16, 4000), st.integers(16, 4000)), st.fractions(Fraction(1, 8), 4))
def test_an_even_rounded_scale_keeps_the_aspect(source: tuple[int, int], scale: Fraction) -> None:
    canvas = (max(2, round(source[0] * scale / 2) * 2), max(2, round(source[1] * scale / 2) * 2))
    assert same_aspect(source, canvas)
