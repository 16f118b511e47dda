"""A short storm of faults: every accepted render ends right, once."""

import os
import random
from pathlib import Path

from tests.faults.storm import Storm
from tests.support.processes.up import running_up

SECONDS = float(os.environ.get("REELMILL_CHAOS_SECONDS", "25"))
SEED = int(os.environ.get("REELMILL_CHAOS_SEED", "1"))


def test_what_was_accepted_ends_right_whatever_happens(tmp_path: Path) -> None:
    with running_up(tmp_path, slots=2) as up:
        report = Storm(up, random.Random(SEED)).run(SECONDS)
    assert (report["lost"], report["wrong"]) == ({}, 0), report
    assert report["injected"] >= 4 and report["right"] >= 2, report
    assert report["right"] + report["cancelled"] == report["accepted"], report
