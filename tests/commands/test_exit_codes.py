"""Exit codes of the commands, as a shell sees them; a plain HTTP server plays the service's errors. Never a traceback."""

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
from service.routers.videos.request_models import VideoGenerationRequest
from tests.documentation.command_table import group
from tests.support.processes import command
from tests.support.processes.clean_environment import clean_environment

RENDER = ("render", "--experiment", "00000000-0000-0000-0000-000000000000")


# Answers of something that is no Reelmill service, by their name in the path.
OTHER_ANSWERS = {
    "html": b"<html>It works!</html>",
    "empty": b"",
    "status": b'{"status": "ok"}',
    "list": b"[1, 2]",
    "string": b'"hello"',
    "null": b"null",
    "brackets": b"[" * 100_000,
    "latin-1": b'{"detail": "\xe9"}',
}


class RefusingHandler(BaseHTTPRequestHandler):
    """Answers every request to /<status>/… with that status and a problem document, other names with OTHER_ANSWERS."""

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        name = self.path.split("/")[1]
        if name in OTHER_ANSWERS:
            self._answer(200, OTHER_ANSWERS[name])
        else:
            self._answer(int(name), json.dumps({"title": "No", "detail": "not now"}).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(status)
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


def run_command(home: Path, *words: str | bytes, **settings: str) -> "subprocess.CompletedProcess[str]":
    with clean_environment(REELMILL_HOME=str(home), **settings):
        done = command.run_command(*words)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize(("status", "code"), [(401, 77), (403, 77), (404, 1), (422, 1), (429, 75), (500, 1), (503, 75)])
def test_a_refusal_of_the_service(status: int, code: int, refusing: str, tmp_path: Path) -> None:
    done = run_command(tmp_path, *RENDER, REELMILL_URL=f"{refusing}/{status}")
    assert (done.returncode, done.stderr.strip()) == (code, f"reelmill: not now ({status})")


@pytest.mark.parametrize("words", [("presets",), ("schedules", "run", "daily"), ("follow", "x"), ("show", "x")])
@pytest.mark.parametrize(("status", "code"), [(403, 77), (404, 1), (503, 75)])
def test_a_refusal_of_other_commands(
    words: tuple[str, ...], status: int, code: int, refusing: str, tmp_path: Path
) -> None:
    done = run_command(tmp_path, *words, REELMILL_URL=f"{refusing}/{status}")
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (code, 1, ""), done.stderr


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
        ("token", "--sub", "me", "--ttl", "999999999d"),
        ("ingest", "/", "--experiment", "x", "--kind", "pictures"),
        (*RENDER, "--option", "width"),
        (*RENDER, "--option", "grid=foo", "--beside", "x"),
        (*RENDER, "--fps", "1", "--option", "fps=2"),
        (*RENDER, "--option", b"text=caf\xe9"),
        (*RENDER, "--effort", "slow"),
        ("schedules", "run"),
        ("schedules", "list", "daily"),
        ("schedules", "stop", "daily"),
        ("follow",),
    ],
)
def test_usage(words: tuple[str, ...], tmp_path: Path) -> None:
    done = run_command(tmp_path, *words, REELMILL_URL="http://127.0.0.1:1")
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, ""), done.stderr


