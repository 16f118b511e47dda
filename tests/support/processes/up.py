"""`reelmill up` in a home of its own, and the processes under it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from service.child_process import detach_from_terminal
from service.embedded.cluster import find_free_port
from tests.support.patience import PATIENCE_S
from tests.support.processes.worker_process import child_pids, slot_pids


def launcher_pid(home: Path) -> int:
    found = subprocess.run(["pgrep", "-f", f"launcher {home}"], capture_output=True, text=True)
    return int(found.stdout.split()[0])


def postmaster_pid(home: Path) -> int:
    return int((home / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])


def server_processes(home: Path) -> list[int]:
    """The launcher and the postmaster of this home."""
    found = subprocess.run(["pgrep", "-f", f"{home}/postgres"], capture_output=True, text=True)
    return [int(word) for word in found.stdout.split()]


def server_is_gone(home: Path, seconds: float = PATIENCE_S) -> bool:
    """Whether both have ended; the server is stopped a moment after its last client left."""
    deadline = time.monotonic() + seconds
    while server_processes(home) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not server_processes(home)


@dataclass(frozen=True)
class RunningUp:
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
        """The process `slot`, `worker`, `api`, `launcher`, `database` or `backend` (one of PostgreSQL's)."""
        match what:
            case "slot":
                return slot_pids(self.child("worker"))[0]
            case "backend":
                return child_pids(postmaster_pid(self.home))[-1]
            case "launcher":
                return launcher_pid(self.home)
            case "database":
                return postmaster_pid(self.home)
        return self.child(what)

    def wait(
        self, ask: Callable[[], httpx.Response], done: Callable[[Any], bool] = bool, seconds: float = 90
    ) -> dict[str, Any]:
        """Ask until the answer is JSON that satisfies `done`; errors and refusals are asked again."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            with suppress(httpx.HTTPError, ValueError):
                answer: dict[str, Any] = ask().json()
                if done(answer):
                    return answer
            time.sleep(0.1)
        raise TimeoutError(self.log.read_text())


@contextmanager
def running_up(folder: Path, slots: int = 1, **settings: str) -> Iterator[RunningUp]:
    """Run it until the end of the block; it must end with 0 then. It ends with this process, however that ends."""
    port, home, log = find_free_port(), folder / "home", folder / "log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("REELMILL_", "MINIO_"))}
    environment |= {"REELMILL_HOME": str(home), "PORT": str(port), "REELMILL_SLOTS": str(slots)}
    environment |= {"REELMILL_RATE_LIMIT": "none"} | settings
    with log.open("wb") as file, ExitStack() as stack:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "up"],
            stdout=file,
            stderr=file,
            env=environment,
            preexec_fn=lambda: detach_from_terminal(signal.SIGTERM),  # noqa: PLW1509 (nothing else runs in it)
        )
        stack.callback(_end, process)
        deadline = time.monotonic() + PATIENCE_S
        while b"token   " not in log.read_bytes() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        command = [sys.executable, "-m", "service", "token", "--sub", "alice", "--scope", "admin", "--ttl", "7d"]
        token = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=15, trust_env=False) as client:
            yield RunningUp(process, client, home, log)
        process.terminate()
        assert process.wait(60) == 0


def _end(process: "subprocess.Popen[bytes]") -> None:
    """After a failure it is still running."""
    if process.poll() is None:
        process.terminate()
        process.wait(60)
