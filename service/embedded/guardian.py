"""The process that owns the embedded server for as long as any client holds a connection to it.

A client's connection is its lease: the kernel closes it when the client dies, however it dies.
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

from service.embedded.binaries import EmbeddedPostgresError
from service.embedded.cluster import Cluster

GRACE_S = 1.0
FIRST_CLIENT_S = 20.0


def main(folder: Path, sockets: Path) -> None:
    """Take the lock (or leave: another guardian has it), start, serve, stop."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / "guardian.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    make_private(sockets)
    door = _listen(sockets / "guardian.sock")
    cluster = Cluster.__new__(Cluster)
    try:
        cluster = Cluster(folder, sockets)
        cluster.prepare()
        cluster.start()
        _serve(door, cluster, {"url": cluster.url})
    except Exception as error:
        _serve(door, None, {"error": str(error)})
    finally:
        (sockets / "guardian.sock").unlink(missing_ok=True)
        with suppress(AttributeError):
            cluster.stop()
        shutil.rmtree(sockets, ignore_errors=True)  # still under the lock: the next guardian makes it again


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


def _serve(door: socket.socket, cluster: Cluster | None, answer: dict[str, str]) -> None:
    """Until the last client has been gone for a second, or the server has died."""
    clients = selectors.DefaultSelector()
    clients.register(door, selectors.EVENT_READ)
    until = time.monotonic() + FIRST_CLIENT_S
    while len(clients.get_map()) > 1 or time.monotonic() < until:
        for key, _ in clients.select(0.2):
            if key.fileobj is door:
                client = door.accept()[0]
                client.sendall(json.dumps(answer).encode() + b"\n")
                clients.register(client, selectors.EVENT_READ)
            elif _gone(key.fileobj):  # type: ignore[arg-type]
                clients.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
        if cluster is not None and cluster.process is not None and cluster.process.poll() is not None:
            return
        if len(clients.get_map()) > 1:
            until = time.monotonic() + GRACE_S


def _gone(client: socket.socket) -> bool:
    try:
        return client.recv(64) == b""
    except OSError:
        return True


if __name__ == "__main__":
    os.chdir("/")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
