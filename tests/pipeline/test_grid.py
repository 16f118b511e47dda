"""Grids: each panel shows what a render of its dataset alone would show there."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service.pipeline.frame_context import FrameWatch
from service.pipeline.frames import RenderFailed, SegmentResult
from service.pipeline.segment import render_segment
from service.plan.colour import JPEG_COLOUR, SDR_COLOUR
from service.plan.grid import Grid, Panel
from service.plan.overlay import Overlay
from service.plan.render_plan import FrameRef, RenderOptions, SegmentPlan
from service.plan.tone import Tone
from tests.pipeline.rendering import MemoryObjects, decode_pictures, options
from tests.support.data import media

WIDTH, HEIGHT = 64, 48
SIZE = {"width": WIDTH, "height": HEIGHT}


def grid_options(panels: int, columns: int = 2, **changes: Any) -> RenderOptions:
    rows = -(-panels // columns)
    grid = Grid(columns, WIDTH, HEIGHT, (Panel("frames"),) * panels)
    size = {"width": columns * WIDTH, "height": rows * HEIGHT}
    return options(**({"codec": "ffv1", "form": "bgr0", "container": "mkv", "grid": grid} | size | changes))


def refs_of(frames: list[list[str | None]]) -> tuple[FrameRef, ...]:
    """The frames of each output frame; None: the panel has none there."""
    return tuple(
        FrameRef(index, key, panel=panel or None) for index, keys in enumerate(frames) for panel, key in enumerate(keys)
    )


def render(
    objects: dict[str, bytes], frames: list[list[str | None]], settings: RenderOptions, lead: int = 0
) -> SegmentResult:
    refs, store = refs_of(frames), MemoryObjects(objects)
    place = lead * settings.sources_per_output
    return render_segment(SegmentPlan(0, 0, "b", settings, refs[place:], refs[:place]), store, store, FrameWatch())


def alone(objects: dict[str, bytes], key: str, **changes: Any) -> media.Pixels:
    """The picture of a render that shows only this frame, at the size of a panel."""
    settings = options(**({"codec": "ffv1", "form": "bgr0", "container": "mkv"} | SIZE | changes))
    store = MemoryObjects(objects)
    plan = SegmentPlan(0, 0, "b", settings, (FrameRef(0, key),))
    return decode_pictures(render_segment(plan, store, store, FrameWatch()).data)[0]


def panel_of(picture: media.Pixels, number: int, columns: int = 2) -> media.Pixels:
    top, left = number // columns * HEIGHT, number % columns * WIDTH
    return picture[top : top + HEIGHT, left : left + WIDTH]


@pytest.fixture
def objects() -> dict[str, bytes]:
    """Frames 0 to 3 of three cameras, of different sizes and formats."""
    sizes = {"a": (128, 96), "b": (200, 80), "c": (90, 120)}
    made = {
        f"{camera}{n}": media.jpeg(media.numbered_picture(n + 10 * place, *size))
        for place, (camera, size) in enumerate(sizes.items())
        for n in range(4)
    }
    return made | {"broken": b"no picture"}


def test_each_panel_shows_what_its_frame_alone_would_show(objects: dict[str, bytes]) -> None:
    frames: list[list[str | None]] = [[f"a{n}", f"b{n}", f"c{n}"] for n in range(4)]
    result = render(objects, frames, grid_options(3))
    pictures = decode_pictures(result.data)
    assert [picture.shape for picture in pictures] == [(2 * HEIGHT, 2 * WIDTH, 3)] * 4
    for n, picture in enumerate(pictures):
        for place, camera in enumerate("abc"):
            assert np.array_equal(panel_of(picture, place), alone(objects, f"{camera}{n}"))
        assert not panel_of(picture, 3).any(), "there is no fourth panel"
    assert [report.source for report in result.reports] == [0, 1, 2, 3]
    members = result.reports[2].members
    assert members is not None and [(each.source, each.key) for each in members] == [(2, "a2"), (2, "b2"), (2, "c2")]


@pytest.mark.parametrize(("codec", "form", "container"), [("mjpeg", "yuvj420p", "avi"), ("h264", "yuv420p", "mp4")])
def test_lossy_grids(objects: dict[str, bytes], codec: str, form: str, container: str) -> None:
    """JPEGs that have the size of a panel are not copied: the picture is one JPEG."""
    fitting = {f"{n}": media.jpeg(media.numbered_picture(n, WIDTH, HEIGHT)) for n in range(2)}
    settings = grid_options(2, codec=codec, form=form, container=container)
    (picture,) = decode_pictures(render(fitting, [["0", "1"]], settings).data)
    assert [media.read_number(panel_of(picture, place)) for place in (0, 1)] == [0, 1]


def test_panels_have_tones_of_their_own() -> None:
    deep = {
        name: media.tiff(np.full((HEIGHT, WIDTH), level, np.uint16))
        for name, level in (("dim", 150), ("bright", 45_000))
    }
    tones = (Tone(100, 200), Tone(30_000, 60_000))
    grid = Grid(2, WIDTH, HEIGHT, tuple(Panel("frames", tone) for tone in tones))
    settings = grid_options(2, grid=grid, height=HEIGHT, form="gray", tone=tones[0])
    (picture,) = decode_pictures(render(deep, [["dim", "bright"]], settings).data)
    for place, (name, tone) in enumerate(zip(("dim", "bright"), tones, strict=True)):
        assert np.array_equal(panel_of(picture, place), alone(deep, name, tone=tone, form="gray"))
        assert 120 <= int(panel_of(picture, place)[0, 0, 0]) <= 135, "the middle of its window"


def test_an_empty_panel_is_black_or_holds_its_own_last_frame(objects: dict[str, bytes]) -> None:
    frames: list[list[str | None]] = [["a0", "b0"], ["a1", "broken"], ["a2", None]]
    for missing, expected in (("hold", "b0"), ("black", None), ("skip", None)):
        result = render(objects, frames, grid_options(2, height=HEIGHT, corrupt="hold", missing=missing))
        pictures = decode_pictures(result.data)
        assert [report.outcome for report in result.reports] == ["ok", "partial", "partial"]
        assert np.array_equal(panel_of(pictures[1], 1), alone(objects, "b0"))
        third = panel_of(pictures[2], 1)
        assert np.array_equal(third, alone(objects, expected)) if expected else not third.any()
        assert np.array_equal(panel_of(pictures[2], 0), alone(objects, "a2"))
        assert result.reports[1].reason is not None
        assert result.reports[1].reason.startswith("1 of 2 panels without their frame; panel 1, frame 1: ")


def test_the_policy_of_the_first_panel_is_that_of_the_picture(objects: dict[str, bytes]) -> None:
    frames: list[list[str | None]] = [["a0", "b0"], [None, "b1"], ["a2", "b2"]]
    skipped = render(objects, frames, grid_options(2, height=HEIGHT, missing="skip"))
    assert [report.outcome for report in skipped.reports] == ["ok", "skipped", "ok"]
    assert len(decode_pictures(skipped.data)) == 2
    held = render(objects, frames, grid_options(2, height=HEIGHT, missing="hold"))
    second = decode_pictures(held.data)[1]
    assert np.array_equal(panel_of(second, 0), alone(objects, "a0"))
    assert np.array_equal(panel_of(second, 1), alone(objects, "b1"))
    with pytest.raises(RenderFailed) as failed:
        render(objects, [["a0", "b0"], ["a1", None]], grid_options(2, height=HEIGHT, missing="fail"))
    assert failed.value.frame_index == 1


def test_a_panel_holds_what_it_showed_before_the_segment(objects: dict[str, bytes]) -> None:
    """The nearest frame of its own dataset, however the other panels are."""
    frames: list[list[str | None]] = [["a0", "b0"], ["a1", "b1"], ["broken", "broken"], ["a3", "broken"]]
    settings = grid_options(2, height=HEIGHT, corrupt="hold")
    first, second = decode_pictures(render(objects, frames, settings, lead=2).data)
    assert np.array_equal(first, np.hstack([alone(objects, "a1"), alone(objects, "b1")]))
    assert np.array_equal(second, np.hstack([alone(objects, "a3"), alone(objects, "b1")]))
    nothing_before = render(objects, frames[2:], settings)
    assert [report.outcome for report in nothing_before.reports] == ["partial", "partial"]
    assert not panel_of(decode_pictures(nothing_before.data)[1], 1).any()


def test_a_held_panel_is_labelled_once(objects: dict[str, bytes]) -> None:
    """The label is taken off again, or it would be drawn twice, and darken."""
    label = Overlay(False, False, False, "camera", None, "top_left", 12)
    grid = Grid(2, WIDTH, HEIGHT, (Panel("frames"), Panel("frames", label=label)))
    settings = grid_options(2, grid=grid, height=HEIGHT, form="gray", corrupt="hold")
    frames: list[list[str | None]] = [["a0", "b0"], ["a1", "broken"], ["a2", "broken"]]
    first, second, third = (panel_of(each, 1) for each in decode_pictures(render(objects, frames, settings).data))
    assert np.array_equal(first, second) and np.array_equal(first, third)
    assert not np.array_equal(first, alone(objects, "b0", form="gray"))


def test_panels_of_source_videos_beside_image_frames() -> None:
    video = media.video([media.numbered_picture(n) for n in range(4)])
    objects = {"a": media.jpeg(media.numbered_picture(9)), "v": video}
    grid = Grid(2, WIDTH, HEIGHT, (Panel("frames"), Panel("video")))
    settings = grid_options(2, grid=grid, height=HEIGHT, codec="h264", form="yuv420p", colour=JPEG_COLOUR)
    refs = (FrameRef(0, "a"), FrameRef(3, "v", pts=3 * 512, panel=1))
    store = MemoryObjects(objects)
    result = render_segment(SegmentPlan(0, 0, "b", settings, refs), store, store, FrameWatch())
    (picture,) = decode_pictures(result.data)
    assert [media.read_number(panel_of(picture, place)) for place in (0, 1)] == [9, 3]
    assert result.reports[0].outcome == "ok", result.reports


def test_a_slow_camera_is_read_and_decoded_once(objects: dict[str, bytes]) -> None:
    refs = tuple(ref for n in range(4) for ref in (FrameRef(n, f"a{n}"), FrameRef(n // 2, f"b{n // 2}", panel=1)))
    store, plan = MemoryObjects(objects), SegmentPlan(0, 0, "b", grid_options(2, height=HEIGHT), refs)
    render_segment(plan, store, store, FrameWatch())
    assert store.read_keys == ["a0", "b0", "a1", "a2", "b1", "a3"] == [ref.key for ref in plan.frames_to_read()]


def test_each_panel_follows_its_own_policy(objects: dict[str, bytes]) -> None:
    """Also where none of them can be shown: one panel holds what it had, the other is black."""
    frames: list[list[str | None]] = [["a0", "b0"], [None, "broken"], ["broken", None]]
    settings = grid_options(2, height=HEIGHT, missing="black", corrupt="hold")
    _, second, third = decode_pictures(render(objects, frames, settings).data)
    assert not panel_of(second, 0).any() and np.array_equal(panel_of(second, 1), alone(objects, "b0"))
    assert np.array_equal(panel_of(third, 0), alone(objects, "a0")) and not panel_of(third, 1).any()


def test_lossless_panels_of_interlaced_videos_are_deinterlaced() -> None:
    """A picture of several sources has no fields."""
    video = media.video([media.numbered_picture(n, WIDTH, HEIGHT) for n in range(4)])
    grid = Grid(1, WIDTH, HEIGHT, (Panel("video"), Panel("video")))
    settings = grid_options(2, columns=1, grid=grid, form="yuv420p", colour=SDR_COLOUR, deinterlace="on")
    settings = replace(settings, width=WIDTH)
    store = MemoryObjects({"v": video})
    refs = (FrameRef(1, "v", pts=512), FrameRef(2, "v", pts=1024, panel=1))
    (report,) = render_segment(SegmentPlan(0, 0, "b", settings, refs), store, store, FrameWatch()).reports
    assert report.outcome == "ok" and not any("fields kept" in each for each in report.conversions), report.conversions


def test_a_barred_frame_is_one_of_its_panel(objects: dict[str, bytes]) -> None:
    """Frame 0 of panel 1, not that of panel 0."""
    begun: list[str] = []
    watch = FrameWatch(begin=begun.append, barred={"0/1": "it ended two slots"})
    store, settings = MemoryObjects(objects), grid_options(2, height=HEIGHT)
    result = render_segment(SegmentPlan(0, 0, "b", settings, refs_of([["a0", "b0"]])), store, store, watch)
    assert (begun, store.read_keys) == (["0"], ["a0"])
    members = result.reports[0].members
    assert members is not None and [each.outcome for each in members] == ["ok", "corrupt"]


def test_a_grid_survives_json() -> None:
    label = Overlay(False, False, False, "camera", None, "top_left", 12)
    grid = Grid(2, WIDTH, HEIGHT, (Panel("frames", Tone(1, 2), label), Panel("video")), "captured", 1_500_000)
    settings = grid_options(2, grid=grid)
    assert RenderOptions.from_json(settings.to_json()) == settings
    assert "grid" not in replace(settings, grid=None).to_json(), "keys of other renders stay as they were"
    ref = FrameRef(3, "key", "etag", 7, panel=1)
    assert (FrameRef(*ref.pack()), ref.item) == (ref, "3/1")
