"""Exit codes of the commands, as a shell sees them; a plain HTTP server plays the service's errors."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from service import __version__
from tests.support.processes.clean_environment import clean_environment

RENDER = ("render", "--experiment", "00000000-0000-0000-0000-000000000000")


class RefusingHandler(BaseHTTPRequestHandler):
    """Answers every POST to /<status>/… with that status and a problem document."""

    def do_POST(self) -> None:
        body = json.dumps({"title": "No", "detail": "not now"}).encode()
        self.send_response(int(self.path.split("/")[1]))
        self.send_header("Content-Type", "application/problem+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture(scope="module")
def refusing() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), RefusingHandler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def run_command(home: Path, *words: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    with clean_environment(REELMILL_HOME=str(home), **settings):
        command = [sys.executable, "-m", "service", *words]
        return subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("status", "code"), [(401, 77), (403, 77), (404, 1), (422, 1), (429, 75), (500, 1), (503, 75)])
def test_a_refusal_of_the_service(status: int, code: int, refusing: str, tmp_path: Path) -> None:
    done = run_command(tmp_path, *RENDER, REELMILL_URL=f"{refusing}/{status}")
    assert (done.returncode, done.stderr.strip()) == (code, f"reelmill: not now ({status})")


def test_nobody_answers(tmp_path: Path) -> None:
    done = run_command(tmp_path, *RENDER, REELMILL_URL="http://127.0.0.1:1")
    assert (done.returncode, "cannot be reached" in done.stderr) == (75, True)


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("render",),
        ("ingest", "/nowhere/at/all", "--experiment", "x"),
        ("token", "--sub", "me", "--ttl", "soon"),
        (*RENDER, "--option", "width"),
        (*RENDER, "--effort", "slow"),
    ],
)
def test_usage(words: tuple[str, ...], tmp_path: Path) -> None:
    assert run_command(tmp_path, *words).returncode == 2


def test_configuration(tmp_path: Path) -> None:
    done = run_command(tmp_path, *RENDER, PORT="many")
    assert (done.returncode, done.stderr.startswith("reelmill: PORT: ")) == (78, True)


def test_done(tmp_path: Path) -> None:
    done = run_command(tmp_path, "--version")
    assert (done.returncode, done.stdout.strip()) == (0, __version__)
    done = run_command(tmp_path, "token", "--sub", "me")
    assert (done.returncode, done.stdout.count(".")) == (0, 2)
