"""What efforts cost and save, relative to the balanced one."""

import pytest

from benchmarks.quality.efforts import effort_ratios, effort_table
from benchmarks.quality.encodes import EncodeResult


def test_the_least_seconds_of_each_effort_are_compared() -> None:
    runs = [
        EncodeResult("night", "h264", 24, 10, 2000, 0.99, "fast", 1.0),
        EncodeResult("night", "h264", 23, 10, 1000, 0.9, "balanced", 6.0),
        EncodeResult("night", "h264", 24, 10, 2000, 0.99, "fast", 3.0),
        EncodeResult("night", "h264", 23, 10, 1000, 0.9, "balanced", 4.0),
    ]
    (ratio,) = effort_ratios(runs)
    assert (ratio.codec, ratio.effort, ratio.kind, ratio.seconds, ratio.bytes) == ("h264", "fast", "night", 0.25, 2.0)
    assert ratio.decibels == pytest.approx(10)
    assert effort_table([ratio]).splitlines()[-1] == "| h264 fast | 0.25, 2.00 | 0.25, 2.00, +10.00 dB |"
