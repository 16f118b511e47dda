"""From a wish and facts to one window."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidRequest
from service.plan.formats import COLOUR_NAMES, canonical_colour, rgb
from service.plan.render_plan import FrameRef, RenderOptions
from service.plan.tone import COLORMAPS, PERCENTS, Levels, Tone, ToneSpec, resolve_tone
from tests.pipeline.rendering import options

RAMP = Levels("uint16", 16, 1, 64, 100, 60_100, 0, 0, tuple(100 + 600 * percent for percent in PERCENTS))


def pointer(wish: ToneSpec, levels: Levels | None = RAMP) -> str:
    with pytest.raises(InvalidRequest) as refusal:
        resolve_tone(wish, levels)
    return str(refusal.value.errors[0].pointer)


def test_modes() -> None:
    assert resolve_tone(ToneSpec("full"), RAMP) == Tone(0, 65535)
    assert resolve_tone(ToneSpec("minmax"), RAMP) == Tone(100, 60_100)
    assert resolve_tone(ToneSpec("fixed", 400, 500.5, 0.7, "viridis", True), RAMP) == Tone(
        400, 500.5, 0.7, "viridis", True
    )
    tone = resolve_tone(ToneSpec("percentile", 10, 90), RAMP)
    assert tone is not None
    assert 6100 - 188 <= tone.low <= 6100 and 54_100 <= tone.high <= 54_100 + 188, "moved outwards by under 1/256"


def test_equal_windows_are_equal_as_text_too() -> None:
    """Content keys are made of JSON: 1 and 1.0, or 0.0 and -0.0, must not differ."""
    asked = resolve_tone(ToneSpec("fixed", -0.0, 65535, 1), RAMP)
    full = resolve_tone(ToneSpec("full"), RAMP)
    assert asked and full and json.dumps(asked.to_json()) == json.dumps(full.to_json())


def test_without_a_wish_deep_frames_get_percentiles_and_others_nothing() -> None:
    assert (
        resolve_tone(None, RAMP)
        == resolve_tone(ToneSpec(), RAMP)
        == resolve_tone(ToneSpec("percentile", 0.35, 99.65), RAMP)
    )
    assert resolve_tone(None, replace(RAMP, dtype="uint8", bits=8)) is None
    assert resolve_tone(None, None) is None
    shallow = resolve_tone(ToneSpec("full"), replace(RAMP, dtype="uint8", bits=8))
    assert shallow == Tone(0, 255, shallow=True)


@pytest.mark.parametrize(
    ("dtype", "bits", "full"),
    [
        ("uint16", 12, (0, 4095)),
        ("int16", 16, (-32768, 32767)),
        ("float64", 64, (0, 1)),
        ("uint32", 32, (0, 2**32 - 1)),
    ],
)
def test_full_is_what_the_samples_can_hold(dtype: str, bits: int, full: tuple[float, float]) -> None:
    tone = resolve_tone(ToneSpec("full"), replace(RAMP, dtype=dtype, bits=bits))
    assert tone and (tone.low, tone.high) == full


@pytest.mark.parametrize(
    ("wish", "place"),
    [
        (ToneSpec("full", low=3), "#/tone/low"),
        (ToneSpec("minmax", high=3), "#/tone/high"),
        (ToneSpec("fixed", high=3), "#/tone/low"),
        (ToneSpec("fixed", low=3), "#/tone/high"),
        (ToneSpec("fixed", low=3, high=3), "#/tone/high"),
        (ToneSpec("percentile", low=99.9), "#/tone/high"),
        (ToneSpec("percentile", high=101), "#/tone/high"),
        (ToneSpec("percentile", low=-1), "#/tone/low"),
    ],
)
def test_impossible_wishes_are_refused_at_their_field(wish: ToneSpec, place: str) -> None:
    assert pointer(wish) == place


def test_what_cannot_be_toned() -> None:
    assert pointer(ToneSpec(), None) == "#/tone"
    assert pointer(ToneSpec(colormap="viridis"), replace(RAMP, channels=3)) == "#/tone/colormap"


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=9),
    st.sampled_from(["full", "minmax", "percentile"]),
    st.sampled_from(["uint8", "uint16", "int32", "float32"]),
)
def test_every_window_is_finite_and_ascending(values: list[float], mode: Any, dtype: str) -> None:
    values = sorted(values)
    table = tuple(values[round(percent / 100 * (len(values) - 1))] for percent in PERCENTS)
    bits = {"uint8": 8, "uint16": 16}.get(dtype, 32)
    tone = resolve_tone(ToneSpec(mode), Levels(dtype, bits, 1, 9, values[0], values[-1], 0, 0, table))
    assert tone is not None
    assert math.isfinite(tone.low) and math.isfinite(tone.high) and tone.low < tone.high
    if mode == "percentile" and values[0] < values[-1]:
        assert values[0] <= tone.low <= max(table[PERCENTS.index(0.35)], values[0])


def test_a_sequence_that_grows_a_little_keeps_its_window() -> None:
    grown = replace(RAMP, values=tuple(value + 0.2 for value in RAMP.values), high=RAMP.high + 300)
    assert resolve_tone(ToneSpec(), grown) == resolve_tone(ToneSpec(), RAMP)


def test_percentiles_between_the_kept_ones() -> None:
    assert RAMP.percentile(0) == 100 and RAMP.percentile(100) == 60_100
    assert RAMP.percentile(33.3) == pytest.approx(100 + 600 * 33.3)
    assert sorted(set(PERCENTS)) == list(PERCENTS) and {0.35, 99.65, 1, 99} <= set(PERCENTS)


def test_options_with_a_tone_survive_json() -> None:
    toned = options(tone=Tone(1, 2.5, 0.5, "magma", True), background="#102030")
    again = RenderOptions.from_json(json.loads(json.dumps(toned.to_json())))
    assert again == toned
    assert RenderOptions.from_json(options().to_json()) == options()


def test_a_page_is_part_of_the_frame_and_its_place_is_not() -> None:
    plain, page = FrameRef(0, "a", "e", 9), FrameRef(0, "a", "e", 9, page=3, page_offset=100)
    assert len({plain.digest(), page.digest(), replace(page, page=4).digest()}) == 3
    assert page.digest() == replace(page, page_offset=7).digest()


def test_colours() -> None:
    assert canonical_colour("White") == canonical_colour("#FFFFFF") == "#ffffff"
    assert rgb(canonical_colour("orange")) == (255, 165, 0)
    assert {canonical_colour(name) for name in COLOUR_NAMES} == set(COLOUR_NAMES.values())
    for wrong in ("", "whitish", "#fff", "#12345g", "rgb(1,2,3)"):
        with pytest.raises(ValueError, match="#rrggbb"):
            canonical_colour(wrong)
    assert len(set(COLORMAPS)) == len(COLORMAPS)
