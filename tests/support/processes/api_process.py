"""`reelmill api` alone, with a log that can be read; nobody renders what is queued."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from service.commands.up import LocalService
from service.embedded.cluster import find_free_port
from service.identity.tokens import issue_token
from tests.support.processes.clean_environment import clean_environment

LOG_TIMEOUT_S = 10.0
SECRET = "hunter2-hunter2-hunter2-hunter2-hunter2"


@dataclass(frozen=True)
class ApiProcess:
    """A running API on the database it was given."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def client(self, subject: str = "alice", *scopes: str) -> httpx.Client:
        token = issue_token(SecretStr(SECRET), subject, scopes or ("admin",), timedelta(minutes=5))
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False)

    def log_lines(self) -> list[dict[str, Any]]:
        """What it has logged: each line is one JSON object, or this raises."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def wait_for_log_line(self, **wanted: Any) -> dict[str, Any]:
        """The last line with these values; one of a request is written when its answer is already out."""
        deadline = time.monotonic() + LOG_TIMEOUT_S
        while not (found := [line for line in self.log_lines() if wanted.items() <= line.items()]):
            assert time.monotonic() < deadline, f"no line of the log has {wanted}"
            time.sleep(0.02)
        return found[-1]


@contextmanager
def api_process(database_url: str, home: Path, **settings: str) -> Iterator[ApiProcess]:
    port, log = str(find_free_port()), home / "api.log"
    with (
        clean_environment(DATABASE_URL=database_url, REELMILL_HOME=str(home), PORT=port, JWT_SECRET=SECRET, **settings),
        log.open("wb") as out,
    ):
        process = subprocess.Popen([sys.executable, "-m", "service", "api"], env=dict(os.environ), stdout=out)
    machine = LocalService(f"http://127.0.0.1:{port}", {}, {"api": process})
    try:
        machine.wait_ready()
        yield ApiProcess(process, machine.url, log)
    finally:
        machine.stop()
