"""Segments: which frames are selected, where segments end, and what a content key depends on."""

from collections.abc import AsyncIterator
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate, islice, pairwise
from typing import get_args
from uuid import UUID

import anyio
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.errors import InvalidRequest
from service.plan.facts import DatasetFacts
from service.plan.formats import EFFORTS, Codec
from service.plan.geometry import Bins
from service.plan.render_plan import FrameRef, RenderOptions, SegmentPlan
from service.plan.segments import (
    AV1_SECONDS,
    LEAD_FRAMES,
    LONG_RENDER_SEGMENTS,
    MAX_SOURCE_FRAMES,
    SEGMENT_SECONDS,
    STARTUP_FRAMES,
    Selection,
    frames_per_segment,
    render_key,
    segment_ends,
    segment_length,
    select_frames,
    split_into_segments,
)

OPTIONS = RenderOptions("h264", 70, Fraction(30), 640, 480)
CODECS = st.sampled_from(get_args(Codec))
SECONDS = st.sampled_from([SEGMENT_SECONDS, AV1_SECONDS])


def plans(frames: list[FrameRef], options: RenderOptions = OPTIONS, first: int = 0) -> list[SegmentPlan]:
    async def stream() -> AsyncIterator[FrameRef]:
        for frame in frames:
            yield frame

    async def collect() -> list[SegmentPlan]:
        return [
            plan
            async for plan in split_into_segments(stream(), "bucket", options, Selection(first, first + len(frames), 1))
        ]

    return anyio.run(collect)


def refs(count: int) -> list[FrameRef]:
    return [FrameRef(index, f"f{index}.jpg", f"etag{index}", 100) for index in range(count)]


@given(st.integers(0, 400), st.fractions(Fraction(1, 10), 240), CODECS)
def test_every_frame_is_in_exactly_one_segment_in_order(count: int, fps: Fraction, codec: Codec) -> None:
    options = replace(OPTIONS, fps=fps, codec=codec)
    found = plans(refs(count), options)
    assert [frame.index for plan in found for frame in plan.frames] == list(range(count))
    assert [plan.first_output for plan in found] == [plan.frames[0].index for plan in found]
    assert all(0 < len(plan.frames) <= frames_per_segment(options) for plan in found)


@given(st.integers(0, 100_000), st.integers(1, 100_000), st.fractions(Fraction(1, 10), 240), SECONDS)
def test_segments_end_at_the_same_places_wherever_a_range_begins(
    first: int, outputs: int, fps: Fraction, seconds: Fraction
) -> None:
    length, alone = segment_length(fps, seconds), segment_length(fps)
    assume(not alone < outputs <= 2 * length)
    ends = list(islice(segment_ends(first, outputs, length, alone), 12))
    assert ends == sorted(set(ends))
    ramp = [end for end in accumulate(STARTUP_FRAMES) if end < length]
    assert all((first + end) % length == 0 for end in ends[len(ramp) :])
    assert max(end - begin for begin, end in pairwise([0, *ends])) <= length


def test_the_first_segment_of_a_long_render_is_short() -> None:
    long = LONG_RENDER_SEGMENTS * 75
    assert [len(plan.frames) for plan in plans(refs(long))] == [15, 60] + [75] * (LONG_RENDER_SEGMENTS - 1)
    assert [len(plan.frames) for plan in plans(refs(long), first=70)][:3] == [15, 65, 75]
    assert [len(plan.frames) for plan in plans(refs(long - 1))] == [75] * (LONG_RENDER_SEGMENTS - 1) + [74]
    av1, fast = replace(OPTIONS, codec="av1"), replace(OPTIONS, fps=Fraction(60))
    assert [len(plan.frames) for plan in plans(refs(long), av1)] == [15, 60, 75, 150, 150, 150]
    assert [len(plan.frames) for plan in plans(refs(long - 1), av1)] == [150, 150, 150, 149]
    assert [len(plan.frames) for plan in plans(refs(2 * long), fast)][:4] == [15, 60, 75, 150]


