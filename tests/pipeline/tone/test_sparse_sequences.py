"""Sequences whose percentiles fall together: the signal is graded, and the receipt says why the window is another."""

from typing import Any

import numpy as np
import pytest

from service.pipeline.tone.levels import LevelSampler
from service.plan.tone import (
    EQUAL_NOTE,
    NOISE_NOTE,
    SPARSE_NOTE,
    Levels,
    Tone,
    ToneSpec,
    resolve_tone,
)
from tests.pipeline.rendering import decode_pictures, render
from tests.support.data import media

Array = np.ndarray[Any, Any]
WIDTH, HEIGHT = 128, 96
BEADS = np.linspace(5000, 55_000, 24)


def with_beads(background: Array | float, beads: Array = BEADS, dtype: str = "u2") -> Array:
    """A few of 12,288 samples, on a background."""
    frame = np.broadcast_to(background, (HEIGHT, WIDTH)).astype(dtype)
    frame.reshape(-1)[np.linspace(200, 12_000, len(beads)).astype(int)] = beads
    return frame


def measure(*frames: Array, bits: int | None = None) -> Levels:
    sampler = LevelSampler()
    for frame in frames:
        sampler.add(frame, bits or 8 * frame.dtype.itemsize)
    levels = sampler.levels()
    assert levels is not None
    return levels


def resolved(levels: Levels, spec: ToneSpec | None = None) -> Tone:
    tone = resolve_tone(spec, levels)
    assert tone is not None
    return tone


def noise(width: int) -> Array:
    return np.random.default_rng(4).integers(100, 100 + width, (HEIGHT, WIDTH))


EVENTS = np.concatenate([np.linspace(100, 900, 12), np.linspace(1100, 1900, 12)])
SPARSE: dict[str, tuple[list[Array], tuple[float, float], str]] = {
    "stars on black": ([with_beads(0)], (0, 55_000), SPARSE_NOTE),
    "beads on a constant offset": ([with_beads(100)], (100, 55_000), SPARSE_NOTE),
    "dark samples on a bright ground": ([with_beads(60_000)], (5000, 60_000), SPARSE_NOTE),
    "events in both directions": ([with_beads(1000, EVENTS)], (100, 1900), SPARSE_NOTE),
    "floats": ([with_beads(0, BEADS / 55_000, "f4")], (0, 1), SPARSE_NOTE),
    "signed": ([with_beads(-50, BEADS - 30_000, "i2")], (-25_000, 25_000), SPARSE_NOTE),
    "32 bits": ([with_beads(7, BEADS * 1000, "u4")], (7, 55_000_000), SPARSE_NOTE),
    "48 samples": ([with_beads(0, np.repeat(BEADS, 2))], (0, 55_000), SPARSE_NOTE),
    "one hot sample": ([with_beads(100, BEADS[-1:])], (100, 55_000), SPARSE_NOTE),
    "a mask of 0 and 1": ([with_beads(0, np.ones(24))], (0, 1), SPARSE_NOTE),
    "a mask of 0 and 65535": ([with_beads(0, np.full(24, 65_535))], (0, 65_535), SPARSE_NOTE),
    "labels": ([with_beads(0, np.arange(1, 25))], (0, 24), SPARSE_NOTE),
    "in one frame of many": ([*[np.full((HEIGHT, WIDTH), 9, np.uint16)] * 20, with_beads(9)], (9, 55_000), SPARSE_NOTE),
    "noise of a level": ([with_beads(noise(2))], (100, 55_000), NOISE_NOTE),
    "nearly constant floats": ([with_beads(noise(9) * 1e-12, BEADS / 55_000, "f4")], (1e-10, 1), NOISE_NOTE),
    "all equal": ([np.full((HEIGHT, WIDTH), 100, np.uint16)], (100, 65_535), EQUAL_NOTE),
}


