"""The quality scale, encoder names and timescales."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.pipeline.codecs import encoder_name
from service.pipeline.geometry import pad, same_aspect
from service.pipeline.mux import timescale
from service.pipeline.quality import rate
from service.plan.containers import Codec

codecs = st.sampled_from(["h264", "av1"])
qualities = st.integers(0, 100)
sides = st.integers(1, 4000)


@given(codecs, qualities, qualities)
def test_more_quality_never_means_a_higher_crf(codec: Codec, one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert rate(codec, low) >= rate(codec, high)


@given(codecs, qualities)
def test_crf_is_one_the_encoder_takes(codec: Codec, quality: int) -> None:
    assert 1 <= rate(codec, quality) <= (51 if codec == "h264" else 63)


def test_the_default_quality() -> None:
    assert (rate("h264", 70), rate("av1", 70)) == (23, 35)


@pytest.mark.parametrize("quality", [-1, 101])
def test_quality_outside_the_scale(quality: int) -> None:
    with pytest.raises(ValueError, match="outside 0 to 100"):
        rate("h264", quality)


@given(st.fractions(min_value=Fraction(1, 100), max_value=240, max_denominator=1001))
def test_a_frame_is_a_whole_number_of_ticks(fps: Fraction) -> None:
    assert (timescale(fps) / fps).denominator == 1
    assert timescale(fps) >= 10_000


def test_encoder_names() -> None:
    assert encoder_name("h264").startswith("libx264 core 1")
    assert encoder_name("av1").startswith("libsvtav1 (FFmpeg ")


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
