"""Which container holds which codec, and the pixel format that follows from what the frames are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidRequest
from service.plan.formats import (
    CONTAINERS,
    MEDIA_TYPES,
    PIXEL_FORMATS,
    Codec,
    Container,
    choose_container,
    choose_pixel_format,
    formats_after_tone,
)
from service.plan.tone import Tone

kinds = st.dictionaries(st.sampled_from(sorted(PIXEL_FORMATS)), st.integers(1, 1000), min_size=1)


@given(st.sampled_from(["h264", "hevc", "av1"]), kinds)
def test_the_codecs_of_players_get_what_players_show(codec: str, found: dict[str, int]) -> None:
    assert choose_pixel_format(codec, found) == "yuv420p"  # type: ignore[arg-type]


@given(st.sampled_from(sorted(PIXEL_FORMATS)), st.integers(1, 9))
def test_one_kind_is_kept_as_it_is(kind: str, count: int) -> None:
    assert choose_pixel_format("ffv1", {kind: count}) == kind


@pytest.mark.parametrize(
    ("found", "form"),
    [
        ({"gray", "gray16le"}, "gray16le"),
        ({"gray", "bgr0"}, "bgr0"),
        ({"gray16le", "bgr0"}, "gbrp16le"),
        ({"gray", "yuvj420p"}, "yuvj420p"),
        ({"yuvj420p", "yuvj422p"}, "yuvj422p"),
        ({"yuvj420p", "yuvj444p", "gray"}, "yuvj444p"),
        ({"yuvj420p", "bgr0"}, "bgr0"),
        ({"yuvj420p", "gray16le"}, "gbrp16le"),
        ({"yuv420p", "yuv422p10le"}, "yuv422p10le"),
        ({"yuv444p", "yuv420p10le"}, "yuv444p10le"),
        ({"yuv420p", "yuvj420p"}, "bgr0"),
    ],
)
def test_the_smallest_form_that_holds_all(found: set[str], form: str) -> None:
    assert choose_pixel_format("ffv1", dict.fromkeys(found, 1)) == form


@given(kinds)
def test_every_mixture_has_a_form_that_does_not_depend_on_counts(found: dict[str, int]) -> None:
    form = choose_pixel_format("ffv1", found)
    assert form in PIXEL_FORMATS
    assert form == choose_pixel_format("ffv1", dict.fromkeys(found, 7))


def test_what_cannot_be_kept_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="ffv1 cannot keep yuv444p12le"):
        choose_pixel_format("ffv1", {"yuv444p12le": 3})
    with pytest.raises(InvalidRequest, match="scan the dataset again"):
        choose_pixel_format("ffv1", {})


@pytest.mark.parametrize(
    ("found", "form"),
    [
        ({}, "yuvj420p"),
        ({"gray": 4}, "gray"),
        ({"gray": 4, "gray16le": 4}, "gray"),
        ({"gray": 400, "yuvj422p": 1}, "yuvj422p"),
        ({"yuvj420p": 5, "yuvj444p": 6, "bgr0": 90}, "yuvj444p"),
        ({"bgr0": 4}, "yuvj420p"),
    ],
)
def test_mjpeg_is_what_most_jpegs_are(found: dict[str, int], form: str) -> None:
    assert choose_pixel_format("mjpeg", found) == form


def test_a_tone_makes_deep_frames_shallow() -> None:
    gray, heat = Tone(0, 4095), Tone(0, 4095, colormap="inferno")
    assert choose_pixel_format("ffv1", formats_after_tone("ffv1", {"gray16le": 3}, gray)) == "yuv420p"
    assert choose_pixel_format("ffv1", formats_after_tone("ffv1", {"gbrp16le": 3}, gray)) == "bgr0"
    assert choose_pixel_format("mjpeg", formats_after_tone("mjpeg", {"gray16le": 3}, gray)) == "gray"
    assert choose_pixel_format("mjpeg", formats_after_tone("mjpeg", {"gray16le": 3}, heat)) == "yuvj420p"
    assert choose_pixel_format("ffv1", formats_after_tone("ffv1", {"gray": 3}, gray)) == "gray"
    assert choose_pixel_format("ffv1", formats_after_tone("ffv1", {"32-bit samples": 3}, gray)) == "yuv420p"


@pytest.mark.parametrize("codec", CONTAINERS)
def test_the_first_is_the_default(codec: Codec) -> None:
    assert choose_container(codec, None) == CONTAINERS[codec][0]


@pytest.mark.parametrize("container", MEDIA_TYPES)
@pytest.mark.parametrize("codec", CONTAINERS)
def test_a_pair_is_taken_or_refused_with_what_would_do(codec: Codec, container: Container) -> None:
    if container in CONTAINERS[codec]:
        assert choose_container(codec, container) == container
        return
    with pytest.raises(InvalidRequest, match=f"{container} cannot hold {codec}: use {CONTAINERS[codec][0]}") as refusal:
        choose_container(codec, container)
    assert refusal.value.errors[0].pointer == "#/container"
