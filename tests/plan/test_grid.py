"""Grids are planned from several datasets: sizes, tones, colours, labels, and what cannot be brought together."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import Conflict, InvalidRequest
from service.plan.colour import JPEG_COLOUR, SDR_COLOUR, SMPTE2084, Colour
from service.plan.facts import DatasetFacts, RenderFacts
from service.plan.grid import Grid, GridSpec, Panel
from service.plan.overlay import OverlaySpec, ScaleBarSpec
from service.plan.render_plan import RenderOptions
from service.plan.requests.planning import RenderPlan, plan
from service.plan.requests.request import RenderRequest
from service.plan.tone import Tone, ToneSpec
from tests.plan.test_request import CARD, DEEP, EXPERIMENT, FRAMES, LIMITS

SECOND = replace(FRAMES, id=UUID(int=3), name="Süd-Kamera", digest="e", width=640, height=480, frame_count=500)
THIRD = replace(FRAMES, id=UUID(int=4), name="third", digest="f")
VIDEO = replace(FRAMES, id=UUID(int=5), name="clip", kind="video", captured=None, formats=("h264",))
HDR = Colour(9, 9, SMPTE2084)
DEEP_FRAMES = replace(FRAMES, levels=DEEP, pixel_formats={"gray16le": 900})
DEEP_OTHER = replace(DEEP_FRAMES, id=UUID(int=8), name="other")


def facts(*datasets: DatasetFacts, **others: Any) -> RenderFacts:
    return RenderFacts(limits=LIMITS, datasets=datasets, **others)


def request(*datasets: DatasetFacts, **grid: Any) -> RenderRequest:
    return RenderRequest(EXPERIMENT, 1, fps=30, grid=GridSpec(tuple(each.id for each in datasets), **grid))


def plan_of(*datasets: DatasetFacts, changes: dict[str, Any] | None = None, **grid: Any) -> RenderPlan:
    return plan(replace(request(*datasets, **grid), **(changes or {})), facts(*datasets))


def grid_in(planned: RenderPlan) -> Grid:
    assert planned.options.grid is not None
    return planned.options.grid


def test_a_grid_has_panels_of_the_first_dataset_s_size() -> None:
    found = plan_of(FRAMES, SECOND, THIRD)
    assert found.options.grid == Grid(2, 1920, 1080, (Panel("frames"),) * 3)
    assert (found.options.width, found.options.height) == (3840, 2160)
    assert (found.dataset, [each.facts for each in found.beside]) == (FRAMES, [SECOND, THIRD])
    assert (found.selection.output_count(), found.options.sources_per_output) == (900, 3)
    assert found.stages["decode"]["reason"] == "grids are put together on the CPU"
    assert RenderOptions.from_json(found.options.to_json()) == found.options


@given(
    st.integers(2, 16),
    st.none() | st.integers(1, 16),
    st.none() | st.integers(64, 16384),
    st.none() | st.integers(64, 16384),
    st.none() | st.floats(0.05, 8),
    st.sampled_from(("h264", "mjpeg", "ffv1", "hevc")),
)
def test_every_grid_has_even_panels_that_fill_it_or_is_refused(
    count: int, columns: int | None, width: int | None, height: int | None, scale: float | None, codec: Any
) -> None:
    datasets = [replace(FRAMES, id=UUID(int=10 + n)) for n in range(count)]
    changes = {"width": width, "height": height, "scale": scale, "codec": codec}
    try:
        found = plan_of(*datasets, changes=changes, columns=columns)
    except InvalidRequest as refused:
        assert {error.pointer for error in refused.errors} <= {"#/scale", "#/width", "#/codec"}
        return
    grid, options = grid_in(found), found.options
    rows = -(-count // grid.columns)
    assert (options.width, options.height) == (grid.columns * grid.width, rows * grid.height)
    assert grid.width % 2 == grid.height % 2 == 0
    places = {grid.place(panel) for panel in range(count)}
    assert len(places) == count and all(x < options.width and y < options.height for x, y in places)
    if width:
        assert abs(options.width - width) <= grid.columns or options.width == 2 * grid.columns


def test_each_panel_has_the_tone_of_its_dataset() -> None:
    deep = replace(FRAMES, levels=DEEP, pixel_formats={"gray16le": 900})
    brighter = replace(deep, id=UUID(int=6), levels=replace(DEEP, low=20_000, high=60_000))
    found = plan_of(deep, brighter, VIDEO, changes={"tone": ToneSpec("minmax")})
    tones = [panel.tone for panel in grid_in(found).panels]
    assert tones == [found.options.tone, Tone(20_000, 60_000), None]
    assert found.options.tone == Tone(DEEP.low, DEEP.high)


def test_all_panels_have_the_same_colours() -> None:
    assert plan_of(FRAMES, SECOND).options.colour is None
    assert plan_of(FRAMES, VIDEO).options.colour == JPEG_COLOUR
    other = replace(VIDEO, id=UUID(int=7))
    assert plan_of(VIDEO, other).options.colour == SDR_COLOUR, "the scans did not note them"
    known = plan(request(VIDEO, other), facts(VIDEO, other, colours=(HDR, SDR_COLOUR)))
    assert known.options.colour == SDR_COLOUR
    with pytest.raises(InvalidRequest) as refused:
        plan(replace(request(FRAMES, VIDEO), hdr="keep"), facts(FRAMES, VIDEO, colours=(HDR,)))
    assert refused.value.errors[0].pointer == "#/hdr"


def test_labels_are_the_names_as_far_as_they_can_be_drawn() -> None:
    unreadable = replace(THIRD, name="\u5317\u4eac")
    panels = grid_in(plan_of(FRAMES, SECOND, unreadable, labels=True)).panels
    assert [panel.label and panel.label.text for panel in panels] == ["plate", "Sud-Kamera", None]


def test_the_key_changes_with_each_dataset_and_with_what_brings_frames_together() -> None:
    keys = {
        plan_of(FRAMES, SECOND).key,
        plan_of(SECOND, FRAMES).key,
        plan_of(FRAMES, replace(SECOND, digest="x")).key,
        plan_of(FRAMES, SECOND, align="captured").key,
        plan_of(FRAMES, SECOND, align="captured", within_seconds=1).key,
        plan_of(FRAMES, SECOND, columns=1).key,
        plan_of(FRAMES, SECOND, labels=True).key,
        plan(RenderRequest(EXPERIMENT, 1, fps=30), facts(FRAMES)).key,
    }
    assert len(keys) == 8
    assert plan_of(FRAMES, SECOND, within_seconds=1).key == plan_of(FRAMES, SECOND).key, "it is for capture times"


def test_the_key_tells_apart_what_the_gaps_of_another_panel_are() -> None:
    """They move its frames, also where the first dataset has none."""
    gapped = replace(SECOND, number_first=0, number_stride=1, first_gap=7, gap_frames=3)
    keys = {plan_of(FRAMES, gapped, changes={"missing": "black", "gaps": gaps}).key for gaps in ("numbers", "none")}
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("datasets", "changes", "grid", "pointer"),
    [
        ((replace(FRAMES, width=None), SECOND), {}, {}, "#/grid/dataset_ids/0"),
        ((FRAMES, replace(SECOND, height=None, frame_count=0)), {}, {}, "#/grid/dataset_ids/1"),
        ((replace(FRAMES, frame_count=0), SECOND), {}, {}, "#/grid/dataset_ids/0"),
        ((FRAMES, replace(SECOND, gap_frames=1, number_stride=1)), {"missing": "fail"}, {}, "#/grid/dataset_ids/1"),
        ((DEEP_FRAMES, DEEP_OTHER), {"codec": "ffv1"}, {"labels": True}, "#/grid/labels"),
        ((FRAMES, replace(SECOND, state="failed", error="no")), {}, {}, "#/grid/dataset_ids/1"),
        ((replace(FRAMES, state="empty"), SECOND), {}, {}, "#/grid/dataset_ids/0"),
        ((FRAMES, replace(SECOND, bucket="other")), {}, {}, "#/grid/dataset_ids/1"),
        ((FRAMES, replace(SECOND, captured=None)), {}, {"align": "captured"}, "#/grid/dataset_ids/1"),
        ((FRAMES, VIDEO), {}, {"align": "captured"}, "#/grid/dataset_ids/1"),
        ((FRAMES, SECOND), {"decimation_factor": 2, "decimation_mode": "max"}, {}, "#/decimation_mode"),
        ((FRAMES, SECOND), {"overlay": OverlaySpec(scale_bar=ScaleBarSpec(1))}, {}, "#/overlay/scale_bar"),
        ((FRAMES, SECOND), {"dataset_id": SECOND.id}, {}, "#/dataset_id"),
        ((FRAMES, SECOND), {"device": "cuda"}, {}, "#/device"),
    ],
)
def test_what_cannot_be_a_grid(
    datasets: tuple[DatasetFacts, ...], changes: dict[str, Any], grid: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        plan(replace(request(*datasets, **grid), **changes), facts(*datasets, pixel_size_um=1, cluster=CARD))
    assert refused.value.errors[0].pointer == pointer


def test_gaps_of_another_panel_do_not_count_by_capture_time() -> None:
    gapped = replace(SECOND, gap_frames=1, number_stride=1)
    assert plan_of(FRAMES, gapped, changes={"missing": "fail"}, align="captured").options.grid


def test_all_panels_count_as_frames_of_the_render() -> None:
    few = LIMITS.model_copy(update={"max_frames": 1500})
    with pytest.raises(InvalidRequest) as refused:
        plan(request(FRAMES, SECOND), replace(facts(FRAMES, SECOND), limits=few))
    assert "1800 frames are more than the 1500" in refused.value.detail
    with pytest.raises(Conflict):
        plan_of(FRAMES, replace(SECOND, state="scanning"))
