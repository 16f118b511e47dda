"""The calibration of the quality scale: curves are inverted correctly, and the current mapping is the fitted one."""

import functools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quality.calibration import (
    NOISY_CLIPS,
    QUALITIES,
    RATES,
    REFERENCE,
    Setting,
    fit_rate,
    mean_decibels,
)
from benchmarks.quality.corpus import clips
from benchmarks.quality.encodes import EncodeResult, encode_clip
from service.pipeline.encode.codecs import encoder_quality
from service.plan.formats import Codec

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"


def make_curve(codec: Codec, points: dict[int, float]) -> list[EncodeResult]:
    return [EncodeResult("hall", codec, value, 10, 1000, 1 - 10 ** (-level / 10)) for value, level in points.items()]


@given(st.floats(10, 30))
def test_a_curve_is_read_backwards(target: float) -> None:
    falling, rising = (
        make_curve("hevc", {10: 30.0, 30: 20.0, 50: 10.0}),
        make_curve("mjpeg", {10: 10.0, 50: 20.0, 90: 30.0}),
    )
    assert fit_rate(falling, ("hevc", "balanced"), target) == pytest.approx(70 - 2 * target, abs=0.01)
    assert fit_rate(rising, ("mjpeg", "balanced"), target) == pytest.approx(4 * target - 30, abs=0.01)


def test_beyond_the_curve_the_nearest_rate_is_taken() -> None:
    assert fit_rate(make_curve("av1", {10: 30.0, 63: 12.0}), ("av1", "balanced"), 5) == 63
    assert fit_rate(make_curve("av1", {10: 30.0, 63: 12.0}), ("av1", "balanced"), 50) == 10


def test_a_clip_counts_by_its_decibels() -> None:
    runs = [EncodeResult("a", "h264", 23, 1, 1, 0.9), EncodeResult("b", "h264", 23, 1, 1, 0.999)]
    assert mean_decibels(runs) == pytest.approx(20)


@pytest.mark.parametrize("setting", [REFERENCE, *RATES])
def test_an_encode_is_measured(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    codec, effort = setting
    monkeypatch.setattr("benchmarks.quality.corpus.FRAMES", 4)
    monkeypatch.setattr("benchmarks.quality.corpus._street_clip", list)
    graphics = clips(Path("none"))["graphics"]
    good, bad = (
        encode_clip("graphics", graphics, codec, encoder_quality(codec, quality, effort), effort)
        for quality in (85, 25)
    )
    assert good.frames == 4
    assert 0.7 < bad.ssim < good.ssim < 1
    assert good.bytes > bad.bytes
    assert good.cpu_seconds > 0


@pytest.mark.parametrize("setting", RATES)
def test_the_mapping_in_use_is_the_one_that_was_measured(setting: Setting) -> None:
    """In the newest rows, within 0.35 dB of the SSIM of what it was fitted to from quality 40 on, where all encoders can
    reach it. The last step goes as far as an encoder can: it is better than the one before."""
    codec, effort = setting
    reference: Setting = REFERENCE if effort == "balanced" else (codec, "balanced")
    names = ("street", "hall", "cells", "graphics") if effort == "balanced" else NOISY_CLIPS
    for quality in (quality for quality in QUALITIES if 40 <= quality < 100):
        assert mean_level(setting, quality, names) == pytest.approx(mean_level(reference, quality, names), abs=0.35)
    assert mean_level(setting, 100, names) > mean_level(setting, 90, names) + 1


@functools.cache
def recorded_rows() -> list[dict[str, object]]:
    """All rows, the oldest first. Rows from before efforts existed are balanced."""
    files = sorted(RESULTS.glob("quality-*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def mean_level(setting: Setting, quality: int, names: Sequence[str]) -> float:
    """Mean dB over these clips, of the newest run of each."""
    codec, effort = setting
    wanted = (codec, effort, encoder_quality(codec, quality, effort))
    found = {
        str(row["clip"]): float(str(row["ssim"]))
        for row in recorded_rows()
        if (row["codec"], row.get("effort", "balanced"), row["rate"]) == wanted
    }
    return mean(-10 * math.log10(1 - found[name]) for name in names)
