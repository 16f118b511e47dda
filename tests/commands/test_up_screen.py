"""What people see of `reelmill up` on a terminal: addresses, a line about the work, and what deserves attention."""

import json
import os
import pty
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.commands.up_screen import readable, summary
from tests.support.patience import PATIENCE_S
from tests.support.processes.api import make_dataset
from tests.support.processes.clean_environment import clean_environment
from tests.support.processes.worker_process import child_pids

LINE = {
    "event": "a slot is replaced",
    "level": "warning",
    "logger": "worker",
    "timestamp": "2026-11-30T12:01:03Z",
    "slot": 3,
}


def test_warnings_are_shown_and_the_rest_is_not() -> None:
    shown = readable(json.dumps(LINE))
    assert shown is not None and shown.plain == "12:01:03 a slot is replaced  slot 3"
    assert readable(json.dumps(LINE | {"level": "info"})) is None


@pytest.mark.parametrize("line", ["Traceback (most recent call last):\n", "{}", "[1]", '{"level": 3}', "null"])
def test_what_is_no_log_line_is_shown_as_it_is(line: str) -> None:
    shown = readable(line)
    assert shown is not None and shown.plain == line.rstrip("\n")


@pytest.mark.parametrize(
    ("workers", "running", "line"),
    [
        (0, [], "no worker yet: nothing to render"),
        (1, [], "1 worker, 4 slots: nothing to render"),
        (2, [(10, 40, 12.4)], "2 workers, 8 slots: 1 render, 10 of 40 frames, 12 frames/s"),
        (1, [(10, 4000, 12.4), (5, 10, None)], "1 worker, 4 slots: 2 renders, 15 of 4,010 frames, 12 frames/s"),
    ],
)
def test_the_line_about_the_work(workers: int, running: list[tuple[int, int, float | None]], line: str) -> None:
    renders: list[Any] = [{"frames_done": done, "frames_total": total, "fps": fps} for done, total, fps in running]
    assert summary([{"slots": 4}] * workers, renders) == line


class Terminal:
    """`reelmill up` on a terminal, whose `output` is read on."""

    def __init__(self, home: Path) -> None:
        self.output = ""
        with clean_environment(REELMILL_HOME=str(home), PORT="0", COLUMNS="160", TERM="xterm"):
            self.pid, self._screen = pty.fork()
            if self.pid == 0:
                os.execv(sys.executable, [sys.executable, "-m", "service", "up"])

    def wait_for(self, found: Callable[[str], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not found(self.output):
            assert time.monotonic() < end, self.output[-3000:]
            try:
                self.output += os.read(self._screen, 65536).decode(errors="replace")
            except OSError as error:
                raise AssertionError(self.output[-3000:]) from error

    def stop(self) -> None:
        """As Ctrl-C does."""
        os.kill(self.pid, signal.SIGINT)
        while True:
            try:
                self.output += os.read(self._screen, 65536).decode(errors="replace")
            except OSError:
                break
        assert os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]) == 0


def test_a_terminal_shows_what_is_done_and_what_was_restarted(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    try:
        terminal.wait_for(lambda text: "slots: nothing to render" in text)
        url, token = re.search(r"API +(\S+)", terminal.output), re.search(r"token +(\S+)", terminal.output)
        assert url is not None and token is not None and f"Studio  {url[1]}/#token=" in terminal.output
        with httpx.Client(base_url=url[1], headers={"Authorization": f"Bearer {token[1]}"}, trust_env=False) as client:
            assert make_dataset(client, {"a.jpg": b"no picture"})["state"] == "failed"
        assert '"event"' not in terminal.output, "no JSON"
        os.kill(_worker_of(terminal.pid), signal.SIGKILL)
        terminal.wait_for(lambda text: "the worker process was ended by SIGKILL" in text)
    finally:
        terminal.stop()


def _worker_of(pid: int) -> int:
    """The child of `up` that runs `service worker`."""
    for child in child_pids(pid):
        if b"\0worker\0" in Path(f"/proc/{child}/cmdline").read_bytes():
            return child
    raise AssertionError("up has no worker")
