"""Connections that hold what they can of a server and give nothing back, in a process of their own."""

import asyncio
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection

KINDS = ("half head", "half body", "idle", "events", "unread")
# Loopback addresses from which they come. 127.0.0.1 is left to honest clients.
ADDRESSES = tuple(f"127.0.0.{number}" for number in range(2, 22))
# A client that was closed comes back after this time: they hold what they can, and do not compete in requests a second.
RETURN_S = 5.0
CONNECT_TIMEOUT_S = 10.0
SMALL_BUFFER = 4096


@dataclass(frozen=True, slots=True)
class Attack:
    """What is attacked. `token` is one subject's, who may follow `render`."""

    port: int
    token: str
    render: str
    connections: int

    def request(self, kind: str) -> bytes:
        """What a client of this kind sends."""
        secret = f"Host: a\r\nAuthorization: Bearer {self.token}\r\n"
        requests = {
            "half head": "GET /api/experiments HTTP/1.1\r\nHost: a\r\nX-Half: ",
            "half body": f"POST /api/experiments HTTP/1.1\r\n{secret}Content-Length: 999\r\n\r\n{{",
            "idle": "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n",
            "events": f"GET /api/videos/{self.render}/events HTTP/1.1\r\n{secret}\r\n",
            "unread": "GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 20,
        }
        return requests[kind].encode()


@contextmanager
def hostile_crowd(attack: Attack) -> Iterator[None]:
    """Keep as many connections open as the server allows, until the end of the block."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    crowd = context.Process(target=_run, args=(attack, theirs), daemon=True)
    crowd.start()
    theirs.close()
    try:
        ours.recv()  # once each has connected for the first time
        yield
    finally:
        crowd.terminate()
        crowd.join()


def _run(attack: Attack, ready: Connection) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_Crowd(attack).run(ready))


class _Crowd:
    def __init__(self, attack: Attack) -> None:
        self.attack = attack
        self.connected: set[int] = set()
        self.all_connected = asyncio.Event()

    async def run(self, ready: Connection) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self.attack.connections):
                group.create_task(self._hold(number))
            await self.all_connected.wait()
            ready.send(True)

    async def _hold(self, number: int) -> None:
        """Connect, send, and wait until the server closes; then again."""
        await asyncio.sleep(number / 2000)  # not all at once: the kernel would drop most
        kind = KINDS[number % len(KINDS)]
        while True:
            with suppress(OSError, TimeoutError):
                await self._connect_once(kind, ADDRESSES[number % len(ADDRESSES)], number)
            self._count(number)
            await asyncio.sleep(RETURN_S)

    def _count(self, number: int) -> None:
        self.connected.add(number)
        if len(self.connected) == self.attack.connections:
            self.all_connected.set()

    async def _connect_once(self, kind: str, address: str, number: int) -> None:
        client = socket.socket()
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        client.bind((address, 0))
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.sock_connect(client, ("127.0.0.1", self.attack.port))
                await loop.sock_sendall(client, self.attack.request(kind))
            self._count(number)
            if kind == "unread":
                await asyncio.sleep(3600)
            while await loop.sock_recv(client, 65536):
                pass
        finally:
            client.close()
