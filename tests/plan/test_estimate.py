"""What a render is said to cost, before it starts."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.plan.estimate import OVERHEAD_S, Estimate, SegmentStats, Workload, estimate, measured_cost
from service.plan.formats import EFFORTS, Codec
from service.plan.render_plan import RenderOptions

OPTIONS = RenderOptions("h264", 70, Fraction(30), 1920, 1080)
SAMPLE = SegmentStats(75, 750_000, {"fetch": 0.075, "decode": 0.15, "transform": 0.075, "encode": 1.5}, 1920, 1080, 70)


def test_measured_rates_of_the_same_size_come_first() -> None:
    small = replace(SAMPLE, width=64, height=48, seconds={"encode": 100.0})
    rates = measured_cost(OPTIONS, [small, SAMPLE])
    assert rates is not None and rates.bytes == 10_000
    assert rates.seconds == pytest.approx({"fetch": 0.001, "decode": 0.002, "transform": 0.001, "encode": 0.02})


def test_another_size_is_scaled_by_its_pixels_but_not_in_what_depends_on_the_source() -> None:
    rates = measured_cost(replace(OPTIONS, width=960, height=540), [SAMPLE])
    assert rates is not None and rates.bytes == 2_500
    assert rates.seconds == pytest.approx({"fetch": 0.001, "decode": 0.002, "transform": 0.00025, "encode": 0.005})


def test_slots_share_whole_segments() -> None:
    each = 1.8 / 75
    one, two, many = (estimate(OPTIONS, Workload(300, 300, 4, slots), [SAMPLE]).seconds for slots in (1, 3, 99))
    assert one == pytest.approx(300 * each + OVERHEAD_S, abs=0.01)
    assert two == pytest.approx(150 * each + OVERHEAD_S, abs=0.01)
    assert many == pytest.approx(75 * each + OVERHEAD_S, abs=0.01)


def test_what_is_cached_costs_nothing() -> None:
    told = estimate(OPTIONS, Workload(300, 0, 0, 2), [SAMPLE])
    assert (told.seconds, told.frames, told.reused_frames, told.bytes) == (OVERHEAD_S, 300, 300, 3_000_000)


def test_before_anything_was_measured_the_table_is_used() -> None:
    told = estimate(OPTIONS, Workload(100, 100, 2, 0))
    assert told.seconds > 1 and told.bytes > 100_000 and told.stages == {}


@given(st.integers(1, 10**6), st.integers(0, 64), st.lists(st.just(SAMPLE), max_size=2), st.integers(0, 100))
def test_more_work_never_costs_less(frames: int, slots: int, samples: list[SegmentStats], quality: int) -> None:
    options = replace(OPTIONS, quality=quality)
    load = Workload(frames, frames, -(-frames // 75), slots)
    more = replace(load, frames=frames + 75, uncached=frames + 75, segments=load.segments + 1)
    a, b = estimate(options, load, samples), estimate(options, more, samples)
    assert b.seconds >= a.seconds and b.bytes > a.bytes
    assert Estimate(**a.to_json()) == a


@pytest.mark.parametrize("codec", EFFORTS)
def test_before_anything_was_measured_an_effort_is_estimated_by_its_own_figures(codec: Codec) -> None:
    told = {
        effort: estimate(replace(OPTIONS, codec=codec, effort=effort), Workload(10_000, 10_000, 10, 1))
        for effort in EFFORTS[codec]
    }
    balanced = told["balanced"]
    assert told["small"].bytes < balanced.bytes
    assert told["small"].seconds >= balanced.seconds
    if "fast" in told:
        assert told["fast"].bytes > balanced.bytes
        assert told["fast"].seconds < balanced.seconds
