"""The histogram of a sequence has its samples where they are."""

import numpy as np
import pytest

from service.plan.tone import PERCENTS, Levels
from service.routers.catalog.sample_histogram import STEPS, sample_histogram


def levels_of(samples: np.ndarray) -> Levels:
    values = tuple(float(value) for value in np.percentile(samples, PERCENTS))
    bits = samples.dtype.itemsize * 8
    return Levels(str(samples.dtype), bits, 1, 1, values[0], values[-1], 0, 0, values)


def test_two_heaps_of_deep_samples_are_where_they_are() -> None:
    random = np.random.default_rng(5)
    samples = np.concatenate([random.normal(2000, 60, 60_000), random.normal(9000, 200, 40_000)]).astype(np.uint16)
    samples[:10] = 65535  # hot pixels do not make all others one bar
    found = sample_histogram(levels_of(samples))
    expected, _ = np.histogram(samples[10:], STEPS, (found.low, found.high))
    assert found.high < 12_000 and len(found.shares) == STEPS
    assert np.abs(np.array(found.shares) - expected / samples.size).max() < 0.01
    assert sum(found.shares) == pytest.approx(1, abs=0.002)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_one_value_is_in_one_step_of_the_8_bit_range(value: int) -> None:
    found = sample_histogram(levels_of(np.full(100, value, np.uint8)))
    assert (found.low, found.high, sum(found.shares)) == (0, 255, 1)
    assert found.shares[min(value * STEPS // 255, STEPS - 1)] == 1


def test_no_step_is_narrower_than_an_integer() -> None:
    found = sample_histogram(levels_of(np.arange(4000, 4011).repeat(9).astype(np.uint16)))
    assert len(found.shares) == found.high - found.low == 10
    assert min(found.shares) > 0.05


def test_floats_that_are_all_equal_have_a_range() -> None:
    found = sample_histogram(levels_of(np.full(9, 0.5, np.float32)))
    assert (found.low, found.high, sum(found.shares)) == (0.5, 1.5, 1)