def test_what_is_more_than_one_segment_and_at_most_two_is_halved() -> None:
    lengths = {count: [len(plan.frames) for plan in plans(refs(count), first=70)] for count in (75, 76, 121, 150, 151)}
    assert lengths == {75: [5, 70], 76: [38, 38], 121: [61, 60], 150: [75, 75], 151: [5, 75, 71]}


def test_a_segment_of_av1_is_twice_as_long_and_still_shared_by_two_slots() -> None:
    av1 = replace(OPTIONS, codec="av1")
    lengths = {count: [len(plan.frames) for plan in plans(refs(count), av1)] for count in (75, 76, 120, 300, 301)}
    assert lengths == {75: [75], 76: [38, 38], 120: [60, 60], 300: [150, 150], 301: [150, 150, 1]}


def test_overlapping_ranges_share_segments() -> None:
    frames = refs(1000)
    whole = {plan.content_key() for plan in plans(frames[:600])}
    later = [plan.content_key() for plan in plans(frames[100:], first=100)]
    assert sum(key in whole for key in later) == 6


@given(st.fractions(Fraction(1, 10), 240), SECONDS)
def test_a_segment_lasts_at_most_eight_seconds_unless_it_is_one_frame(fps: Fraction, seconds: Fraction) -> None:
    length = segment_length(fps, seconds)
    assert length == 1 or length / fps <= 8
    assert length >= 1


