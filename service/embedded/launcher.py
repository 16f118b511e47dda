"""The process that runs the embedded PostgreSQL while any client is connected to the launcher.

When a client dies, however it dies, the kernel closes its connection.
"""

import fcntl
import json
import os
import selectors
import shutil
import signal
import socket
import stat
import sys
import time
from pathlib import Path

from service.embedded.cluster import Cluster, EmbeddedPostgresError

IDLE_TIMEOUT_S = 1.0
FIRST_CLIENT_TIMEOUT_S = 20.0


def main(folder: Path, socket_folder: Path) -> None:
    """Take the lock, or exit if another launcher has it; start PostgreSQL, serve clients, stop."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / "guardian.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    make_private(socket_folder)
    listener = _listen(socket_folder / "guardian.sock")
    cluster: Cluster | None = None
    try:
        cluster = Cluster(folder, socket_folder)
        cluster.prepare()
        cluster.start()
        _serve_clients(listener, cluster, {"url": cluster.url})
    except Exception as error:
        _serve_clients(listener, None, {"error": str(error)})
    finally:
        (socket_folder / "guardian.sock").unlink(missing_ok=True)
        if cluster is not None:
            cluster.stop()
        shutil.rmtree(socket_folder, ignore_errors=True)  # under the lock: the next launcher creates it again


def make_private(folder: Path) -> None:
    """Create the folder if it is missing. Raises EmbeddedPostgresError if it is not a folder of our own."""
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.geteuid() or not stat.S_ISDIR(status.st_mode):
        raise EmbeddedPostgresError(f"{folder} belongs to somebody else: remove it or set DATABASE_URL")


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(64)
    return listener


def _serve_clients(listener: socket.socket, cluster: Cluster | None, reply: dict[str, str]) -> None:
    """Send `reply` to each client, until the last one has been gone for IDLE_TIMEOUT_S or PostgreSQL has exited."""
    clients = selectors.DefaultSelector()
    clients.register(listener, selectors.EVENT_READ)
    deadline = time.monotonic() + FIRST_CLIENT_TIMEOUT_S
    while len(clients.get_map()) > 1 or time.monotonic() < deadline:
        for key, _ in clients.select(0.2):
            if key.fileobj is listener:
                client = listener.accept()[0]
                client.sendall(json.dumps(reply).encode() + b"\n")
                clients.register(client, selectors.EVENT_READ)
            elif _is_closed(key.fileobj):  # type: ignore[arg-type]
                clients.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
        if cluster is not None and cluster.process is not None and cluster.process.poll() is not None:
            return
        if len(clients.get_map()) > 1:
            deadline = time.monotonic() + IDLE_TIMEOUT_S


def _is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(64) == b""
    except OSError:
        return True


if __name__ == "__main__":
    os.chdir("/")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
