"""A configuration that cannot work ends the start: exit code 78 and one line with the variable's name, never a secret."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes.clean_environment import clean_environment

SECRET = "hunter2-hunter2-hunter2-hunter2-hunter2"


def start(command: str, home: Path, **settings: str) -> tuple[int, str]:
    with clean_environment(REELMILL_HOME=str(home), PORT="0", **settings):
        done = subprocess.run(
            [sys.executable, "-m", "service", command], env=dict(os.environ), capture_output=True, text=True, timeout=60
        )
    return done.returncode, (done.stderr.strip().splitlines() or [""])[-1]


@pytest.mark.parametrize("command", ["api", "worker", "migrate"])
@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"DATABASE_URL": f"postgresql://u:{SECRET}@127.0.0.1:1/x"}, "DATABASE_URL"),
        ({"DATABASE_URL": f"mysql://u:{SECRET}@127.0.0.1:1/x"}, "DATABASE_URL"),
        ({"DATABASE_URL": f"{SECRET}"}, "DATABASE_URL"),
        ({"REELMILL_SLOTS": "none"}, "REELMILL_SLOTS"),
    ],
)
def test_a_database_that_cannot_work(command: str, settings: dict[str, str], named: str, tmp_path: Path) -> None:
    code, line = start(command, tmp_path, JWT_SECRET=SECRET, **settings)
    assert (code, named in line) == (78, True), line
    assert SECRET not in line


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"MINIO_ENDPOINT": "127.0.0.1:1", "MINIO_ACCESS_KEY": "k", "MINIO_SECRET_KEY": SECRET}, "MINIO_ENDPOINT"),
        ({"MINIO_ENDPOINT": "127.0.0.1:1"}, "MINIO_ACCESS_KEY"),
    ],
)
def test_an_object_store_that_cannot_work(settings: dict[str, str], named: str, tmp_path: Path) -> None:
    code, line = start("api", tmp_path, **settings)
    assert (code, named in line) == (78, True), line
    assert SECRET not in line


def test_a_secret_is_needed_beside_an_outside_database(postgres_url: str, tmp_path: Path) -> None:
    code, line = start("api", tmp_path, DATABASE_URL=postgres_url)
    assert (code, "JWT_SECRET" in line) == (78, True), line


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with clean_environment(REELMILL_HOME=str(tmp_path), PORT=str(taken.getsockname()[1])):
            done = subprocess.run([sys.executable, "-m", "service", "api"], capture_output=True, text=True, timeout=30)
    assert (done.returncode, "PORT" in done.stderr) == (78, True)
