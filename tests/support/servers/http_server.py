"""An application on a real socket of this process, under the server of the API, and a client that sends raw bytes."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from fastapi import FastAPI

from service.processes.api import GracefulServer, uvicorn_config
from service.processes.connection_table import ConnectionTable
from service.processes.http_connection import TimeLimits
from service.routers.settings import HttpSettings

ANSWER_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class RawClient:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def read_answer(self) -> bytes:
        """One answer that has a Content-Length."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += await self.reader.readexactly(1)
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            return head + await self.reader.readexactly(length)

    async def read_until_closed(self) -> bytes:
        """Everything until the server closes the connection, in which way ever."""
        received = b""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            with suppress(ConnectionError):
                while chunk := await self.reader.read(65536):
                    received += chunk
        return received

    def close(self) -> None:
        self.writer.close()


async def connect(port: int, source: str = "127.0.0.1", receive_buffer: int = 0) -> RawClient:
    """A connection to 127.0.0.1 from an address of this machine, with this SO_RCVBUF if it is not 0."""
    client = socket.socket()
    client.setblocking(False)
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.bind((source, 0))
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    return RawClient(*await asyncio.open_connection(sock=client, limit=1024))


@dataclass(frozen=True)
class HttpServer:
    """A server that runs until the end of the test."""

    port: int
    table: ConnectionTable

    async def wait_until_empty(self) -> None:
        await self.wait_for(0)

    async def wait_for(self, connections: int) -> None:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while len(self.table) != connections:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def http_server(app: FastAPI, http: HttpSettings, times: TimeLimits) -> AsyncIterator[HttpServer]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn_config(app, http, times)
    server = GracefulServer(config, asyncio.Event())
    running = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        assert not running.done()
        await asyncio.sleep(0.01)
    try:
        yield HttpServer(listener.getsockname()[1], config.http.keywords["table"])  # type: ignore[union-attr]
    finally:
        server.should_exit = True
        await running
