"""Whatever dies or hangs under `reelmill up` comes back by itself, and what was accepted ends right."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.commands.supervision import RESTART_DELAYS_S, ChildExitError, SupervisedProcess
from service.errors import StartupError
from tests.support.data.footage import frame_jpeg
from tests.support.patience import PATIENCE_S
from tests.support.processes.api import make_dataset
from tests.support.processes.up import RunningUp, running_up

FRAMES = {f"f{number:03d}.jpg": frame_jpeg(number) for number in range(60)}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningUp]:
    with running_up(tmp_path) as up:
        yield up


def submit(running: RunningUp, dataset: dict[str, Any], fps: int) -> str:
    """As soon as the service accepts it."""
    body = {"experiment_id": dataset["experiment_id"], "decimation_factor": 1, "fps": fps, "width": 640}
    return str(
        running.wait(lambda: running.client.post("/api/videos/generate", json=body).raise_for_status())["job_id"]
    )


def test_whatever_is_killed_comes_back(running: RunningUp) -> None:
    dataset = make_dataset(running.client, FRAMES)
    for fps, what in enumerate(("slot", "worker", "api", "database", "launcher"), start=10):
        before = running.find(what)
        job = submit(running, dataset, fps)
        os.kill(before, signal.SIGKILL)
        status = running.wait(
            lambda job=job: running.client.get(f"/api/videos/{job}"),  # type: ignore[misc]
            lambda answer: answer.get("status") not in ("queued", "running", None) and "job_id" in answer,
        )
        assert status["status"] == "succeeded", json.dumps(status)
        assert running.find(what) != before
    text = running.log.read_text()
    assert "reelmill: the worker process was ended by SIGKILL: it is started again" in text
    assert "reelmill: the api process was ended by SIGKILL: it is started again" in text


@pytest.mark.parametrize("what", ["api", "worker"])
def test_what_hangs_is_killed_and_started_again(running: RunningUp, what: str) -> None:
    dataset = make_dataset(running.client, FRAMES)
    before = running.find(what)
    os.kill(before, signal.SIGSTOP)
    deadline = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{before}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    job = submit(running, dataset, 30)
    status = running.wait(
        lambda: running.client.get(f"/api/videos/{job}"), lambda answer: answer.get("status") == "succeeded"
    )
    assert status["frames_done"] == 60
    assert f"the {what} process does not answer" in running.log.read_text()


def check_for_a_minute(child: SupervisedProcess) -> None:
    """As `up` does; raises what `check` raises."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        child.check()
        time.sleep(0.01)


def test_a_child_that_exits_again_and_again_is_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.commands.supervision.RESTART_DELAYS_S", tuple(each / 100 for each in RESTART_DELAYS_S))
    child = SupervisedProcess("worker", [sys.executable, "-c", "raise SystemExit(7)"], dict(os.environ), None)
    child.start()
    with pytest.raises(ChildExitError, match="exited with code 7, 7 times in a row") as raised:
        check_for_a_minute(child)
    assert raised.value.code == 7
    child.wait(1)


def test_what_ran_well_is_started_again_even_if_its_settings_look_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API was killed, and PostgreSQL is not back when it starts again."""
    monkeypatch.setattr("service.commands.supervision.STEADY_S", 0.0)
    child = SupervisedProcess("api", [sys.executable, "-c", "raise SystemExit(78)"], dict(os.environ), None)
    child.start()
    pids = set()
    deadline = time.monotonic() + PATIENCE_S
    while len(pids) < 2 and time.monotonic() < deadline:
        child.check()
        if child.exit_code is None and child._process is not None:
            pids.add(child.pid)
        time.sleep(0.01)
    child.wait(10)
    assert len(pids) == 2


def test_a_child_that_others_kill_is_started_again_however_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.commands.supervision.RESTART_DELAYS_S", (0.0,) * len(RESTART_DELAYS_S))
    child = SupervisedProcess("worker", [sys.executable, "-c", "input()"], dict(os.environ), None)
    child.start()
    for _ in range(2 * len(RESTART_DELAYS_S)):
        killed = child.pid
        os.kill(killed, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE_S
        while child._process is None or child.pid == killed:
            assert time.monotonic() < deadline
            child.check()
            time.sleep(0.01)
    child.terminate()
    child.wait(10)


def test_an_error_of_the_configuration_is_the_end_at_once() -> None:
    child = SupervisedProcess("api", [sys.executable, "-c", "raise SystemExit(78)"], dict(os.environ), None)
    child.start()
    with pytest.raises(ChildExitError, match="exited with code 78") as raised:
        check_for_a_minute(child)
    assert raised.value.code == 78
    child.wait(1)


def test_a_temporary_folder_too_deep_for_a_socket_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(StartupError, match="TMPDIR"):
        SupervisedProcess("worker", [sys.executable, "-c", ""], {}, None)
    assert list(deep.iterdir()) == []
