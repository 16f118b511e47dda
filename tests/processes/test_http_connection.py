"""What a client may hold of a connection, on real sockets: time, bytes and places."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from service.processes.connection_table import HANDLES_PER_CONNECTION, RESERVED_HANDLES, limit_connections
from service.processes.http_connection import TimeLimits
from service.routers.settings import HttpSettings
from service.telemetry.metrics import CONNECTIONS_CLOSED
from tests.routers.conftest import app, token
from tests.support.servers.http_server import HttpServer, RawClient, connect, http_server

pytestmark = pytest.mark.anyio
__all__ = ["app", "token"]
QUICK = TimeLimits(head_s=0.4, idle_s=0.6, body_s=0.5, read_s=0.8)
PLACES = 16
BIG = 4 * 1024 * 1024
HEALTHY = b"GET /health/live HTTP/1.1\r\nHost: reelmill\r\n\r\n"


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}  # as in production


@pytest.fixture
async def patient(app: FastAPI) -> AsyncIterator[HttpServer]:
    """A server that closes nothing because of time."""
    http = HttpSettings.model_construct(max_connections=PLACES)
    async with http_server(app, http, TimeLimits()) as server:
        yield server


@pytest.fixture
async def server(app: FastAPI) -> AsyncIterator[HttpServer]:
    @app.get("/docs/big")
    async def big() -> StreamingResponse:
        return StreamingResponse(iter([b"x" * 65536] * (BIG // 65536)))

    async with http_server(app, HttpSettings.model_construct(max_connections=PLACES), QUICK) as server:
        yield server


def count_closed(reason: str) -> float:
    return float(CONNECTIONS_CLOSED.labels(reason)._value.get())


def problem(answer: bytes) -> tuple[int, str]:
    """Status and slug; asserts that the connection is closed after it."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head and b"content-type: application/problem+json" in head
    assert json.loads(body)["status"] == int(head.split()[1])
    return int(head.split()[1]), json.loads(body)["type"].removeprefix("/problems/")


async def drip(client: RawClient, piece: bytes) -> None:
    while not client.writer.is_closing():
        client.send(piece)
        await asyncio.sleep(0.05)


async def read_while_dripping(client: RawClient, piece: bytes) -> bytes:
    dripping = asyncio.create_task(drip(client, piece))
    try:
        return await client.read_until_closed()
    finally:
        dripping.cancel()


async def test_a_head_has_to_arrive_in_time(server: HttpServer) -> None:
    client = await connect(server.port)
    client.send(b"GET /health/live HTTP/1.1\r\nHost: reelmill\r\nX-Slow: ")
    assert problem(await read_while_dripping(client, b"a")) == (408, "request-timeout")
    await server.wait_until_empty()


async def test_so_does_the_head_of_the_second_request(server: HttpServer) -> None:
    client = await connect(server.port)
    client.send(HEALTHY)
    assert (await client.read_answer()).startswith(b"HTTP/1.1 200")
    client.send(HEALTHY[:20])
    assert problem(await read_while_dripping(client, b"a")) == (408, "request-timeout")


@pytest.mark.parametrize("sent", [b"", HEALTHY])
async def test_an_idle_connection_is_closed_without_a_word(server: HttpServer, sent: bytes) -> None:
    client = await connect(server.port)
    client.send(sent)
    if sent:
        await client.read_answer()
    assert await client.read_until_closed() == b""
    await server.wait_until_empty()


