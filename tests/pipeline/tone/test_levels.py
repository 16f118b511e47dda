"""Levels of a sequence: exact for 8 and 16 bits, approximate for wider samples, in bounded memory."""

import numpy as np
import pytest

from service.pipeline.tone.levels import LevelSampler
from service.plan.tone import PERCENTS, Levels


def sample_levels(*frames: np.ndarray, bits: int = 16) -> Levels:
    sampler = LevelSampler()
    for frame in frames:
        sampler.add(frame, bits)
    found = sampler.levels()
    assert found is not None
    return found


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_percentiles_of_integers_are_exact(dtype: str) -> None:
    random = np.random.default_rng(5)
    frames = [random.gamma(2, 20, (50, 60)).clip(0, 255).astype(dtype) for _ in range(3)]
    found = sample_levels(*frames)
    values = np.concatenate(frames, axis=None)
    assert found.values == tuple(np.quantile(values, np.array(PERCENTS) / 100, method="inverted_cdf"))
    assert (found.low, found.high, found.frames, found.channels) == (values.min(), values.max(), 3, 1)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "i4", "u4"])
def test_percentiles_of_wider_samples_are_close(dtype: str) -> None:
    random = np.random.default_rng(6)
    frames = [random.normal(1000, 200, (600, 500)).astype(dtype) for _ in range(3)]
    found = sample_levels(*frames)
    values = np.concatenate(frames, axis=None)
    assert (found.low, found.high) == (values.min(), values.max()), "exact, though not all values are kept"
    for percent in (1, 25, 50, 75, 99):
        assert found.percentile(percent) == pytest.approx(np.percentile(values, percent), abs=6)


def test_what_is_no_number_is_counted_and_left_out() -> None:
    frame = np.array([[np.nan, np.inf, -np.inf, 1, 2, 3]], np.float32)
    found = sample_levels(frame)
    assert (found.nan, found.inf, found.low, found.high) == (1, 2, 1, 3)
    sampler = LevelSampler()
    sampler.add(np.full((4, 4), np.nan, np.float32), 32)
    assert sampler.levels() is None


def test_mixed_types_and_colours() -> None:
    found = sample_levels(np.full((4, 4), 7, np.uint16), np.full((4, 4), 0.5, np.float32))
    assert (found.dtype, found.low, found.high, found.is_float) == ("float32", 0.5, 7, True)
    assert sample_levels(np.zeros((4, 4, 3), np.uint16)).channels == 3
    assert Levels.from_json(found.to_json()) == found
