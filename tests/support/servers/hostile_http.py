"""A server that answers every request with bytes of the test's choice, and counts how many the client took."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cache

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass(slots=True)
class HostileServer:
    """`sent` counts the bytes that the operating system took; up to some MiB of them may not have been read."""

    port: int = 0
    requests: int = 0
    sent: int = 0
    pause_s: float = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"


Answer = Callable[[], Iterator[bytes]]


@asynccontextmanager
async def hostile_server(answer: Answer, pause_s: float = 0) -> AsyncIterator[HostileServer]:
    """Answers with these pieces, with a pause before each; a client that goes away ends its answer."""
    state = HostileServer(pause_s=pause_s)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            state.requests += 1
            for piece in answer():
                if state.pause_s:
                    await asyncio.sleep(state.pause_s)
                writer.write(piece)
                await writer.drain()
                state.sent += len(piece)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        state.port = server.sockets[0].getsockname()[1]
        yield state


def body(data: bytes, headers: bytes = b"") -> Answer:
    """One complete answer."""
    return lambda: iter([OK + headers + f"Content-Length: {len(data)}\r\n\r\n".encode() + data])


def endless(piece: bytes = b" " * 65536, head: bytes = CHUNKED) -> Iterator[bytes]:
    """The same piece again and again, up to 1 GiB."""
    yield head
    for _ in range((1 << 30) // len(piece)):
        yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n"


def endless_headers() -> Iterator[bytes]:
    yield OK
    for number in range(1 << 14):
        yield b"X-%d: " % number + b"x" * 65000 + b"\r\n"


@cache
def _spaces_in_gzip() -> bytes:
    compressor = zlib.compressobj(wbits=31)
    return b"".join(compressor.compress(b" " * (1 << 20)) for _ in range(64)) + compressor.flush()


def bomb() -> Iterator[bytes]:
    """64 MiB of spaces, in 64 KiB of gzip."""
    data = _spaces_in_gzip()
    yield OK + b"Content-Encoding: gzip\r\n" + f"Content-Length: {len(data)}\r\n\r\n".encode()
    yield data
