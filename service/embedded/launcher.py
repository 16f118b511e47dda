"""The process that runs the embedded PostgreSQL while any client is connected to the launcher.

When a client dies, however it dies, the kernel closes its connection. A PostgreSQL that dies or hangs is started again,
at the same address. A client that gets no answer to a ping may kill the launcher and start another one.
"""

import fcntl
import json
import os
import selectors
import signal
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from service.embedded.cluster import SOCKET_FOLDER, Cluster, EmbeddedPostgresError
from service.private_files import FILE_MODE, PRIVATE_UMASK, private_folder

IDLE_TIMEOUT_S = 1.0
FIRST_CLIENT_TIMEOUT_S = 20.0
# How often PostgreSQL is looked at, and for how long it may answer nobody.
CHECK_INTERVAL_S, HANG_TIMEOUT_S = 1.0, 10.0
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
    """PostgreSQL is a child of this thread: it gets a signal when the thread that started it ends."""
    listener = _listen(path)
    clients = Clients(listener)
    serving = threading.Thread(target=clients.serve, daemon=True)
    serving.start()
    cluster: Cluster | None = None
    try:
        cluster = Cluster(folder)
        cluster.prepare()
        cluster.start()
        clients.reply({"url": cluster.url})
        _keep_running(cluster, clients, serving)
    except Exception as error:
        if clients.have_left:  # those who ask again are told
            clients = Clients(listener)
            serving = threading.Thread(target=clients.serve, daemon=True)
            serving.start()
        clients.reply({"error": str(error)})
        serving.join()
    finally:
        Path(path).unlink(missing_ok=True)
        if cluster is not None:
            cluster.stop()


def _keep_running(cluster: Cluster, clients: "Clients", serving: threading.Thread) -> None:
    """Until the last client has left. Raises EmbeddedPostgresError if PostgreSQL does not start again."""
    url = cluster.url
    answered_at = time.monotonic()
    while serving.is_alive():
        serving.join(CHECK_INTERVAL_S)
        if cluster.is_answering():
            answered_at = time.monotonic()
        elif not cluster.is_running or time.monotonic() - answered_at > HANG_TIMEOUT_S:
            try:
                cluster.restart()
            except EmbeddedPostgresError:
                clients.leave()  # they ask again, and are told why
                raise
            answered_at = time.monotonic()
            if cluster.url != url:
                clients.leave()
                return


def _listen(path: str) -> socket.socket:
    Path(path).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    return listener


def peer_credentials(connection: socket.socket) -> tuple[int, int] | None:
    """Process and user at the other end; None where the kernel does not tell."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER_CREDENTIALS.size)
    process, user, _ = PEER_CREDENTIALS.unpack(credentials)
    return int(process), int(user)


def is_our_own(connection: socket.socket) -> bool:
    """Whether the process at the other end is of our user. True where the kernel does not tell."""
    credentials = peer_credentials(connection)
    return credentials is None or credentials[1] == os.geteuid()


class Clients:
    """The connections of the clients. Each gets the reply, spaces until there is one, and back what it sends."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener, self._reply = listener, b""
        self._waiting: list[socket.socket] = []
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._leaving = threading.Event()
        self._left = threading.Event()

    def reply(self, reply: dict[str, str]) -> None:
        """What the clients wait for."""
        self._reply = json.dumps(reply).encode() + b"\n"

    def serve(self) -> None:
        """Until the last client has been gone for IDLE_TIMEOUT_S, or until `leave`."""
        deadline = time.monotonic() + FIRST_CLIENT_TIMEOUT_S
        while not self._leaving.is_set() and (self._has_clients() or time.monotonic() < deadline):
            for key, _ in self._selector.select(0.2):
                self._accept() if key.fileobj is self._listener else self._echo(key.fileobj)  # type: ignore[arg-type]
            self._answer_waiting()
            if self._has_clients():
                deadline = time.monotonic() + IDLE_TIMEOUT_S
        for key in list(self._selector.get_map().values()):
            if key.fileobj is not self._listener:
                self._drop(key.fileobj)  # type: ignore[arg-type]
        self._left.set()

    @property
    def have_left(self) -> bool:
        """Whether `serve` has ended."""
        return self._left.is_set()

    def leave(self) -> None:
        """Close all connections, from another thread."""
        self._leaving.set()
        self._left.wait()

    def _has_clients(self) -> bool:
        return len(self._selector.get_map()) > 1

    def _accept(self) -> None:
        client = self._listener.accept()[0]
        if not is_our_own(client):
            client.close()
            return
        client.setblocking(False)
        self._waiting.append(client)
        self._selector.register(client, selectors.EVENT_READ)

    def _answer_waiting(self) -> None:
        """A space says that PostgreSQL is being started, and that this process does not hang."""
        reply = self._reply
        for client in self._waiting:
            with suppress(OSError):  # it has left already: its end is read next
                client.sendall(reply or b" ")
        if reply:
            self._waiting.clear()

    def _echo(self, client: socket.socket) -> None:
        try:
            data = client.recv(64)
            if data:
                client.sendall(data)
                return
        except OSError:
            pass
        self._drop(client)

    def _drop(self, client: socket.socket) -> None:
        self._selector.unregister(client)
        if client in self._waiting:
            self._waiting.remove(client)
        client.close()


if __name__ == "__main__":
    os.chdir("/")
    main(Path(sys.argv[1]))
