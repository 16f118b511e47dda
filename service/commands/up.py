"""`reelmill up`: the API and a worker as child processes of this one."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

import httpx

from service.child_process import detach_from_terminal
from service.config import Settings
from service.embedded.cluster import find_free_port
from service.errors import StartupError

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0


@dataclass
class LocalService:
    """The two child processes, and where the API answers."""

    url: str
    environment: dict[str, str]
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)
    # Where the children log; None: where this process does.
    output: IO[bytes] | None = None

    def start(self, name: str) -> None:
        command = [sys.executable, "-m", "service", name]
        self.children[name] = subprocess.Popen(
            command,
            env=self.environment,
            stdout=self.output,
            preexec_fn=lambda: detach_from_terminal(signal.SIGTERM),  # noqa: PLW1509 (no threads)
        )

    def wait_ready(self) -> None:
        """Until the API is ready. Raises StartupRefused when a child gives up first (it has said why)."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if (code := self.children["api"].poll()) is not None:
                raise ChildExitError("api", code)
            try:
                if httpx.get(f"{self.url}/health/ready", timeout=2, trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.05)
        raise StartupError(f"the API did not become ready within {READY_TIMEOUT_S:.0f} s: its log above says why")

    def supervise(self) -> None:
        """Until told to stop; a worker that dies is started again, an API that dies ends the machine."""
        while not self.stopping.wait(0.5):
            if (code := self.children["api"].poll()) is not None:
                raise ChildExitError("api", code)
            if self.children["worker"].poll() is not None:
                self.start("worker")

    def stop(self) -> None:
        """SIGTERM to both, then SIGKILL to whatever stays."""
        self.stopping.set()
        for child in self.children.values():
            child.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for child in self.children.values():
            try:
                child.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


class ChildExitError(Exception):
    """A child process ended by itself; `code` is its exit code."""

    def __init__(self, name: str, code: int) -> None:
        super().__init__(f"the {name} process ended with exit code {code}")
        self.code = code


@contextmanager
def run_local_service(
    settings: Settings, extra_environment: dict[str, str] | None = None, output: IO[bytes] | None = None
) -> Iterator[LocalService]:
    """Start both, wait until the API is ready, and stop both at the end."""
    port = settings.process.port or find_free_port()
    host = "127.0.0.1" if settings.process.host == "0.0.0.0" else settings.process.host  # noqa: S104 (compared)
    environment = os.environ | {"PORT": str(port)} | (extra_environment or {})
    running = LocalService(f"http://{host}:{port}", environment, output=output)
    try:
        running.start("api")
        running.start("worker")
        running.wait_ready()
        yield running
    finally:
        running.stop()