@pytest.mark.parametrize("name", SPARSE)
def test_the_window_reaches_over_the_signal(name: str) -> None:
    frames, window, note = SPARSE[name]
    tone = resolved(measure(*frames))
    assert (tone.low, tone.high) == pytest.approx(window, rel=1e-6, abs=1e-6)
    assert (tone.note, tone.to_json()["note"]) == (note, note)


@pytest.mark.parametrize("name", [name for name in SPARSE if name != "all equal"])
def test_the_signal_is_graded(name: str) -> None:
    """The levels are those of the formula (sample - low) / (high - low); on base they were 0 and 255 only."""
    (*_, frame), (low, high), _ = SPARSE[name]
    tone = resolved(measure(*SPARSE[name][0]))
    result = render([media.tiff(frame)], tone=tone, codec="ffv1", form="gray")
    expected = 255 * ((frame.astype(np.float64) - low) / (high - low)).clip(0, 1)
    assert np.abs(decode_pictures(result.data)[0][..., 0] - expected).max() <= 1
    assert result.reports[0].clipped == (0, 0, 0)


def test_8_bit_gray_with_a_tone() -> None:
    levels = measure(with_beads(0, np.linspace(40, 200, 24), "u1"))
    assert resolve_tone(None, levels) is None
    assert resolved(levels, ToneSpec()) == Tone(0, 200, shallow=True, note=SPARSE_NOTE)


@pytest.mark.parametrize(
    ("percents", "window"), [((5, 95), (0, 52_826)), ((50, 99), (0, 55_000)), ((0, 100), (0, 55_000))]
)
def test_percentiles_that_were_asked_for(percents: tuple[float, float], window: tuple[float, float]) -> None:
    """They are taken of the samples other than the background where they fall together; 0 to 100 never do."""
    tone = resolved(measure(with_beads(0)), ToneSpec("percentile", *percents))
    assert (tone.low, tone.high) == pytest.approx(window, rel=0.005)
    assert tone.note == ("" if percents == (0, 100) else SPARSE_NOTE)


def test_an_older_scan_has_only_the_percentiles() -> None:
    document = measure(with_beads(0)).to_json()
    for name in ("usual", "others_percent", "others"):
        del document[name]
    tone = resolved(Levels.from_json(document))
    assert (tone.low, tone.high, tone.note) == (0, 55_000, SPARSE_NOTE)


def test_a_hot_sample_among_beads_does_not_darken_them() -> None:
    frames = [with_beads(100, BEADS / 50)] * 20
    hot = frames[0].copy()
    hot[5, 5] = 65_535
    tone = resolved(measure(*frames, hot))
    assert (tone.low, tone.high) == pytest.approx((100, 1100), rel=0.005)


MARKED = ["hot column", "hot column on still ground", "no data in floats"]


@pytest.mark.parametrize("name", ["noise", "half black", "mask", "steps", *MARKED])
def test_other_sequences_keep_the_percentiles(name: str) -> None:
    """Independently of the code: numpy's percentiles, rounded outwards by less than 1/256 of the width."""
    random, place = np.random.default_rng(5), np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH)
    frames: dict[str, Array] = {
        "noise": random.normal(1000, 30, (HEIGHT, WIDTH)),
        "hot column": np.where(place % WIDTH == 5, 65_000, random.normal(300, 10, (HEIGHT, WIDTH))),
        "hot column on still ground": np.where(place < 30, 65_535, noise(3)),
        "no data in floats": np.where(place < 30, -3e38, noise(9) / 1000),
        "half black": random.gamma(2, 900, (HEIGHT, WIDTH)) * (place % WIDTH > 70),
        "mask": (random.random((HEIGHT, WIDTH)) > 0.7) * 1.0,
        "steps": place % WIDTH // 8 * 1000,
    }
    frame = frames[name]
    frame = frame.astype(np.float32) if "floats" in name else frame.clip(0, 65_535).astype(np.uint16)
    low, high = np.percentile(frame, (0.35, 99.65), method="inverted_cdf").astype(float)
    tone = resolved(measure(frame))
    assert tone.note == ""
    assert low - (high - low) / 256 <= tone.low <= low and high <= tone.high <= high + (high - low) / 256
