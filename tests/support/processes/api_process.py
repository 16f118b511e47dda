"""`reelmill api` without a worker, and with a readable log; queued renders stay queued."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from service.embedded.cluster import find_free_port
from service.identity.tokens import issue_token
from tests.support.patience import PATIENCE_S
from tests.support.processes.clean_environment import clean_environment

LOG_TIMEOUT_S = 10.0
SECRET = "hunter2-hunter2-hunter2-hunter2-hunter2"


@dataclass(frozen=True)
class ApiProcess:
    """A running API process."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    database_url: str

    def client(self, subject: str = "alice", *scopes: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=bearer(subject, scopes), timeout=20, trust_env=False)

    def async_client(self, subject: str = "alice", *scopes: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers=bearer(subject, scopes), timeout=20, trust_env=False)

    def log_lines(self) -> list[dict[str, Any]]:
        """Its log so far; raises if a line is not a JSON object."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def wait_for_log_line(self, **wanted: Any) -> dict[str, Any]:
        """The last line with these values. Waits, as a request is logged after its response has been sent."""
        deadline = time.monotonic() + LOG_TIMEOUT_S
        while not (found := [line for line in self.log_lines() if wanted.items() <= line.items()]):
            assert time.monotonic() < deadline, f"no log line has {wanted}"
            time.sleep(0.02)
        return found[-1]


def bearer(subject: str, scopes: tuple[str, ...]) -> dict[str, str]:
    """The header of a caller; without scopes, of one who may do everything."""
    token = issue_token(SecretStr(SECRET), subject, scopes or ("admin",), timedelta(minutes=5))
    return {"Authorization": f"Bearer {token}"}


@contextmanager
def api_process(database_url: str, home: Path, handles: int = 0, **settings: str) -> Iterator[ApiProcess]:
    """`handles` is the hard limit on its open files, if it is not 0."""
    command = [sys.executable, "-m", "service", "api"]
    if handles:
        command = ["sh", "-c", f'ulimit -Sn {handles // 2}; ulimit -Hn {handles}; exec "$@"', "sh", *command]
    port, log = str(find_free_port()), home / "api.log"
    with (
        clean_environment(DATABASE_URL=database_url, REELMILL_HOME=str(home), PORT=port, JWT_SECRET=SECRET, **settings),
        log.open("wb") as out,
    ):
        process = subprocess.Popen(command, env=dict(os.environ), stdout=out)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_ready(process, url)
        yield ApiProcess(process, url, log, database_url)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_ready(process: "subprocess.Popen[bytes]", url: str) -> None:
    """Wait until the API is ready."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "the API ended while it started"
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health/ready", timeout=2, trust_env=False).status_code == 200:
                return
        time.sleep(0.05)
    raise TimeoutError("the API did not become ready")
