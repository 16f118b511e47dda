"""Output sizes: sizes that codecs can take, and the size of the request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidRequest
from service.plan.formats import Codec
from service.plan.geometry import output_size


@given(st.integers(1, 16383), st.integers(1, 16383))
def test_native_sizes_are_padded_to_even_never_cropped(width: int, height: int) -> None:
    out = output_size((width, height), None, None, None)
    assert all(
        side % 2 == 0 and 0 <= side - source <= 1 + (source == 1)
        for side, source in zip(out, (width, height), strict=True)
    )


def test_one_side_keeps_the_shape() -> None:
    assert output_size((1920, 1080), 960, None, None) == (960, 540)
    assert output_size((1920, 1080), None, 270, None) == (480, 270)
    assert output_size((1920, 1080), None, None, 0.5) == (960, 540)


def test_scale_and_width_exclude_each_other() -> None:
    with pytest.raises(InvalidRequest) as caught:
        output_size((10, 10), 4, None, 0.5)
    assert caught.value.errors[0].pointer == "#/scale"


def test_an_output_too_large_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        output_size((16000, 16000), None, None, 2)


@pytest.mark.parametrize(("codec", "size"), [("h264", (102, 76)), ("mjpeg", (101, 75)), ("ffv1", (101, 75))])
def test_odd_sides_stay_where_the_codec_takes_them(codec: Codec, size: tuple[int, int]) -> None:
    assert output_size((101, 75), None, None, None, codec) == size


@pytest.mark.parametrize(("codec", "source"), [("hevc", (48, 200)), ("hevc", (200, 60)), ("av1", (2, 2))])
def test_pictures_too_small_for_the_encoder_are_refused(codec: Codec, source: tuple[int, int]) -> None:
    with pytest.raises(InvalidRequest, match="use another codec") as refusal:
        output_size(source, None, None, None, codec)
    assert refusal.value.errors[0].code == "too_small"
