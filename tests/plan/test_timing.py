"""Capture times -> how long each picture is shown."""

import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from fractions import Fraction

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidRequest
from service.plan.geometry import Bins
from service.plan.render_plan import TICKS, CapturedTiming, FrameRef, RenderOptions, SegmentPlan
from service.plan.segments import Selection, split_into_segments
from service.plan.timing import exact_rate, rate_lasting, retime

OPTIONS = RenderOptions("h264", 70, Fraction(30), 64, 48, timing=CapturedTiming(Fraction(1)))
START = 1_700_000_000_000_000
SECOND = 1_000_000


async def stream(frames: list[FrameRef]) -> AsyncIterator[FrameRef]:
    for frame in frames:
        yield frame


def pace(times: list[int | None], speed: Fraction = Fraction(1), options: RenderOptions = OPTIONS) -> list[FrameRef]:
    """`times` in microseconds."""
    frames = [FrameRef(k, f"{k}", captured=None if t is None else START + t) for k, t in enumerate(times)]

    async def collect() -> list[FrameRef]:
        return [frame async for frame in retime(stream(frames), CapturedTiming(speed), options)]

    return anyio.run(collect)


def starts(frames: list[FrameRef]) -> list[int]:
    """The tick at which each picture begins."""
    out, now = [], 0
    for frame in frames:
        out.append(now)
        now += frame.shown_for or 0
    return out


@given(
    st.lists(st.integers(10_000, 20_000_000), min_size=1, max_size=60),
    st.fractions(Fraction(1, 2), 20, max_denominator=100).filter(lambda speed: speed <= 2),
)
def test_pictures_begin_when_they_were_captured(steps: list[int], speed: Fraction) -> None:
    times = [sum(steps[:k]) for k in range(len(steps) + 1)]
    found = pace(list(times), speed)
    assert all(frame.clock is None for frame in found)
    for start, time in zip(starts(found), times, strict=True):
        assert abs(Fraction(start, TICKS) - Fraction(time, SECOND) / speed) <= Fraction(1, TICKS)
    assert found[-1].shown_for == pytest.approx(steps[-1] * TICKS / SECOND / speed, abs=1.01), (
        "as long as the one before"
    )


@given(st.lists(st.one_of(st.none(), st.integers(-(10**8), 10**8)), min_size=1, max_size=40))
def test_whatever_the_clock_says_time_moves_on(times: list[int | None]) -> None:
    try:
        found = pace(times, Fraction(1, 10))
    except InvalidRequest as refused:
        assert refused.errors[0].code == "too_fast"
        return
    assert [frame.index for frame in found] == list(range(len(times)))
    assert all((frame.shown_for or 0) >= 1 for frame in found)
    for number, (before, after) in enumerate(itertools.pairwise(times), 1):
        if before is not None and after is not None and after < before:
            assert found[number].clock == "back"
        if after is None:
            assert found[number].clock == "unknown"


def test_frames_of_the_same_second_share_it() -> None:
    found = pace([0, 0, 0, 0, SECOND, SECOND, 2 * SECOND])
    assert [frame.shown_for for frame in found] == [2500, 2500, 2500, 2500, 5000, 5000, 5000]
    assert [frame.clock for frame in found] == [None, "same", "same", "same", None, "same", None]


def test_frames_without_a_time_lie_evenly_between_their_neighbours() -> None:
    found = pace([None, 0, None, None, 3 * SECOND, 4 * SECOND])
    assert [frame.shown_for for frame in found] == [333, 10_000, 10_000, 10_000, 10_000, 10_000]
    assert [frame.clock for frame in found] == ["unknown", None, "unknown", "unknown", None, None]


def test_a_clock_that_was_set_does_not_stop_the_video() -> None:
    years = 40 * 365 * 86_400 * SECOND
    found = pace([0, SECOND, 2 * SECOND, years, years + SECOND, 5 * SECOND, 6 * SECOND])
    assert [frame.clock for frame in found] == [None, None, None, "jump", None, "back", None]
    assert {frame.shown_for for frame in found} == {10_000}


def test_a_pause_of_a_night_is_kept() -> None:
    found = pace([0, 10 * SECOND, 20 * SECOND, 43_220 * SECOND, 43_230 * SECOND], Fraction(60))
    assert found[2].shown_for == 720 * TICKS
    assert found[3].clock is None


def test_a_grown_sequence_changes_only_its_end() -> None:
    times: list[int | None] = [k * SECOND // 7 for k in range(200)]
    assert pace(times[:150])[:149] == pace(times)[:149]


@pytest.mark.parametrize(("speed", "code"), [(Fraction(1000), "too_fast"), (Fraction(1, 1000), "too_long")])
def test_impossible_speeds_are_refused(speed: Fraction, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        pace([k * SECOND for k in range(100)], speed)
    assert (caught.value.errors[0].pointer, caught.value.errors[0].code) == ("#/speed", code)


def test_the_fastest_speed_counts_bins_not_their_members() -> None:
    times: list[int | None] = [k * SECOND for k in range(100)]
    with pytest.raises(InvalidRequest):
        pace(times, Fraction(500))
    assert len(pace(times, Fraction(500), replace(OPTIONS, bins=Bins("mean", 10, 64, 48)))) == 100


def plans(frames: list[FrameRef], options: RenderOptions = OPTIONS) -> list[SegmentPlan]:
    async def collect() -> list[SegmentPlan]:
        return [plan async for plan in split_into_segments(stream(frames), "b", options, Selection(0, len(frames), 1))]

    return anyio.run(collect)


@given(st.lists(st.integers(10_000, 20_000_000), min_size=1, max_size=200), st.sampled_from([1, 3]))
def test_segments_are_cut_by_time(steps: list[int], size: int) -> None:
    options = replace(OPTIONS, bins=Bins("mean", size, 64, 48) if size > 1 else None)
    frames = pace([sum(steps[:k]) for k in range(len(steps))], options=options)
    found = plans(frames, options)
    assert [frame for plan in found for frame in plan.frames] == frames
    for plan in found[:-1]:
        last = plan.shown_for(plan.outputs()[-1]) / Fraction(TICKS)
        assert plan.seconds() >= Fraction(5, 2) or len(plan.outputs()) == 600
        assert plan.seconds() - last < 8, "whole once it lasts for eight seconds"
        assert len(plan.frames) % size == 0
    firsts = [plan.first_output for plan in found]
    assert firsts == [sum(len(plan.outputs()) for plan in found[:k]) for k in range(len(found))]


def test_a_content_key_depends_on_the_times() -> None:
    one, other = (plans(pace([0, SECOND, step]))[0].content_key() for step in (2 * SECOND, 3 * SECOND))
    later = [replace(frame, captured=(frame.captured or 0) + 1) for frame in pace([0, SECOND, 2 * SECOND])]
    assert len({one, other, plans(later)[0].content_key()}) == 3


def test_rates() -> None:
    assert exact_rate(29.97) == Fraction(30000, 1001)
    assert rate_lasting(100, 4) == 25
    assert abs(100 / rate_lasting(100, 7.77) - Fraction(777, 100)) < Fraction(1, 10**5)
    for frames, seconds in ((10, 1000), (1000, 1), (8, 5e-324), (8, 1.7e308)):
        with pytest.raises(InvalidRequest) as caught:
            rate_lasting(frames, seconds)
        assert caught.value.errors[0].pointer == "#/duration_seconds"


def test_timing_survives_json() -> None:
    chosen = replace(OPTIONS, timing=CapturedTiming(Fraction(7, 3)))
    assert RenderOptions.from_json(chosen.to_json()) == chosen
