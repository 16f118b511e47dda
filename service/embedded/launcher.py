"""The process that runs the embedded PostgreSQL while any client is connected to the launcher.

When a client dies, however it dies, the kernel closes its connection.
"""

import fcntl
import json
import os
import selectors
import signal
import socket
import struct
import sys
import time
from pathlib import Path

from service.embedded.cluster import SOCKET_FOLDER, Cluster
from service.private_files import FILE_MODE, PRIVATE_UMASK, private_folder

IDLE_TIMEOUT_S = 1.0
FIRST_CLIENT_TIMEOUT_S = 20.0
LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
# struct ucred of Linux: process, user, group.
PEER_CREDENTIALS = struct.Struct("iII")


def main(folder: Path) -> None:
    """Take the lock, or exit if another launcher has it; start PostgreSQL, serve clients, stop."""
    os.umask(PRIVATE_UMASK)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with private_folder(folder) as inner, private_folder(SOCKET_FOLDER, inner) as sockets:
        lock = os.open("launcher.lock", LOCK_FLAGS, FILE_MODE, dir_fd=inner)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        _run(folder, socket_path(sockets, folder / SOCKET_FOLDER))


def socket_path(descriptor: int, folder: Path) -> str:
    """The launcher's socket in the folder of `descriptor`: short, because such a path may have at most 107 bytes."""
    pinned = Path(f"/proc/self/fd/{descriptor}")
    return str((pinned if pinned.exists() else folder) / "launcher.sock")


def _run(folder: Path, path: str) -> None:
    listener = _listen(path)
    cluster: Cluster | None = None
    try:
        cluster = Cluster(folder)
        cluster.prepare()
        cluster.start()
        _serve_clients(listener, cluster, {"url": cluster.url})
    except Exception as error:
        _serve_clients(listener, None, {"error": str(error)})
    finally:
        Path(path).unlink(missing_ok=True)
        if cluster is not None:
            cluster.stop()


def _listen(path: str) -> socket.socket:
    Path(path).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    return listener


def is_our_own(connection: socket.socket) -> bool:
    """Whether the process at the other end is of our user. True where the kernel does not tell."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER_CREDENTIALS.size)
    _, user, _ = PEER_CREDENTIALS.unpack(credentials)
    return bool(user == os.geteuid())


def _serve_clients(listener: socket.socket, cluster: Cluster | None, reply: dict[str, str]) -> None:
    """Send `reply` to each client, until the last one has been gone for IDLE_TIMEOUT_S or PostgreSQL has exited."""
    clients = selectors.DefaultSelector()
    clients.register(listener, selectors.EVENT_READ)
    deadline = time.monotonic() + FIRST_CLIENT_TIMEOUT_S
    while len(clients.get_map()) > 1 or time.monotonic() < deadline:
        for key, _ in clients.select(0.2):
            if key.fileobj is listener:
                client = listener.accept()[0]
                if not is_our_own(client):
                    client.close()
                    continue
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
    main(Path(sys.argv[1]))
