"""A client of the embedded PostgreSQL: start it or join one that runs, and leave it."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from service.child_process import child_environment
from service.embedded.cluster import EmbeddedPostgresError
from service.embedded.launcher import make_private

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError"]
READY_TIMEOUT_S = 60.0


class EmbeddedPostgres:
    """A client of the server whose data is in `home`; the server runs while it has clients."""

    def __init__(self, home: Path) -> None:
        self._folder = home.expanduser().absolute() / "postgres"
        self._connection: socket.socket | None = None

    def start(self) -> str:
        """The URL of the running server. Raises EmbeddedPostgresError, which says why there is none and what to do."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EmbeddedPostgresError(f"{self._folder} cannot be created ({error.strerror})") from error
        sockets = socket_folder(self._folder)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            make_private(sockets)
            if (reply := self._connect(sockets / "guardian.sock")) is not None:
                if "url" in reply:
                    return reply["url"]
                self.stop()
                raise EmbeddedPostgresError(reply["error"])
            self._spawn_launcher(sockets)
        raise EmbeddedPostgresError(f"PostgreSQL did not start within {READY_TIMEOUT_S:.0f} s: set DATABASE_URL")

    def stop(self) -> None:
        """Leave; the server stops when the last client has left."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self, path: Path) -> dict[str, str] | None:
        """What the launcher replies (see `launcher.main`); None if none is there yet."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(READY_TIMEOUT_S)
        try:
            connection.connect(str(path))
            reply: dict[str, str] = json.loads(connection.makefile().readline())
        except (OSError, ValueError):
            connection.close()
            return None
        self._connection = connection
        return reply

    def _spawn_launcher(self, socket_folder: Path) -> None:
        """Start a launcher in a session of its own. If another has the lock, this one exits and we join the other."""
        command = [sys.executable, "-m", "service.embedded.launcher", str(self._folder), str(socket_folder)]
        launcher = subprocess.Popen(
            command,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=child_environment(),
        )
        deadline = time.monotonic() + READY_TIMEOUT_S
        while (
            time.monotonic() < deadline and not (socket_folder / "guardian.sock").exists() and launcher.poll() is None
        ):
            time.sleep(0.02)
        with suppress(subprocess.TimeoutExpired):
            launcher.wait(0.05)

    def __enter__(self) -> str:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def socket_folder(folder: Path) -> Path:
    """The folder of the sockets. Its path is short, because the path of a socket may have at most 107 bytes."""
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"reelmill-{os.geteuid()}-{name}"
