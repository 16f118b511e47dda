"""Mean and max bins, compared with NumPy on the frames' planes; also with members that cannot be used."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.pipeline.colour import IMAGE_COLOUR
from service.pipeline.composites.bins import member_options
from service.pipeline.frame_context import FrameWatch
from service.pipeline.frames import RenderFailed, SegmentResult
from service.pipeline.images.decoder import ImageDecoder
from service.pipeline.images.header import DecodeOptions
from service.pipeline.planes import plane_view
from service.pipeline.segment import render_segment
from service.pipeline.transform.accumulators import BinAccumulator, MaxAccumulator, MeanAccumulator
from service.pipeline.transform.frame_transform import FrameTransform
from service.plan.geometry import Bins, bins_of
from service.plan.render_plan import FrameRef, RenderOptions, SegmentPlan
from tests.pipeline.rendering import MemoryObjects, decode_pictures, options, render
from tests.pipeline.videos.test_source import SOURCES
from tests.support.data import media

MEAN4 = Bins("mean", 4, 128, 96)
MAX4 = Bins("max", 4, 128, 96)


def transform_pixels(pixels: media.Pixels) -> Any:
    frame, _ = FrameTransform(options(), IMAGE_COLOUR).apply(
        ImageDecoder(DecodeOptions(10**8)).decode(media.png(pixels))
    )
    return frame


def accumulate(accumulator: BinAccumulator, frames: list[Any]) -> list[media.Pixels]:
    for frame in frames:
        accumulator.add(frame)
    assert accumulator.count == len(frames)
    reduced = accumulator.finish()
    assert accumulator.count == 0
    return [plane_view(plane).copy() for plane in reduced.planes]


def noise_frame(seed: int) -> Any:
    return transform_pixels(np.random.default_rng(seed).integers(0, 256, (96, 128, 3), np.uint8))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=9))
def test_the_mean_is_that_of_every_sample_to_the_nearest(seeds: list[int]) -> None:
    frames = [noise_frame(seed) for seed in seeds]
    for number, plane in enumerate(accumulate(MeanAccumulator(9), frames)):
        stack = np.stack([plane_view(frame.planes[number]) for frame in frames]).astype(int)
        assert np.array_equal(plane, np.floor(stack.mean(axis=0) + 0.5))


@pytest.mark.parametrize("count", [256, 257, 600])
def test_many_bright_frames_do_not_overflow(count: int) -> None:
    white = transform_pixels(media.flat_picture((255, 255, 255), 128, 96))
    for plane in white.planes:
        plane_view(plane)[:] = 255
    assert {
        int(level)
        for plane in accumulate(MeanAccumulator(count), [white] * count)
        for level in (plane.min(), plane.max())
    } == {255}


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=6))
def test_the_brightest_wins_with_its_own_colour(seeds: list[int]) -> None:
    frames = [noise_frame(seed) for seed in seeds]
    luma, *chroma = accumulate(MaxAccumulator(), frames)
    lumas = np.stack([plane_view(frame.planes[0]) for frame in frames])
    assert np.array_equal(luma, lumas.max(axis=0))
    winner = lumas.astype(int).reshape(len(seeds), 48, 2, 64, 2).sum(axis=(2, 4)).argmax(axis=0)
    for number, plane in enumerate(chroma, 1):
        stack = np.stack([plane_view(frame.planes[number]) for frame in frames])
        assert np.array_equal(plane, np.take_along_axis(stack, winner[None], 0)[0])


def test_layers_begin_anew_after_each_picture() -> None:
    first, second = noise_frame(1), noise_frame(2)
    for layers in (MeanAccumulator(2), MaxAccumulator()):
        accumulate(layers, [first, first])
        again = accumulate(layers, [second])
        assert all(np.array_equal(a, plane_view(b)) for a, b in zip(again, second.planes, strict=True))


def mean_levels(result: SegmentResult) -> list[int]:
    return [round(float(picture.mean())) for picture in decode_pictures(result.data)]


def gray_jpegs(*values: int) -> list[bytes | None]:
    return [media.jpeg(media.flat_picture((value,) * 3, 128, 96)) for value in values]


@pytest.mark.parametrize(("bins", "expected"), [(MEAN4, [75, 120, 205]), (MAX4, [120, 150, 210])])
def test_neighbours_become_one_picture_and_the_last_bin_is_shorter(codec: str, bins: Bins, expected: list[int]) -> None:
    result = render(gray_jpegs(30, 60, 90, 120, 90, 110, 130, 150, 200, 210), bins=bins, codec=codec)
    assert result.frames == 3
    assert mean_levels(result) == pytest.approx(expected, abs=2)
    assert [report.outcome for report in result.reports] == ["ok"] * 3
    assert [[member.source for member in report.members or ()] for report in result.reports] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
    ]
    assert all(len(member.sha256 or "") == 64 for report in result.reports for member in report.members or ())


def test_a_point_of_light_survives_max_at_half_size_as_bright_as_without_scaling() -> None:
    frames: list[bytes | None] = []
    for step in range(4):
        pixels = media.flat_picture((20, 20, 20), 128, 96)
        pixels[40:44, 20 + 2 * step : 22 + 2 * step] = 220
        frames.append(media.jpeg(pixels, subsampling="4:4:4"))
    result = render(frames, bins=MAX4, width=64, height=48)
    streak = decode_pictures(result.data)[0][20:22, 10:14, 1]
    assert streak.min() > 170, "a trail of four points side by side"


def test_members_that_cannot_be_used_are_left_out_and_named() -> None:
    good = gray_jpegs(100, 100, 100, 200)
    frames = [None, media.truncate(good[1] or b""), good[2], good[3]]
    result = render(frames, bins=MEAN4)
    report = result.reports[0]
    assert mean_levels(result) == pytest.approx([150], abs=2)
    assert (report.outcome, report.key, report.sha256) == ("partial", None, None)
    assert (report.reason or "").startswith("2 of 4 frames left out; frame 0: ")
    assert [member.outcome for member in report.members or ()] == ["missing", "corrupt", "ok", "ok"]
    assert "cut short" in ((report.members or ())[1].reason or "")


@pytest.mark.parametrize(
    ("bad", "policy", "outcome"),
    [
        ("missing", {"missing": "black", "corrupt": "fail"}, "black"),
        ("missing", {"missing": "skip", "corrupt": "fail"}, "skipped"),
        ("corrupt", {"missing": "fail", "corrupt": "black"}, "black"),
        ("mixed", {"missing": "skip", "corrupt": "black"}, "black"),
        ("mixed", {"missing": "skip", "corrupt": "hold"}, "held"),
    ],
)
def test_a_bin_without_a_good_member_follows_the_policy(bad: str, policy: dict[str, str], outcome: str) -> None:
    broken = {"missing": [None] * 4, "corrupt": [b"no"] * 4, "mixed": [None, b"no", None, None]}[bad]
    result = render([*gray_jpegs(100, 100, 100, 140), *broken], bins=MEAN4, **policy)
    assert [report.outcome for report in result.reports] == ["ok", outcome]
    if outcome == "held":
        assert result.reports[1].substituted_from == 0
        assert mean_levels(result) == pytest.approx([110, 110], abs=2)


def test_fail_fails_for_a_single_member() -> None:
    with pytest.raises(RenderFailed) as caught:
        render([*gray_jpegs(1, 2, 3), b"no"], bins=MEAN4, corrupt="fail")
    assert caught.value.frame_index == 3


def test_a_hold_at_the_start_of_a_segment_shows_the_bin_before_it() -> None:
    frames = [*gray_jpegs(100, 100, 100, 140), b"no", b"no", b"no", b"no"]
    result = render(frames, lead=4, bins=MEAN4, corrupt="hold")
    assert (result.reports[0].outcome, result.reports[0].substituted_from) == ("held", 0)
    assert mean_levels(result) == pytest.approx([110], abs=2)


def test_members_of_other_sizes_are_shaped_first() -> None:
    small = media.jpeg(media.flat_picture((200, 200, 200), 64, 48))
    wide = media.jpeg(media.flat_picture((200, 200, 200), 200, 48))
    result = render([*gray_jpegs(100, 100), small, wide], bins=MEAN4, mismatch="pad")
    assert result.reports[0].outcome == "resized"
    assert [member.outcome for member in result.reports[0].members or ()] == ["ok", "ok", "ok", "resized"]
    with pytest.raises(RenderFailed):
        render([*gray_jpegs(100, 100), small, wide], bins=MEAN4, mismatch="fail")


def test_pictures_of_a_video_are_averaged() -> None:
    import io

    from service.pipeline.probe import probe_video

    source = SOURCES["libx264"]
    facts = probe_video(io.BytesIO(source))
    refs = tuple(FrameRef(index, "v.mp4", pts=pts) for index, pts in enumerate(facts.pts))
    store = MemoryObjects({"v.mp4": source})
    plan = SegmentPlan(0, 0, "b", options(source_kind="video", bins=MEAN4), refs)
    progress: list[int] = []
    result = render_segment(plan, store, store, FrameWatch(progress.append))
    assert (result.frames, progress[-1], len(progress)) == (15, 15, 75)
    first = decode_pictures(result.data)[0][48, :, 0].astype(int)
    mean = np.mean([media.numbered_picture(number)[48, :, 0] for number in range(4)], axis=0)
    middles = np.arange(8, 128, 16)
    assert first[middles] == pytest.approx(mean[middles], abs=6)


def test_the_same_members_give_the_same_bytes() -> None:
    frames = gray_jpegs(10, 20, 30, 40, 50)
    assert render(frames, bins=MAX4).data == render(frames, bins=MAX4).data


def test_bins_are_canonical_and_survive_json() -> None:
    assert bins_of("mean", 1, (128, 96), (64, 48)) is None
    assert bins_of("drop", 4, (128, 96), (64, 48)) is None
    assert bins_of("mean", 4, (128, 96), (64, 48)) == Bins("mean", 4, 64, 48)
    chosen = RenderOptions("h264", 70, Fraction(30), 64, 48, bins=bins_of("max", 4, (128, 96), (64, 48)))
    assert RenderOptions.from_json(chosen.to_json()) == chosen
    assert (member_options(chosen).width, member_options(chosen).height) == (128, 96)
