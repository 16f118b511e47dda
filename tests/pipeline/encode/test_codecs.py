"""The quality scale, encoder names and timescales."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.pipeline.encode.codecs import encoder_name, encoder_quality
from service.pipeline.encode.mux import timescale
from service.plan.formats import Codec

codecs = st.sampled_from(["h264", "hevc", "av1"])
qualities = st.integers(0, 100)


@given(codecs, qualities, qualities)
def test_more_quality_never_means_a_higher_crf(codec: Codec, one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert encoder_quality(codec, low) >= encoder_quality(codec, high)


@given(codecs, qualities)
def test_crf_is_one_the_encoder_takes(codec: Codec, quality: int) -> None:
    assert 1 <= encoder_quality(codec, quality) <= (63 if codec == "av1" else 51)


@given(qualities, qualities)
def test_more_quality_never_means_a_lower_one_of_libjpegs(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert 1 <= encoder_quality("mjpeg", low) <= encoder_quality("mjpeg", high) <= 100


@given(st.sampled_from(["h264", "hevc", "av1", "mjpeg"]), st.integers(0, 99))
def test_the_scale_has_no_jumps(codec: Codec, quality: int) -> None:
    assert abs(encoder_quality(codec, quality + 1) - encoder_quality(codec, quality)) <= 4


def test_the_default_quality() -> None:
    assert [encoder_quality(codec, 70) for codec in ("h264", "hevc", "av1", "mjpeg")] == [23, 20, 38, 74]


def test_x264_is_the_measure() -> None:
    assert [encoder_quality("h264", quality) for quality in (0, 25, 50, 85, 100)] == [51, 41, 31, 17, 1]


def test_lossless_has_no_rate() -> None:
    assert {encoder_quality("ffv1", quality) for quality in (0, 33, 100)} == {0}


@pytest.mark.parametrize("quality", [-1, 101])
def test_quality_outside_the_scale(quality: int) -> None:
    with pytest.raises(ValueError, match="outside 0 to 100"):
        encoder_quality("h264", quality)


@given(st.fractions(min_value=Fraction(1, 100), max_value=240, max_denominator=1001))
def test_a_frame_is_a_whole_number_of_ticks(fps: Fraction) -> None:
    assert (timescale(fps) / fps).denominator == 1
    assert timescale(fps) >= 10_000


def test_encoder_names() -> None:
    assert encoder_name("h264").startswith("libx264 core 1")
    assert encoder_name("av1").startswith("libsvtav1 (FFmpeg ")
    assert encoder_name("hevc").startswith("libx265 (FFmpeg ")
    assert encoder_name("ffv1").startswith("ffv1 (FFmpeg ")
    assert encoder_name("mjpeg").startswith("libjpeg-turbo (imagecodecs 2026.3")
