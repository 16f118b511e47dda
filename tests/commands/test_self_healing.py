"""Whatever dies or hangs under `reelmill up` comes back by itself, and what was accepted ends right."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from service.commands.supervision import RESTART_DELAYS_S, ChildExitError, SupervisedProcess
from service.embedded.cluster import find_free_port
from tests.embedded.test_postgres import launcher_pid, postmaster_pid
from tests.support.data.footage import frame_jpeg
from tests.support.processes.api import make_dataset
from tests.support.processes.worker_process import slot_pids

FRAMES = {f"f{number:03d}.jpg": frame_jpeg(number) for number in range(60)}


@dataclass(frozen=True)
class Running:
    """`reelmill up`, with its home and what it writes."""

    process: subprocess.Popen[bytes]
    client: httpx.Client
    home: Path
    log: Path

    def child(self, name: str) -> int:
        """The API or the worker."""
        command = ["pgrep", "-P", str(self.process.pid), "-f", f"service {name}$"]
        found = subprocess.run(command, capture_output=True, text=True)
        return int(found.stdout.split()[0])

    def find(self, what: str) -> int:
        if what == "slot":
            return slot_pids(self.child("worker"))[0]
        finders: dict[str, Callable[[Path], int]] = {"launcher": launcher_pid, "database": postmaster_pid}
        return finders[what](self.home) if what in finders else self.child(what)

    def render(self, dataset: dict[str, str], fps: int) -> str:
        """Submit it as soon as the service accepts it."""
        body = {"experiment_id": dataset["experiment_id"], "decimation_factor": 1, "fps": fps, "width": 640}
        return str(self.wait(lambda: self.client.post("/api/videos/generate", json=body).raise_for_status())["job_id"])

    def wait(self, ask: Callable[[], httpx.Response], done: Callable[[dict[str, str]], bool] = bool) -> dict[str, str]:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            with suppress(httpx.HTTPError):
                answer: dict[str, str] = ask().json()
                if done(answer):
                    return answer
            time.sleep(0.1)
        raise TimeoutError(self.log.read_text())


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    port, home, log = find_free_port(), tmp_path / "home", tmp_path / "log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("REELMILL_", "MINIO_"))}
    environment |= {"REELMILL_HOME": str(home), "PORT": str(port), "REELMILL_SLOTS": "1", "REELMILL_RATE_LIMIT": "none"}
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", "service", "up"], stdout=file, stderr=file, env=environment)
        deadline = time.monotonic() + 60
        while b"token   " not in log.read_bytes() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        command = [sys.executable, "-m", "service", "token", "--sub", "alice", "--scope", "admin"]
        token = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=15, trust_env=False) as client:
            yield Running(process, client, home, log)
        process.terminate()
        assert process.wait(60) == 0


def test_whatever_is_killed_comes_back(running: Running) -> None:
    dataset = make_dataset(running.client, FRAMES)
    for fps, what in enumerate(("slot", "worker", "api", "database", "launcher"), start=10):
        before = running.find(what)
        job = running.render(dataset, fps)
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
def test_what_hangs_is_killed_and_started_again(running: Running, what: str) -> None:
    dataset = make_dataset(running.client, FRAMES)
    before = running.find(what)
    os.kill(before, signal.SIGSTOP)
    deadline = time.monotonic() + 60
    while Path(f"/proc/{before}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    job = running.render(dataset, 30)
    status = running.wait(
        lambda: running.client.get(f"/api/videos/{job}"), lambda answer: answer.get("status") == "succeeded"
    )
    assert status["frames_done"] == 60
    assert f"the {what} process does not answer" in running.log.read_text()


def test_a_child_that_exits_again_and_again_is_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.commands.supervision.RESTART_DELAYS_S", tuple(each / 100 for each in RESTART_DELAYS_S))
    child = SupervisedProcess("worker", [sys.executable, "-c", "raise SystemExit(7)"], dict(os.environ), None)
    child.start()
    with pytest.raises(ChildExitError, match="exited with code 7, 7 times in a row") as raised:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            child.check()
            time.sleep(0.01)
    assert raised.value.code == 7
    child.wait(1)


def test_an_error_of_the_configuration_is_the_end_at_once() -> None:
    child = SupervisedProcess("api", [sys.executable, "-c", "raise SystemExit(78)"], dict(os.environ), None)
    child.start()
    with pytest.raises(ChildExitError, match="exited with code 78") as raised:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            child.check()
            time.sleep(0.01)
    assert raised.value.code == 78
    child.wait(1)
