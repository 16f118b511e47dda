"""Speed ratios and their report."""

import io
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmarks.cases import CASES
from benchmarks.render.parity import quality_per_megabyte
from benchmarks.render.report import SpeedRatio, print_report, print_worst, speed_ratios
from tests.benchmarks.runs import make_run

H264 = CASES[0]
seconds = st.floats(0.01, 1000)


@given(st.lists(st.tuples(seconds, seconds, seconds), min_size=1, max_size=9), st.randoms())
def test_each_repetition_is_compared_with_itself(
    measured: list[tuple[float, float, float]], order: st.DataObject
) -> None:
    runs = [
        make_run(name, value, repetition=number)
        for number, values in enumerate(measured, 1)
        for name, value in zip(H264.contenders, values, strict=True)
    ]
    order.shuffle(runs)  # type: ignore[attr-defined]
    ffmpeg, old = speed_ratios(H264, runs)
    assert (ffmpeg.rival, ffmpeg.target, old.rival, old.target) == ("ffmpeg", 1.15, "old way", 2)
    assert ffmpeg.values == tuple(theirs / ours for ours, theirs, _ in measured)
    assert old.values == tuple(theirs / ours for ours, _, theirs in measured)
    assert ffmpeg.median == median(theirs / ours for ours, theirs, _ in measured)


def test_a_slow_phase_of_the_machine_cancels_out() -> None:
    """A machine that is four times slower in the second repetition does not change the ratio."""
    runs = [
        make_run("reelmill", 1, repetition=1),
        make_run("ffmpeg", 2, repetition=1),
        make_run("old way", 2, repetition=1),
    ]
    runs += [
        make_run("reelmill", 4, repetition=2),
        make_run("ffmpeg", 8, repetition=2),
        make_run("old way", 8, repetition=2),
    ]
    assert speed_ratios(H264, runs)[0].values == (2, 2)


def test_other_cases_do_not_count() -> None:
    runs = [make_run(name, 1) for name in H264.contenders] + [
        make_run(name, 9, case="av1") for name in ("reelmill", "ffmpeg")
    ]
    assert speed_ratios(H264, runs)[0].values == (1,)


@pytest.mark.parametrize(
    ("values", "text", "reached"),
    [((1.1, 1.04, 1.06), "1.06x (1.04 to 1.10)", True), ((1.04, 1.2, 1.0), "1.04x (1.00 to 1.20)", False)],
)
def test_a_ratio_tells_its_median_and_spread(values: tuple[float, ...], text: str, reached: bool) -> None:
    ratio = SpeedRatio("h264", "ffmpeg", 1.05, values)
    assert (str(ratio), ratio.is_reached) == (text, reached)


def test_the_tables() -> None:
    runs = [
        make_run("reelmill", 2, stages={"decode": 1.25}),
        make_run("ffmpeg", 3),
        make_run("old way", 1, bytes=9_000_000),
    ]
    text = io.StringIO()
    print_report(Console(file=text, width=110), runs, speed_ratios(H264, runs))
    lines = text.getvalue().splitlines()
    assert any("reelmill" in line and "2.00 (2.00 to 2.00)" in line and "12.0" in line for line in lines)
    assert any("ffmpeg" in line and "1.50x" in line and "reached" in line for line in lines)
    assert any("old way" in line and "0.50x" in line and "missed" in line for line in lines)
    assert "decode 1.25 s" in lines[-1]


def test_quality_per_byte() -> None:
    good, same_in_half, worse = (
        make_run("reelmill", ssim=0.99),
        make_run("reelmill", ssim=0.99, bytes=500),
        make_run("reelmill", ssim=0.9),
    )
    assert quality_per_megabyte(good) == pytest.approx(20 / 0.001)
    assert quality_per_megabyte(same_in_half) == pytest.approx(2 * quality_per_megabyte(good))
    assert quality_per_megabyte(worse) == pytest.approx(quality_per_megabyte(good) / 2)


def test_the_worst_kind_of_footage_is_named() -> None:
    cases = [case for case in CASES if case.name.startswith("av1")]
    seconds = {"av1": 2.0, "av1 night": 1.5, "av1 microscope": 3.0, "av1 screen": 1.8}
    runs = [
        make_run(name, ratio if name == "ffmpeg" else 1, case=case)
        for case, ratio in seconds.items()
        for name in ("reelmill", "ffmpeg", "old way")
    ]
    text = io.StringIO()
    print_worst(Console(file=text, width=110), cases, [ratio for case in cases for ratio in speed_ratios(case, runs)])
    assert text.getvalue().splitlines() == [
        "av1: worst of 4 kinds of footage: 1.50x (1.50 to 1.50) ffmpeg (av1 night)",
        "av1: worst of 4 kinds of footage: 1.00x (1.00 to 1.00) old way (av1)",
    ]
