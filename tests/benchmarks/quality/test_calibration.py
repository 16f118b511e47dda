"""The calibration of the quality scale: curves are inverted correctly, and the current mapping is the fitted one."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quality.calibration import QUALITIES, RATES, fit_rate, mean_decibels
from benchmarks.quality.corpus import clips
from benchmarks.quality.encodes import EncodeResult, encode_clip
from service.pipeline.encode.codecs import encoder_quality
from service.plan.formats import Codec

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"


def make_curve(codec: Codec, points: dict[int, float]) -> list[EncodeResult]:
    return [EncodeResult("clip", codec, value, 10, 1000, 1 - 10 ** (-level / 10)) for value, level in points.items()]


@given(st.floats(10, 30))
def test_a_curve_is_read_backwards(target: float) -> None:
    falling, rising = (
        make_curve("hevc", {10: 30.0, 30: 20.0, 50: 10.0}),
        make_curve("mjpeg", {10: 10.0, 50: 20.0, 90: 30.0}),
    )
    assert fit_rate(falling, "hevc", target) == pytest.approx(70 - 2 * target, abs=0.01)
    assert fit_rate(rising, "mjpeg", target) == pytest.approx(4 * target - 30, abs=0.01)


def test_beyond_the_curve_the_nearest_rate_is_taken() -> None:
    assert fit_rate(make_curve("av1", {10: 30.0, 63: 12.0}), "av1", 5) == 63
    assert fit_rate(make_curve("av1", {10: 30.0, 63: 12.0}), "av1", 50) == 10


def test_a_clip_counts_by_its_decibels() -> None:
    runs = [EncodeResult("a", "h264", 23, 1, 1, 0.9), EncodeResult("b", "h264", 23, 1, 1, 0.999)]
    assert mean_decibels(runs) == pytest.approx(20)


@pytest.mark.parametrize("codec", ["h264", *RATES])
def test_an_encode_is_measured(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.quality.corpus.FRAMES", 4)
    monkeypatch.setattr("benchmarks.quality.corpus._street_clip", list)
    graphics = clips(Path("none"))["graphics"]
    good, bad = (encode_clip("graphics", graphics, codec, encoder_quality(codec, quality)) for quality in (85, 25))
    assert good.frames == 4
    assert 0.7 < bad.ssim < good.ssim < 1
    assert good.bytes > bad.bytes


@pytest.mark.parametrize("codec", RATES)
def test_the_mapping_in_use_is_the_one_that_was_measured(codec: Codec) -> None:
    """In the newest rows, within 0.35 dB of x264's SSIM (0.75 at 100) from quality 40 on, where all encoders can reach it."""
    rows = [json.loads(line) for line in sorted(RESULTS.glob("quality-*.jsonl"))[-1].read_text().splitlines()]
    for quality in (quality for quality in QUALITIES if quality >= 40):
        assert mean_level(rows, codec, quality) == pytest.approx(
            mean_level(rows, "h264", quality), abs=0.75 if quality == 100 else 0.35
        )


def mean_level(rows: list[dict[str, object]], codec: Codec, quality: int) -> float:
    """Mean dB over the clips, of the newest run of each."""
    found = {
        row["clip"]: row["ssim"]
        for row in rows
        if (row["codec"], row["rate"]) == (codec, encoder_quality(codec, quality))
    }
    assert len(found) == 4
    return sum(-10 * math.log10(1 - float(str(value))) for value in found.values()) / 4
