"""The embedded PostgreSQL for its clients: start it or join a running one, and leave it."""

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
    """One client of the server whose data lies in `home`; the server lives while it has clients."""

    def __init__(self, home: Path) -> None:
        self._folder = home.expanduser().absolute() / "postgres"
        self._connection: socket.socket | None = None

    def start(self) -> str:
        """The URL of a running server. Raises EmbeddedPostgresError with the reason and the way out."""
        sockets = socket_folder(self._folder)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            make_private(sockets)
            if (answer := self._connect(sockets / "guardian.sock")) is not None:
                if "url" in answer:
                    return answer["url"]
                self.stop()
                raise EmbeddedPostgresError(answer["error"])
            self._spawn_launcher(sockets)
        raise EmbeddedPostgresError(f"PostgreSQL did not start within {READY_TIMEOUT_S:.0f} s: set DATABASE_URL")

    def stop(self) -> None:
        """Leave; the last client's leaving stops the server."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self, path: Path) -> dict[str, str] | None:
        lease = socket.socket(socket.AF_UNIX)
        lease.settimeout(READY_TIMEOUT_S)
        try:
            lease.connect(str(path))
            line = lease.makefile().readline()
            answer: dict[str, str] = json.loads(line)
        except (OSError, ValueError):
            lease.close()
            return None
        self._connection = lease
        return answer

    def _spawn_launcher(self, socket_folder: Path) -> None:
        """A guardian of its own session; when another is first, this one leaves and we join that."""
        command = [sys.executable, "-m", "service.embedded.launcher", str(self._folder), str(socket_folder)]
        guardian = subprocess.Popen(
            command,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=child_environment(),
        )
        deadline = time.monotonic() + READY_TIMEOUT_S
        while (
            time.monotonic() < deadline and not (socket_folder / "guardian.sock").exists() and guardian.poll() is None
        ):
            time.sleep(0.02)
        with suppress(subprocess.TimeoutExpired):
            guardian.wait(0.05)

    def __enter__(self) -> str:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def socket_folder(folder: Path) -> Path:
    """A short path for the folder of the sockets, whose own paths may have 107 bytes at most."""
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"reelmill-{os.geteuid()}-{name}"
