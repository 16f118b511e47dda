"""A short storm of faults: every accepted render ends right, once. `make chaos` has long ones, over both stores."""

import os
from pathlib import Path

from tests.faults.scene import scene
from tests.faults.storm import GOALS, Storm

SECONDS = float(os.environ.get("REELMILL_CHAOS_SECONDS", "6"))
SEED = int(os.environ.get("REELMILL_CHAOS_SEED", "1"))
# Where there is an S3 server, as a storm over it has more kinds of faults than one over a folder.
ON_S3 = bool(os.environ.get("REELMILL_TEST_S3_ENDPOINT"))


def test_what_was_accepted_ends_right_whatever_happens(tmp_path: Path) -> None:
    with scene(tmp_path, SEED, on_s3=ON_S3, small_disks=False) as found:
        storm = Storm(found)
        storm.run(SECONDS, least=3)
        report = storm.report(tmp_path / "calm")
    assert not any(report[goal] for goal in GOALS), report
    assert report["injected"] >= 3 and report["right"] >= 1, report
