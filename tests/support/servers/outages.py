"""Servers that tests stop and restart, and callers that keep sending requests meanwhile."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from service.embedded.cluster import Cluster
from tests.support.patience import PATIENCE_S

RESTARTED_S3 = os.environ.get("REELMILL_TEST_S3_RESTARTED", "")
needs_restarted_s3 = pytest.mark.skipif(
    not RESTARTED_S3,
    reason="REELMILL_TEST_S3_RESTARTED is not set: no S3 server that this test may restart",
)


class RestartablePostgres:
    """A cluster of the test's own that keeps its port."""

    def __init__(self, folder: Path) -> None:
        self._cluster = Cluster(folder)
        self._cluster.socket_folder.mkdir(parents=True)
        self._cluster.prepare()
        self._cluster.start()
        self.url = self._cluster.url

    def stop(self, number: int) -> None:
        """Send SIGINT (PostgreSQL's fast shutdown) or SIGKILL, and wait for the exit."""
        process = self._cluster.process
        assert process is not None
        process.send_signal(number)
        process.wait(30)

    def start(self) -> None:
        """Start on the same port. After a kill, its orphans must exit first, and it recovers."""
        deadline = time.monotonic() + PATIENCE_S
        while not self._cluster._try_start():
            assert time.monotonic() < deadline, "PostgreSQL does not restart"
            time.sleep(0.2)

    def close(self) -> None:
        self._cluster.stop()


class RestartableServer:
    """The process that listens at this address: killed, and restarted with the same command and environment."""

    def __init__(self, endpoint: str) -> None:
        self._port = urlsplit(endpoint).port or 80
        self._pid = _listening_pid(self._port)
        folder = Path(f"/proc/{self._pid}")
        self._command = [word.decode() for word in (folder / "cmdline").read_bytes().split(b"\0") if word]
        pairs = (pair.decode().partition("=") for pair in (folder / "environ").read_bytes().split(b"\0") if pair)
        self._environment = {name: value for name, _, value in pairs}

    def stop(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        while _accepts_connections(self._port):
            time.sleep(0.05)

    def start(self) -> None:
        """Restart it, unless it is running."""
        if _accepts_connections(self._port):
            return
        subprocess.Popen(
            self._command,
            env=self._environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE_S
        while not _accepts_connections(self._port):
            assert time.monotonic() < deadline, "the server does not restart"
            time.sleep(0.05)


def _listening_pid(port: int) -> int:
    """The process that listens on this TCP port."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{words[9]}]")
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(descriptor) in inodes:  # noqa: PTH115 (a socket is not a path)
                return int(descriptor.parts[2])
        except OSError:
            continue
    raise LookupError(f"no process listens on port {port}")


def _accepts_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True)
class Answer:
    """One response; times are of time.monotonic()."""

    began: float
    ended: float
    name: str
    status: int
    kind: str
    retry_after: str | None


SendRequest = Callable[[httpx.Client], httpx.Response]


@dataclass
class CallerPool:
    """Callers, one thread each, that repeat the same request."""

    answers: list[Answer] = field(default_factory=list)
    connection_errors: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def send_repeatedly(self, client: httpx.Client, name: str, send: SendRequest) -> None:
        with client:
            while not self.stopping.is_set():
                began = time.monotonic()
                try:
                    response = send(client)
                except httpx.HTTPError as error:
                    self.connection_errors.append(f"{name}: {type(error).__name__}")
                else:
                    kind, retry_after = response.headers.get("content-type", ""), response.headers.get("retry-after")
                    answer = Answer(began, time.monotonic(), name, response.status_code, kind, retry_after)
                    self.answers.append(answer)
                self.stopping.wait(0.05)

    def during(self, since: float, until: float) -> list[Answer]:
        """The requests that began and ended in this time."""
        return [answer for answer in self.answers if answer.began >= since and answer.ended <= until]

    def wait_for(self, name: str, status: int) -> None:
        """Wait until a request that begins from now on gets this status."""
        since, deadline = time.monotonic(), time.monotonic() + PATIENCE_S
        while not any(one.status == status for one in self.answers if one.name == name and one.began >= since):
            assert time.monotonic() < deadline, f"{name} does not get {status}"
            time.sleep(0.05)

    def statuses(self) -> dict[str, set[int]]:
        found: dict[str, set[int]] = {}
        for answer in self.answers:
            found.setdefault(answer.name, set()).add(answer.status)
        return found


@contextmanager
def under_load(client: Callable[[], httpx.Client], requests: dict[str, SendRequest]) -> Iterator[CallerPool]:
    """Two callers for each request, until the end of the block."""
    load = CallerPool()
    threads = [
        threading.Thread(target=load.send_repeatedly, args=(client(), name, send), daemon=True)
        for name, send in requests.items()
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.stopping.set()
        for thread in threads:
            thread.join(30)
        stuck = [thread for thread in threads if thread.is_alive()]
        assert not stuck, f"{len(stuck)} callers never got a response"
