"""A client of the embedded PostgreSQL: start it or join one that runs, and leave it."""

import json
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from service.child_process import child_environment
from service.embedded.cluster import SOCKET_FOLDER, EmbeddedPostgresError
from service.embedded.launcher import is_our_own, socket_path
from service.private_files import NotPrivate, make_home_private, private_folder

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError"]
READY_TIMEOUT_S = 60.0


class EmbeddedPostgres:
    """A client of the server whose data is in `home`; the server runs while it has clients."""

    def __init__(self, home: Path) -> None:
        self._home = home.expanduser().absolute()
        self._folder = self._home / "postgres"
        self._connection: socket.socket | None = None

    def start(self) -> str:
        """The URL of the running server. Raises EmbeddedPostgresError, which says why there is none and what to do."""
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
        while time.monotonic() < deadline:
            if (reply := self._connect(path)) is not None:
                if "url" in reply:
                    return reply["url"]
                self.stop()
                raise EmbeddedPostgresError(reply["error"])
            self._spawn_launcher(path)
        raise EmbeddedPostgresError(f"PostgreSQL did not start within {READY_TIMEOUT_S:.0f} s: set DATABASE_URL")

    def stop(self) -> None:
        """Leave; the server stops when the last client has left."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self, path: str) -> dict[str, str] | None:
        """What the launcher replies (see `launcher.main`); None if none of our own is there yet."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(READY_TIMEOUT_S)
        try:
            connection.connect(path)
            if not is_our_own(connection):
                raise ConnectionRefusedError
            reply: dict[str, str] = json.loads(connection.makefile().readline())
        except (OSError, ValueError):
            connection.close()
            return None
        self._connection = connection
        return reply

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
