"""What the soak calls broken."""

from collections import Counter

import pytest

from benchmarks.crowd import Tally
from benchmarks.soak import LEVEL_MB, Held, unproven

BEFORE = Held(api_mb=100, worker_mb=80, sockets=14, busy_connections=0)


def test_a_level_that_holds() -> None:
    assert Held(100 + LEVEL_MB, 80, 14, 0).above(BEFORE) == []


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (Held(101 + LEVEL_MB, 80, 14, 0), "api process holds 117 MB, 100 before"),
        (Held(100, 81 + LEVEL_MB, 14, 0), "worker process"),
        (Held(100, 80, 15, 0), "15 sockets are open, 14 were before"),
        (Held(100, 80, 14, 1), "1 database connections"),
    ],
)
def test_what_did_not_go_back_is_named(after: Held, told: str) -> None:
    (fault,) = after.above(BEFORE)
    assert told in fault


def test_a_crowd_that_did_nothing_proves_nothing() -> None:
    tally = Tally(seconds={"reader": [0.1], "asker": [0.1]}, events=3, renders=Counter(failed=1))
    assert sorted(unproven(tally)) == [
        "1 renders failed",
        "no renderer: the crowd did nothing of the kind",
        "no renders: the crowd did nothing of the kind",
    ]
