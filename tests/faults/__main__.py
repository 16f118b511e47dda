"""`python -m tests.faults MINUTES SEED [folder|s3]`: a storm, and its report as JSON.

`python -m tests.faults fleet SEED [RENDERS]`: fifty renders, or so many, by workers in network namespaces. Exit code 1 if
anything was lost, wrong, done twice or left over. `s3` and `fleet` need REELMILL_TEST_S3_ENDPOINT and its keys, `fleet`
root. As root it runs in namespaces of its own: what it starts and mounts ends with it, however it ends."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from service.child_process import die_with_parent
from tests.faults.fleet import run_fleet
from tests.faults.scene import scene
from tests.faults.storm import GOALS, Storm

FLEET_RENDERS = 50
ENCLOSED = "--enclosed-in"
NAMESPACES = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
# An init that reaps whatever has lost its parent.
INIT = ["sh", "-c", '"$@"; exit $?', "sh"]


def main(words: list[str]) -> int:
    if words[0] == ENCLOSED:
        folder = Path(words[1])
        os.environ["TMPDIR"] = str(folder / "t")  # what is killed leaves nothing in the machine's
        (folder / "t").mkdir()
        return run_here(folder, words[2:], enclosed=True)
    with tempfile.TemporaryDirectory(prefix="reelmill-chaos-", ignore_cleanup_errors=True) as name:
        if os.geteuid() == 0 and subprocess.run([*NAMESPACES, "true"], capture_output=True).returncode == 0:
            return enclose([ENCLOSED, name, *words])
        return run_here(Path(name), words, enclosed=False)


def run_here(folder: Path, words: list[str], *, enclosed: bool) -> int:
    if words[0] == "fleet":
        return tell(run_fleet(folder, int(words[2]) if len(words) > 2 else FLEET_RENDERS, int(words[1])))
    minutes, seed, store = float(words[0]), int(words[1]), words[2] if len(words) > 2 else "folder"
    with scene(folder, seed, on_s3=store == "s3", small_disks=enclosed and store == "folder") as found:
        storm = Storm(found)
        storm.run(60 * minutes)
        report = {"seed": seed, "store": store, "minutes": minutes} | storm.report(folder / "calm")
    return tell(report)


def tell(report: dict[str, Any]) -> int:
    print(json.dumps(report, indent=2))
    return int(any(report.get(goal) for goal in GOALS))


def enclose(words: list[str]) -> int:
    """Run this command again in namespaces, and kill all that is in them when this process ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parent = os.getpid()
    command = [*NAMESPACES, *INIT, sys.executable, "-m", "tests.faults", *words]
    process = subprocess.Popen(command, preexec_fn=lambda: die_with_parent(parent))  # noqa: PLW1509 (no threads)
    try:
        return process.wait()
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