def post_head(headers: dict[str, str], length: int) -> bytes:
    fields = {"Host": "reelmill", "Content-Length": str(length), "Content-Type": "application/json"} | headers
    lines = [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join(["POST /api/trials/drawings HTTP/1.1", *lines, "", ""]).encode()


async def test_a_body_has_to_make_progress(server: HttpServer, token: Callable[..., dict[str, str]]) -> None:
    client = await connect(server.port)
    client.send(post_head(token(), 100_000) + b'{"name": "')
    assert problem(await read_while_dripping(client, b"a")) == (408, "request-timeout")
    await server.wait_until_empty()


async def test_a_slow_body_that_makes_progress_is_read(
    server: HttpServer, token: Callable[..., dict[str, str]]
) -> None:
    client, body = await connect(server.port), b'{"name": "' + b"a" * 20_000 + b'"}'
    client.send(post_head(token(), len(body)))
    for start in range(0, len(body), 700):  # for three times as long as a body without progress has
        client.send(body[start : start + 700])
        await asyncio.sleep(0.05)
    assert (await client.read_answer()).startswith(b"HTTP/1.1 200")


async def test_a_body_that_nobody_wants_is_not_read_for_ever(server: HttpServer) -> None:
    client = await connect(server.port)
    client.send(post_head({}, 10**15))
    assert (await read_while_dripping(client, b"a" * 1000)).startswith(b"HTTP/1.1 401")
    await server.wait_until_empty()


async def test_who_does_not_read_is_dropped(server: HttpServer) -> None:
    before = count_closed("reader too slow")
    client = await connect(server.port, receive_buffer=4096)
    client.send(b"GET /docs/big HTTP/1.1\r\nHost: reelmill\r\n\r\n")
    await client.reader.read(1)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await server.wait_until_empty()
    assert count_closed("reader too slow") == before + 1
    client.close()


async def test_who_reads_slowly_gets_all(server: HttpServer) -> None:
    client = await connect(server.port, receive_buffer=65536)
    client.send(b"GET /docs/big HTTP/1.1\r\nHost: reelmill\r\nConnection: close\r\n\r\n")
    received = 0
    while chunk := await client.reader.read(65536):
        received += len(chunk)
        await asyncio.sleep(0.02)
    assert received > BIG


async def test_a_full_table_makes_room(patient: HttpServer) -> None:
    hostile = [await connect(patient.port) for _ in range(PLACES)]
    for client in hostile:
        client.send(HEALTHY[:-2])
    honest = []
    for _ in range(PLACES):
        honest.append(await connect(patient.port))
        honest[-1].send(HEALTHY)
        assert (await honest[-1].read_answer()).startswith(b"HTTP/1.1 200")
        assert len(patient.table) <= PLACES
    answers = await asyncio.gather(*(client.read_until_closed() for client in hostile))
    assert {problem(answer) for answer in answers} == {(503, "unavailable")}


async def test_one_address_has_a_share(patient: HttpServer) -> None:
    share = HttpSettings.model_construct(max_connections=PLACES).connections_per_address
    hostile = [await connect(patient.port, "127.0.0.7") for _ in range(3 * share)]
    for client in hostile:
        client.send(HEALTHY[:-2])
    refused = [await client.read_until_closed() for client in hostile[share:]]
    assert {problem(answer) for answer in refused} == {(503, "unavailable")}
    assert all(b"Retry-After: 5\r\n" in answer for answer in refused)
    assert len(patient.table) == share
    honest = await connect(patient.port, "127.0.0.8")
    honest.send(HEALTHY)
    assert (await honest.read_answer()).startswith(b"HTTP/1.1 200")
    hostile[0].send(b"\r\n")
    assert (await hostile[0].read_answer()).startswith(b"HTTP/1.1 200"), "one that is within the share is served"


@pytest.mark.parametrize(
    ("handles", "connections"), [(20_000, 4096), (1024, (1024 - RESERVED_HANDLES) // HANDLES_PER_CONNECTION), (64, 1)]
)
def test_connections_fit_into_the_handles_of_the_process(handles: int, connections: int) -> None:
    http = limit_connections(HttpSettings.model_construct(), handles)
    assert http.max_connections == connections
    assert http.connections_per_address <= connections and http.max_event_streams <= connections
    assert http.event_streams_per_subject <= http.max_event_streams
