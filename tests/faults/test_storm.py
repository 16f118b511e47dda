"""A short storm of faults: every accepted render ends right, once."""

import os
from pathlib import Path

import pytest

from tests.faults.scene import scene
from tests.faults.storm import GOALS, Storm
from tests.support.servers.s3_server import needs_s3

SECONDS = float(os.environ.get("REELMILL_CHAOS_SECONDS", "12"))
SEED = int(os.environ.get("REELMILL_CHAOS_SEED", "1"))


@pytest.mark.parametrize("store", ["folder", pytest.param("s3", marks=needs_s3)])
def test_what_was_accepted_ends_right_whatever_happens(tmp_path: Path, store: str) -> None:
    with scene(tmp_path, SEED, on_s3=store == "s3", small_disks=False) as found:
        storm = Storm(found)
        storm.run(SECONDS)
        report = storm.report(tmp_path / "calm")
    assert not any(report[goal] for goal in GOALS), report
    assert report["injected"] >= 3 and report["right"] >= 2, report
