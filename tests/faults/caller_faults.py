"""What callers and other machines do at a bad moment: they cancel, delete, repeat, break off; workers join and leave."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from service.plan.render_plan import PIPELINE_VERSION
from tests.faults.renders import FRAMES, Renders
from tests.faults.scene import Faults, Scene

GUEST_S, UPLOAD_S, FLOOD = 7.0, 1.0, 40
SHIFTED_CLOCK = Path(__file__).parents[1] / "support" / "shifted_clock"
# As a worker of the release before, which must leave alone what this one has planned.
OLDER_VERSION = f"""
import runpy, sys
from service.plan import render_plan
render_plan.PIPELINE_VERSION = "{int(PIPELINE_VERSION) - 1}"
sys.argv = ["service", "worker"]
runpy.run_module("service", run_name="__main__", alter_sys=False)
"""


def caller_faults(scene: Scene, renders: Renders) -> Faults:
    return {
        "cancel": renders.cancel,
        "cancel at once": renders.cancel_at_once,
        "cancel and retry": renders.cancel_and_retry,
        "change a priority": renders.change_priority,
        "the same request many times": renders.submit_many_times,
        "delete and submit again": renders.delete_and_submit_again,
        "delete while it runs": renders.delete_while_it_runs,
        "break an upload off": lambda: _break_upload_off(scene, renders, kill=False),
        "kill the api in an upload": lambda: _break_upload_off(scene, renders, kill=True),
        "a flood of previews": lambda: _ask_for_previews(scene, renders),
        "another worker comes and is killed": lambda: _guest(scene, signal.SIGKILL),
        "another worker comes and is stopped": lambda: _guest(scene, signal.SIGTERM),
        "another worker's clock is an hour ahead": lambda: _guest(scene, signal.SIGKILL, clock_shift_s=3600),
        "another worker is of an older version": lambda: _guest(scene, signal.SIGKILL, older=True),
    }


def _break_upload_off(scene: Scene, renders: Renders, *, kill: bool) -> None:
    """In the middle of the body; the frame stays as it was, as it is sent again in full."""
    name = scene.random.choice(sorted(FRAMES))
    path, data = f"/api/datasets/{renders.dataset['id']}/objects/{name}", FRAMES[name]

    def body() -> Iterator[bytes]:
        yield data[: len(data) // 2]
        time.sleep(UPLOAD_S)
        if kill:
            os.kill(scene.up.find("api"), signal.SIGKILL)
        raise OSError("broken off")

    headers = {"Content-Length": str(len(data))}
    with suppress(OSError, httpx.HTTPError):
        scene.up.client.put(path, content=body(), headers=headers)


def _ask_for_previews(scene: Scene, renders: Renders) -> None:
    """By a caller who does not wait for them."""
    for number in range(FLOOD):
        path = f"/api/datasets/{renders.dataset['id']}/frames/{number}/image"
        width = scene.random.randint(16, 300)
        with suppress(httpx.TimeoutException):
            scene.up.client.get(path, params={"width": width}, timeout=0.05)


@contextmanager
def guest_worker(
    scene: Scene, clock_shift_s: float = 0, older: bool = False, **settings: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """A second worker on the same database and objects, with a temporary folder of its own; killed at the end."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("REELMILL_", "MINIO_"))}
    own |= {"REELMILL_HOME": str(scene.up.home), "DATABASE_URL": scene.database_url} | scene.environment
    own |= {"REELMILL_SLOTS": "1"} | settings
    if clock_shift_s:
        own |= {"CLOCK_SHIFT_S": str(clock_shift_s)}
        own["PYTHONPATH"] = f"{SHIFTED_CLOCK}{os.pathsep}{own.get('PYTHONPATH', '')}"
    command = [sys.executable, "-c", OLDER_VERSION] if older else [sys.executable, "-m", "service", "worker"]
    with (scene.up.home.parent / "guests.log").open("ab") as log:
        process = subprocess.Popen(command, env=own, stdout=log, stderr=log)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def _guest(scene: Scene, end: signal.Signals, *, clock_shift_s: float = 0, older: bool = False) -> None:
    with guest_worker(scene, clock_shift_s, older) as process:
        time.sleep(GUEST_S)
        process.send_signal(end)
        process.wait(30)