@given(st.integers(0, 3000), st.integers(2, 900))
def test_bins_are_never_cut_and_segments_of_them_are_bounded(count: int, size: int) -> None:
    options = replace(OPTIONS, bins=Bins("mean", size, 640, 480))
    found = plans(refs(count), options)
    outputs = [refs for plan in found for refs in plan.outputs()]
    assert [[ref.index for ref in refs] for refs in outputs] == [
        list(range(start, min(start + size, count))) for start in range(0, count, size)
    ]
    assert [plan.first_output for plan in found] == [plan.frames[0].index // size for plan in found]
    assert all(len(plan.frames) <= max(MAX_SOURCE_FRAMES, size) for plan in found)
    assert all([len(refs) for refs in plan.lead_outputs()] == [size] for plan in found[1:])


def test_a_content_key_depends_on_every_member() -> None:
    options = replace(OPTIONS, bins=Bins("mean", 3, 640, 480))
    changed = [*refs(6)[:4], replace(refs(6)[4], etag="new"), refs(6)[5]]
    assert plans(refs(6), options)[0].content_key() != plans(changed, options)[0].content_key()


@given(st.integers(1, 10_000), st.integers(1, 1000), st.integers(0, 9_999))
def test_bins_promise_as_many_outputs_as_dropping(timeline: int, step: int, start: int) -> None:
    start = min(start, timeline - 1)
    bins = select_frames(timeline, step, start, None, binned=True)
    assert bins.output_count() == select_frames(timeline, step, start, None).output_count()
    assert bins.source_count() == timeline - start


def test_growing_a_sequence_changes_only_its_last_segments() -> None:
    before = [plan.content_key() for plan in plans(refs(300))]
    after = [plan.content_key() for plan in plans(refs(320))]
    assert after[: len(before)] == before
    assert len(set(after)) == len(after) == 5


@pytest.mark.parametrize(
    "other",
    [
        replace(OPTIONS, quality=71),
        replace(OPTIONS, effort="fast"),
        replace(OPTIONS, codec="av1"),
        replace(OPTIONS, width=642),
        replace(OPTIONS, corrupt="black"),
        replace(OPTIONS, fps=Fraction(30000, 1001)),
    ],
)
def test_a_content_key_depends_on_every_option(other: RenderOptions) -> None:
    assert plans(refs(3), other)[0].content_key() != plans(refs(3))[0].content_key()


def test_a_content_key_depends_on_the_frames_and_their_order() -> None:
    frames = refs(3)
    keys = {plans(chosen)[0].content_key() for chosen in (frames, frames[::-1], frames[:2])}
    changed = [*frames[:2], replace(frames[2], etag="new")]
    moved = [replace(frame, index=frame.index + 1) for frame in frames]
    assert len(keys | {plans(other)[0].content_key() for other in (changed, moved)}) == 5, "receipts name the index"


def test_a_lead_frame_is_no_frame() -> None:
    plan = SegmentPlan(1, 1, "b", OPTIONS, tuple(refs(2)), ())
    moved = SegmentPlan(1, 1, "b", OPTIONS, tuple(refs(2))[1:], tuple(refs(2))[:1])
    assert plan.content_key() != moved.content_key()


def test_a_segment_knows_the_frames_before_it() -> None:
    second = plans(refs(200))[1]
    assert [frame.index for frame in second.lead] == list(range(75 - LEAD_FRAMES, 75))


def test_options_survive_json() -> None:
    options = replace(OPTIONS, fps=Fraction(30000, 1001))
    assert RenderOptions.from_json(options.to_json()) == options


@given(st.integers(1, 10_000), st.integers(1, 1000), st.integers(0, 9_999))
def test_the_chosen_count_is_that_of_the_range(timeline: int, step: int, start: int) -> None:
    if start >= timeline:
        with pytest.raises(InvalidRequest):
            select_frames(timeline, step, start, None)
        return
    assert select_frames(timeline, step, start, None).output_count() == len(list(range(start, timeline, step)))


@pytest.mark.parametrize(("step", "count"), [(1, 795), (2, 398), (7, 114), (1000, 1)])
def test_the_street_camera_counts(step: int, count: int) -> None:
    assert select_frames(795, step, None, None).output_count() == count


def test_an_empty_dataset_is_named() -> None:
    with pytest.raises(InvalidRequest) as caught:
        select_frames(0, 1, None, None)
    assert caught.value.errors[0].pointer == "#/dataset_id"


def test_render_keys_tell_datasets_apart() -> None:
    chosen = select_frames(10, 1, None, None)
    one = DatasetFacts(UUID(int=1), UUID(int=2), "frames", "frames", "bucket", digest="x")
    two = replace(one, digest="y")
    assert render_key(one, chosen, OPTIONS) != render_key(two, chosen, OPTIONS)
    assert render_key(one, chosen, OPTIONS) == render_key(replace(one), chosen, OPTIONS)


def test_small_h264_and_hevc_have_segments_of_five_seconds() -> None:
    """A key frame is the largest picture; copied JPEGs and ffv1 have nothing but key frames."""
    lengths = {codec: frames_per_segment(replace(OPTIONS, codec=codec, effort="small")) for codec in EFFORTS}
    assert lengths == {"h264": 150, "hevc": 150, "av1": 150, "mjpeg": 75, "ffv1": 75}
    assert frames_per_segment(replace(OPTIONS, effort="fast")) == frames_per_segment(OPTIONS) == 75


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("b", "ucket/x.jpg"), ("bucket", "/x.jpg")),
        (("frames1", "x.jpg"), ("frames", "1x.jpg")),
        (("b", "x"), ("bx", "")),
    ],
)
def test_bucket_and_key_are_told_apart(one: tuple[str, str], other: tuple[str, str]) -> None:
    keys = {
        SegmentPlan(0, 0, bucket, OPTIONS, (FrameRef(0, key, "e", 5),)).content_key() for bucket, key in (one, other)
    }
    assert len(keys) == 2


@given(st.lists(st.text(alphabet="a\n1|", max_size=3), min_size=2, max_size=4), st.integers(0, 1))
def test_no_two_lists_of_frames_are_written_alike(keys: list[str], lead: int) -> None:
    """Keys may have line breaks and digits: whatever their frames are called, another list has another key."""
    frames = [FrameRef(place, key, "e", 5) for place, key in enumerate(keys)]
    joined = [FrameRef(0, "\n".join(keys), "e", 5)]
    found = [
        SegmentPlan(0, 0, "b", OPTIONS, tuple(frames[lead:]), tuple(frames[:lead])),
        SegmentPlan(0, 0, "b", OPTIONS, tuple(frames[1 - lead :]), tuple(frames[: 1 - lead])),
        SegmentPlan(0, 0, "b", OPTIONS, tuple(joined)),
        SegmentPlan(0, 0, "b", OPTIONS, tuple(frames[:-1])),
    ]
    assert len({plan.content_key() for plan in found}) == len(found)
