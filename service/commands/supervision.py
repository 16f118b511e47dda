"""A child process that is started again when it exits or hangs, with growing delays and an end."""

import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import IO

from service.child_process import detach_from_terminal
from service.errors import StartupError
from service.scratch import make_scratch, remove_scratch
from service.watchdog import VARIABLE

# A child that was heard once and is not heard for so long hangs. One that is not heard at all is still starting.
HANG_TIMEOUT_S = 10.0
# Before each restart of a child that exits again and again, and how long it must have run for that to be forgotten.
RESTART_DELAYS_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
STEADY_S = 30.0
# How a child ends that somebody killed, or asked to stop.
ENDED_BY_OTHERS = (0, -signal.SIGKILL, -signal.SIGTERM)


class ChildExitError(Exception):
    """A child process exits, with exit code `code`, and does not stay when it is started again."""

    def __init__(self, name: str, code: int, times: int = 1) -> None:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        often = f", {times} times in a row: its log above says why" if times > 1 else ""
        super().__init__(f"the {name} process {how}{often}")
        self.code = code if code > 0 else 1


class SupervisedProcess:
    """The child `name`, which runs `command` and sends signs of life (see `service.watchdog`)."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str], output: IO[bytes] | None) -> None:
        self.name, self._command, self._environment, self._output = name, command, environment, output
        self._folder = make_scratch()
        self._beats = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._beats.bind(str(self._folder / "beats"))
        except OSError as error:  # the path of a socket may have at most 107 bytes
            remove_scratch(self._folder)
            raise StartupError(
                f"TMPDIR: no socket can be made in {self._folder} ({error}): set a shorter one"
            ) from error
        self._beats.setblocking(False)
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = self._due_at = 0.0
        self._heard_at: float | None = None
        self._exits, self._was_steady = 0, False

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        self._started_at, self._heard_at = time.monotonic(), None
        self._process = subprocess.Popen(
            self._command,
            env=self._environment | {VARIABLE: str(self._folder / "beats")},
            stdout=self._output,
            preexec_fn=lambda: detach_from_terminal(signal.SIGTERM),  # noqa: PLW1509 (no threads)
        )

    def check(self) -> None:
        """Start it again if it has exited or hangs; call this often. Raises ChildExitError if that is no use."""
        now = time.monotonic()
        with suppress(BlockingIOError):
            while self._beats.recv(64):
                self._heard_at = now
        if self._process is None:
            if now >= self._due_at:
                self.start()
        elif (code := self._process.poll()) is not None:
            self._note_exit(code, now)
        elif self._heard_at is not None and now - self._heard_at > HANG_TIMEOUT_S:
            _report(f"the {self.name} process does not answer for {HANG_TIMEOUT_S:.0f} s: it is killed")
            self._process.kill()

    def terminate(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def wait(self, timeout_s: float) -> None:
        """Wait until it has exited; kill it after the timeout."""
        if self._process is not None:
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._beats.close()
        remove_scratch(self._folder)

    def _note_exit(self, code: int, now: float) -> None:
        """An error of the configuration does not go away by itself; anything else may, also what only looks like one
        because something else is being restarted at this moment."""
        self._was_steady |= now - self._started_at >= STEADY_S
        self._exits = 1 if now - self._started_at >= STEADY_S else self._exits + 1
        if code in ENDED_BY_OTHERS:  # a storm, but no reason to give up
            self._exits = min(self._exits, len(RESTART_DELAYS_S) // 2)
        is_configuration = code == StartupError.exit_code and not self._was_steady
        if is_configuration or self._exits > len(RESTART_DELAYS_S):
            raise ChildExitError(self.name, code, self._exits)
        delay_s = RESTART_DELAYS_S[self._exits - 1]
        self._process, self._due_at = None, now + delay_s
        when = f"in {delay_s:g} s" if delay_s else "now"
        _report(f"{ChildExitError(self.name, code)}: it is started again {when}")


def _report(message: str) -> None:
    print(f"reelmill: {message}", file=sys.stderr, flush=True)