@pytest.mark.parametrize("option", ["--fps", "--decimation"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "-inf", "1e400", "", "30000/1001", "1000000", "true"])
def test_numbers_that_no_render_can_have(option: str, value: str, tmp_path: Path) -> None:
    done = run_command(tmp_path, *RENDER, option, value, REELMILL_URL="http://127.0.0.1:1")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and option in done.stderr, done.stderr


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e400", "9" * 5000, "[" * 5000])
def test_values_that_json_does_not_have(value: str, tmp_path: Path) -> None:
    done = run_command(tmp_path, *RENDER, "--option", f"scale={value}", REELMILL_URL="http://127.0.0.1:1")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "scale: " in done.stderr, done.stderr


@pytest.mark.parametrize("value", ["NaN", "1e400", "9" * 5000, "[" * 5000, b"caf\xe9"])
def test_conditions_that_json_does_not_have(value: str | bytes, tmp_path: Path) -> None:
    word = b"key=" + value if isinstance(value, bytes) else f"key={value}"
    done = run_command(tmp_path, "query", "frames", word, REELMILL_URL="http://127.0.0.1:1")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr


def test_the_bounds_of_the_options_are_those_of_the_body() -> None:
    options = {option.name: option for option in group.commands["render"].params}
    fields = VideoGenerationRequest.model_json_schema()["properties"]
    fps = fields["fps"]["anyOf"][0]
    assert (options["fps"].min, options["fps"].max) == (fps["minimum"], fps["maximum"])
    decimation = fields["decimation_factor"]
    assert (options["decimation"].min, options["decimation"].max) == (decimation["minimum"], decimation["maximum"])


@pytest.mark.parametrize("name", OTHER_ANSWERS)
def test_something_else_answers(name: str, refusing: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    for words in (("ingest", str(tmp_path), "--experiment", "x"), ("render", "--experiment", "x"), ("devices",)):
        done = run_command(tmp_path, *words, REELMILL_URL=f"{refusing}/{name}")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert "does REELMILL_URL name a Reelmill service" in done.stderr


@pytest.mark.parametrize("address", ["nonsense", "localhost:5003", "ftp://host/", "http://", "http://[::1"])
def test_addresses_that_are_none(address: str, tmp_path: Path) -> None:
    done = run_command(tmp_path, *RENDER, REELMILL_URL=address)
    assert (done.returncode, done.stderr.startswith("reelmill: REELMILL_URL must be ")) == (78, True), done.stderr


def test_another_machine_gets_no_token_of_this_one(tmp_path: Path) -> None:
    for words in (RENDER, ("ls",), ("devices",), ("rm", "x", "-y")):
        done = run_command(tmp_path, *words, REELMILL_URL="http://elsewhere.invalid", JWT_SECRET="s" * 40)
        assert (done.returncode, done.stderr.count("\n")) == (78, 1), done.stderr
        assert "REELMILL_TOKEN is not set" in done.stderr


def test_a_token_that_is_none(tmp_path: Path) -> None:
    for token in ("caf\u00e9", "a\nb"):
        done = run_command(tmp_path, *RENDER, REELMILL_URL="http://127.0.0.1:1", REELMILL_TOKEN=token)
        assert (done.returncode, done.stderr.startswith("reelmill: REELMILL_TOKEN: ")) == (78, True), done.stderr


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for output, reason in ((tmp_path, "is a folder"), (tmp_path / "file" / "out.mp4", "file: ")):
        done = run_command(tmp_path, *RENDER, "-o", str(output), REELMILL_URL="http://127.0.0.1:1")
        assert (done.returncode, reason in done.stderr, done.stderr.count("\n")) == (1, True, 1), done.stderr


def test_the_default_output_is_looked_at_before_the_render(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out.mp4").mkdir()
    done = run_command(tmp_path, *RENDER, REELMILL_URL="http://127.0.0.1:1")
    assert (done.returncode, done.stderr) == (1, "reelmill: out.mp4 is a folder: name a file\n")
    other = run_command(tmp_path, *RENDER, "--option", "container=mkv", REELMILL_URL="http://127.0.0.1:1")
    assert (other.returncode, "cannot be reached" in other.stderr) == (75, True)


def test_several_refusals_are_told_one_by_one(refusing: str, tmp_path: Path) -> None:
    jobs = ("0197a3c2-b1f0-7aa1-8c63-9e0d5a1f2b44", "latest")
    for words in (("cancel", *jobs), ("retry", *jobs)):
        done = run_command(tmp_path, *words, REELMILL_URL=f"{refusing}/403")
        assert (done.returncode, done.stderr.count("\n")) == (1, 2), done.stderr
        assert f"{jobs[0]}: not now (403)" in done.stderr and "latest is no id of a render" in done.stderr
        alone = run_command(tmp_path, words[0], jobs[0], REELMILL_URL=f"{refusing}/403")
        assert alone.returncode == 77


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    """As `reelmill token … | true`."""
    with clean_environment(REELMILL_HOME=str(tmp_path)):
        read, write = os.pipe()
        os.close(read)
        words = [sys.executable, "-m", "service", "token", "--sub", "me"]
        done = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, text=True, timeout=300)
        os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_configuration(tmp_path: Path) -> None:
    done = run_command(tmp_path, *RENDER, PORT="many")
    assert (done.returncode, done.stderr.startswith("reelmill: PORT: ")) == (78, True)


def test_done(tmp_path: Path) -> None:
    done = run_command(tmp_path, "--version")
    assert (done.returncode, done.stdout.strip()) == (0, __version__)
    done = run_command(tmp_path, "token", "--sub", "me")
    assert (done.returncode, done.stdout.count(".")) == (0, 2)
