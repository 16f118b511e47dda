"""The process that runs the embedded server while any client is connected to it.

The kernel closes a client's connection when the client dies, however it dies.
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
from contextlib import suppress
from pathlib import Path

from service.embedded.cluster import Cluster, EmbeddedPostgresError

IDLE_TIMEOUT_S = 1.0
FIRST_CLIENT_TIMEOUT_S = 20.0


def main(folder: Path, socket_folder: Path) -> None:
    """Take the lock (or leave: another guardian has it), start, serve, stop."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / "guardian.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    make_private(socket_folder)
    door = _listen(socket_folder / "guardian.sock")
    cluster = Cluster.__new__(Cluster)
    try:
        cluster = Cluster(folder, socket_folder)
        cluster.prepare()
        cluster.start()
        _serve_clients(door, cluster, {"url": cluster.url})
    except Exception as error:
        _serve_clients(door, None, {"error": str(error)})
    finally:
        (socket_folder / "guardian.sock").unlink(missing_ok=True)
        with suppress(AttributeError):
            cluster.stop()
        shutil.rmtree(socket_folder, ignore_errors=True)  # still under the lock: the next guardian makes it again


def make_private(folder: Path) -> None:
    """Make the folder when it is missing. Raises EmbeddedPostgresError when it is not ours."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
        raise EmbeddedPostgresError(f"{folder} belongs to somebody else: remove it or set DATABASE_URL")


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(path))
    path.chmod(0o600)
    door.listen(64)
    return door


def _serve_clients(listener: socket.socket, cluster: Cluster | None, reply: dict[str, str]) -> None:
    """Until the last client has been gone for a second, or the server has died."""
    clients = selectors.DefaultSelector()
    clients.register(listener, selectors.EVENT_READ)
    until = time.monotonic() + FIRST_CLIENT_TIMEOUT_S
    while len(clients.get_map()) > 1 or time.monotonic() < until:
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
            until = time.monotonic() + IDLE_TIMEOUT_S


def _is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(64) == b""
    except OSError:
        return True


if __name__ == "__main__":
    os.chdir("/")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
