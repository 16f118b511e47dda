"""`python -m tests.faults MINUTES SEED [folder|s3]`: a storm, and its report as JSON. Exit code 1 if anything was lost,
wrong, done twice or left over. `s3` needs REELMILL_TEST_S3_ENDPOINT and its keys.

As root it runs in namespaces of its own: what it starts and mounts ends with it, however it ends."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.faults.scene import scene
from tests.faults.storm import GOALS, Storm

ENCLOSED = "--enclosed"
NAMESPACES = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
# An init that reaps whatever has lost its parent.
INIT = ["sh", "-c", '"$@"; exit $?', "sh"]


def main(minutes: float, seed: int, store: str, *, enclosed: bool) -> int:
    with tempfile.TemporaryDirectory(prefix="reelmill-chaos-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with scene(folder, seed, on_s3=store == "s3", small_disks=enclosed and store == "folder") as found:
            storm = Storm(found)
            storm.run(60 * minutes)
            report = {"seed": seed, "store": store, "minutes": minutes} | storm.report(folder / "calm")
    print(json.dumps(report, indent=2))
    return int(any(report[goal] for goal in GOALS))


def enclose() -> None:
    """Run this command again in namespaces; return if there are none."""
    words = [word for word in sys.argv[1:] if word != ENCLOSED]
    if os.geteuid() == 0 and subprocess.run([*NAMESPACES, "true"], capture_output=True).returncode == 0:
        os.execvp("unshare", [*NAMESPACES, *INIT, sys.executable, "-m", "tests.faults", ENCLOSED, *words])


if __name__ == "__main__":
    if ENCLOSED not in sys.argv:
        enclose()
    words = [word for word in sys.argv[1:] if word != ENCLOSED]
    store = words[2] if len(words) > 2 else "folder"
    sys.exit(main(float(words[0]), int(words[1]), store, enclosed=ENCLOSED in sys.argv))
