"""What the soak benchmark reports as a failure."""

from collections import Counter

import pytest

from benchmarks.api.load_clients import LoadStats
from benchmarks.api.soak import MEMORY_MARGIN_MB, ResourceUsage, missing_activity

BEFORE = ResourceUsage(api_mb=100, worker_mb=80, sockets=14, busy_connections=0)


def test_a_level_that_holds() -> None:
    assert ResourceUsage(100 + MEMORY_MARGIN_MB, 80, 14, 0).increases_over(BEFORE) == []


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (ResourceUsage(101 + MEMORY_MARGIN_MB, 80, 14, 0), "api process holds 117 MB, 100 before"),
        (ResourceUsage(100, 81 + MEMORY_MARGIN_MB, 14, 0), "worker process"),
        (ResourceUsage(100, 80, 15, 0), "15 sockets are open, 14 were before"),
        (ResourceUsage(100, 80, 14, 1), "1 database connections"),
    ],
)
def test_what_did_not_go_back_is_named(after: ResourceUsage, told: str) -> None:
    (fault,) = after.increases_over(BEFORE)
    assert told in fault


def test_a_crowd_that_did_nothing_proves_nothing() -> None:
    stats = LoadStats(seconds={"reader": [0.1], "asker": [0.1]}, events=3, renders=Counter(failed=1))
    assert sorted(missing_activity(stats)) == [
        "1 renders failed",
        "no renderer: no client of this kind was active",
        "no renders: no client of this kind was active",
    ]
