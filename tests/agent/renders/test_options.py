"""What a question says about a video, against the members of the request that were written down first."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.agent.renders.options import find_options, find_rate
from service.plan.tone import COLORMAPS

MONDAY = datetime(2026, 11, 30, 20, 30, tzinfo=UTC)
MORNING = {"frames": {"from": "2026-11-29T08:00:00Z", "to": "2026-11-29T10:00:00Z"}}
BAR: dict[str, Any] = {"overlay": {"scale_bar": {}}}
SPEEDS = [
    ("in 30 seconds", {"duration_seconds": 30.0}),
    ("in 30 s", {"duration_seconds": 30.0}),
    ("lasting about 2.5 minutes", {"duration_seconds": 150.0}),
    ("in half a minute", {"duration_seconds": 30.0}),
    ("in one minute", {"duration_seconds": 60.0}),
    ("90 seconds long", {"duration_seconds": 90.0}),
    ("en 30 secondes", {"duration_seconds": 30.0}),
    ("30 Sekunden lang", {"duration_seconds": 30.0}),
    ("en 2 minutos", {"duration_seconds": 120.0}),
    ("twice as fast", {"timing": "captured", "speed": 2}),
    ("at half speed", {"timing": "captured", "speed": 0.5}),
    ("at double the speed", {"timing": "captured", "speed": 2}),
    ("10x", {"timing": "captured", "speed": 10.0}),
    ("at 100x real time", {"timing": "captured", "speed": 100.0}),
    ("three times faster than it happened", {"timing": "captured", "speed": 3}),
    ("in real time", {"timing": "captured", "speed": 1.0}),
    ("doppelt so schnell", {"timing": "captured", "speed": 2}),
    ("deux fois plus vite", {"timing": "captured", "speed": 2}),
    ("at 12.5 fps", {"fps": 12.5}),
    ("with every 4th frame", {"decimation_factor": 4}),
]
LOOKS = [
    ("half size", {"scale": 0.5}),
    ("at a quarter of the original size", {"scale": 0.25}),
    ("in halber Größe", {"scale": 0.5}),
    ("à la moitié de la taille", {"scale": 0.5}),
    ("a la mitad del tamaño", {"scale": 0.5}),
    ("scaled to 40 %", {"scale": 0.4}),
    ("at 640x480", {"width": 640, "height": 480}),
    ("640 × 480 pixels", {"width": 640, "height": 480}),  # noqa: RUF001
    ("1280 pixels wide", {"width": 1280}),
    ("at 720p", {"height": 720}),
    ("in 4K", {"width": 3840}),
    ("in viridis", {"tone": {"colormap": "viridis"}}),
    ("with the colour map magma", {"tone": {"colormap": "magma"}}),
    ("inverted", {"tone": {"inverse": True}}),
    ("with a scale bar", BAR),
    ("with a 100 µm scale bar", {"overlay": {"scale_bar": {"length": 100.0, "unit": "um"}}}),
    ("with a scale bar of 0.5 mm", {"overlay": {"scale_bar": {"length": 0.5, "unit": "mm"}}}),
    ("mit Maßstabsbalken", BAR),
    ("avec une barre d'échelle", BAR),
    ("con barra de escala", BAR),
    ("with time stamps", {"overlay": {"captured_at": True}}),
    ("with frame numbers", {"overlay": {"frame_index": True}}),
    ("and the elapsed time", {"overlay": {"elapsed": True}}),
    ("rotated by 90 degrees", {"rotate": 90}),
    ("rotate 90 counterclockwise", {"rotate": 270}),
    ("upside down", {"rotate": 180}),
    ("as av1", {"codec": "av1"}),
    ("in H.265", {"codec": "hevc"}),
    ("losslessly", {"codec": "ffv1"}),
]
PARTS = [
    ("the first 500 frames", {"frames": {"stop": 500}}),
    ("die ersten 500 Bilder", {"frames": {"stop": 500}}),
    ("les 500 premières images", {"frames": {"stop": 500}}),
    ("frames 100 to 200", {"frames": {"start": 100, "stop": 201}}),
    ("frames 1,000-2,000", {"frames": {"start": 1000, "stop": 2001}}),
    ("from frame 30 on", {"frames": {"start": 30}}),
    ("up to frame 30", {"frames": {"stop": 31}}),
    ("from 8 to 10 yesterday", MORNING),
    ("yesterday between 8:00 and 10:00", MORNING),
    ("von 8 bis 10 Uhr gestern", MORNING),
    ("de 8 a 10 ayer", MORNING),
    ("since yesterday", {"frames": {"from": "2026-11-29T00:00:00Z"}}),
    ("from Monday to Wednesday", {"frames": {"from": "2026-11-23T00:00:00Z", "to": "2026-11-26T00:00:00Z"}}),
    ("of 2026-11-02", {"frames": {"from": "2026-11-02T00:00:00Z", "to": "2026-11-03T00:00:00Z"}}),
]


@pytest.mark.parametrize(("words", "fields"), [*SPEEDS, *LOOKS, *PARTS])
def test_alone(words: str, fields: dict[str, Any]) -> None:
    found = find_options(f"make a video of fish, {words}", MONDAY)
    assert found.fields == fields and found.words
    assert found.rest.rstrip(" ,").removesuffix(" of") in ("make a video of fish", "make a video of fish,")


@given(st.sampled_from(PARTS), st.sampled_from(SPEEDS), st.sampled_from(LOOKS), st.permutations(range(3)))
def test_together_in_any_order(part: Any, speed: Any, look: Any, order: list[int]) -> None:
    chosen = [(part, speed, look)[number] for number in order]
    found = find_options("render fish " + ", ".join(words for words, _ in chosen), MONDAY)
    assert found.fields == {name: value for _, fields in chosen for name, value in fields.items()}


def test_what_is_drawn_and_toned_is_added_up() -> None:
    found = find_options("fish in viridis, inverted, with time stamps, frame numbers and a scale bar", MONDAY)
    assert found.fields["tone"] == {"colormap": "viridis", "inverse": True}
    assert found.fields["overlay"] == {"captured_at": True, "frame_index": True, "scale_bar": {}}


@pytest.mark.parametrize(
    "question",
    [
        "render plasma",
        "render run 7x9 of fish",
        "make a video of fish for the meeting on Thursday",
        "render weld line 2 with the extra camera",
        "make a video of fish for the talk next Monday",
        "video of half-life",
    ],
)
def test_what_is_no_option(question: str) -> None:
    assert find_options(question, MONDAY).fields == {}


@given(st.text(max_size=200))
def test_any_text_can_be_looked_through(text: str) -> None:
    for found in (find_options(text, MONDAY), find_rate(text)):
        assert len(found.rest) <= 40 * len(text) + 40 and isinstance(found.fields, dict)


@pytest.mark.parametrize("name", COLORMAPS)
def test_every_colormap_has_its_name(name: str) -> None:
    assert find_options(f"render fish in {name}", MONDAY).fields == {"tone": {"colormap": name}}
