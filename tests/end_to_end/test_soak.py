"""The soak benchmark, smaller and shorter: no 5xx, no stuck client, no leaked memory or socket."""

import json
import subprocess
import sys
from pathlib import Path


def test_a_crowd_leaves_nothing_behind(tmp_path: Path) -> None:
    words = ["soak", "--clients", "40", "--seconds", "8", "--results", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", "benchmarks", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.glob("soak-*.jsonl")
    (row,) = (json.loads(line) for line in path.read_text().splitlines())
    assert row["clients"] == 40 and row["events"] > 0 and row["renders"]["succeeded"] > 0
    assert not [status for status in row["answers"] if status.startswith("5")]
    assert row["commit"] and row["machine"]["cores"]
