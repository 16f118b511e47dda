"""A client of the embedded PostgreSQL: start it or join one that runs, and leave it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import structlog

from service.child_process import child_environment
from service.embedded.cluster import SOCKET_FOLDER, EmbeddedPostgresError
from service.embedded.launcher import is_our_own, peer_credentials, socket_path
from service.private_files import NotPrivate, make_home_private, private_folder

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError"]
READY_TIMEOUT_S = 60.0
# The launcher is asked so often whether it is there, and killed if it does not answer for so long.
PING, PING_INTERVAL_S, PING_TIMEOUT_S = b"?", 1.0, 10.0
# Before each attempt to get PostgreSQL back.
REJOIN_DELAYS_S = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0)
log = structlog.get_logger("service.embedded")


class EmbeddedPostgres:
    """A client of the server whose data is in `home`; the server runs while it has clients.

    A launcher that dies or hangs is replaced. `failure` says why that was not possible; this process then gets a
    SIGTERM, as it has no database any more.
    """

    def __init__(self, home: Path) -> None:
        self._home = home.expanduser().absolute()
        self._folder = self._home / "postgres"
        self._connection: socket.socket | None = None
        self._stopped = threading.Event()
        self.failure: str | None = None

    def start(self) -> str:
        """The URL of the running server. Raises EmbeddedPostgresError, which says why there is none and what to do."""
        url = self._join()
        threading.Thread(target=self._keep, args=(url,), name="embedded PostgreSQL", daemon=True).start()
        return url

    def stop(self) -> None:
        """Leave; the server stops when the last client has left."""
        self._stopped.set()
        self._disconnect()

    def _join(self) -> str:
        try:
            make_home_private(self._home)
            with private_folder(self._folder) as inner, private_folder(SOCKET_FOLDER, inner) as sockets:
                return self._join_or_launch(socket_path(sockets, self._folder / SOCKET_FOLDER))
        except NotPrivate as error:
            raise EmbeddedPostgresError(f"{error} (or set DATABASE_URL)") from error
        except OSError as error:
            raise EmbeddedPostgresError(f"{self._folder} cannot be created ({error.strerror})") from error

    def _join_or_launch(self, path: str) -> str:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline and not self._stopped.is_set():
            if (reply := self._connect(path)) is not None:
                if "url" in reply:
                    return reply["url"]
                self._disconnect()
                raise EmbeddedPostgresError(reply["error"])
            self._spawn_launcher(path)
        raise EmbeddedPostgresError(f"PostgreSQL did not start within {READY_TIMEOUT_S:.0f} s: set DATABASE_URL")

    def _keep(self, url: str) -> None:
        """Replace the launcher whenever it is gone or hangs, until `stop`."""
        while not self._stopped.is_set():
            if self._launcher_answers():
                self._stopped.wait(PING_INTERVAL_S)
                continue
            if self._stopped.is_set():
                return
            log.warning("the launcher of PostgreSQL is gone or hangs: another one is started")
            if (reason := self._join_again(url)) is not None:
                self.failure = reason
                log.error("PostgreSQL is lost: this process ends", reason=reason)
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def _launcher_answers(self) -> bool:
        """A launcher that hangs is killed."""
        connection = self._connection
        if connection is None:
            return False
        try:
            connection.settimeout(PING_TIMEOUT_S)
            connection.sendall(PING)
            return connection.recv(len(PING)) == PING
        except TimeoutError:
            _kill_launcher(connection)
            return False
        except OSError:
            return False

    def _join_again(self, url: str) -> str | None:
        """None if the same server is back; otherwise why not."""
        reason = ""
        for delay_s in REJOIN_DELAYS_S:
            self._disconnect()
            if self._stopped.wait(delay_s):
                return None
            try:
                joined = self._join()
            except EmbeddedPostgresError as error:
                reason = str(error)
                continue
            return None if joined == url else "it is at another port now, as its own was taken: start again"
        return reason

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self, path: str) -> dict[str, str] | None:
        """What the launcher replies (see `launcher.main`); None if none of our own is there yet. One that hangs is
        killed: until it replies it sends spaces."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PING_TIMEOUT_S)
        try:
            connection.connect(path)
            if not is_our_own(connection):
                raise ConnectionRefusedError
            reply: dict[str, str] = json.loads(self._read_line(connection))
        except TimeoutError:
            _kill_launcher(connection)
            connection.close()
            return None
        except (OSError, ValueError):
            connection.close()
            return None
        self._connection = connection
        return reply

    def _read_line(self, connection: socket.socket) -> bytes:
        """Byte by byte, so that nothing behind the line is taken with it. Raises TimeoutError, OSError."""
        line, deadline = b"", time.monotonic() + READY_TIMEOUT_S
        while not line.endswith(b"\n") and (byte := connection.recv(1)):
            line += byte
            if self._stopped.is_set() or time.monotonic() > deadline:
                raise ConnectionAbortedError
        return line

    def _spawn_launcher(self, path: str) -> None:
        """Start a launcher in a session of its own. If another has the lock, this one exits and we join the other."""
        command = [sys.executable, "-m", "service.embedded.launcher", str(self._folder)]
        launcher = subprocess.Popen(
            command,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=child_environment(),
        )
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline and not Path(path).exists() and launcher.poll() is None:
            time.sleep(0.02)
        with suppress(subprocess.TimeoutExpired):
            launcher.wait(0.05)

    def __enter__(self) -> str:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _kill_launcher(connection: socket.socket) -> None:
    """Kill the process that listens at the other end."""
    with suppress(OSError):  # it is gone, or `stop` has closed the connection
        credentials = peer_credentials(connection)
        if credentials is not None:
            os.kill(credentials[0], signal.SIGKILL)
