"""`python -m tests.faults MINUTES SEED`: a storm, and its report as JSON. Exit code 1 if anything was lost or wrong."""

import json
import random
import sys
import tempfile
from pathlib import Path

from tests.faults.storm import Storm
from tests.support.processes.up import running_up

if __name__ == "__main__":
    minutes, seed = float(sys.argv[1]), int(sys.argv[2])
    with tempfile.TemporaryDirectory(prefix="reelmill-chaos-") as folder, running_up(Path(folder), slots=2) as up:
        report = {"seed": seed, "minutes": minutes} | Storm(up, random.Random(seed)).run(60 * minutes)
    print(json.dumps(report, indent=2))
    sys.exit(bool(report["lost"] or report["wrong"]))
