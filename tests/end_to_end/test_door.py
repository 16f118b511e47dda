"""Hostile clients of a real API process, directly and through a real nginx: one request is one request, and others get in."""

import asyncio
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from service.store.database import Database
from service.store.settings import DatabaseSettings
from tests.support.data.database_rows import add_dataset, add_render
from tests.support.patience import PATIENCE_S
from tests.support.processes.api_process import ApiProcess, api_process
from tests.support.servers import nginx as proxy
from tests.support.servers.databases import fresh_database
from tests.support.servers.http_server import RawClient, connect

pytestmark = pytest.mark.anyio
HANDLES = 512
PLACES = (HANDLES - 256) // 2
# Database connections that are opened when they are needed, and stay: 15, and 3 of the health checks.
POOL = 18
HIDDEN = b"GET /health/live?hidden HTTP/1.1\r\nHost: reelmill\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(HIDDEN)
END = b"0\r\n\r\n"


@pytest.fixture(scope="module")
def api(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    with asyncio.Runner() as runner:
        fresh = fresh_database(postgres_url)
        url = runner.run(fresh.__aenter__()).url
        try:
            with api_process(url, tmp_path_factory.mktemp("api"), HANDLES, REELMILL_RATE_LIMIT="none") as api:
                yield api
        finally:
            runner.run(fresh.__aexit__(None, None, None))


def post(fields: bytes, body: bytes = b"", first: bytes = b"POST /docs HTTP/1.1") -> bytes:
    return first + b"\r\nHost: reelmill\r\n" + fields + b"\r\n" + body


# Each would be one request to one server and two to another, or is not for this server.
AMBIGUOUS = {
    "both lengths": post(CHUNKED + LENGTH, END + HIDDEN),
    "both lengths, the other way round": post(LENGTH + CHUNKED, END + HIDDEN),
    "two lengths": post(b"Content-Length: 0\r\n" + LENGTH, HIDDEN),
    "a length twice": post(LENGTH + LENGTH, HIDDEN),
    "a list of lengths": post(b"Content-Length: 0, %d\r\n" % len(HIDDEN), HIDDEN),
    "a signed length": post(b"Content-Length: +%d\r\n" % len(HIDDEN), HIDDEN),
    "another coding": post(b"Transfer-Encoding: gzip, chunked\r\n", END + HIDDEN),
    "an unknown coding": post(b"Transfer-Encoding: xchunked\r\n", END + HIDDEN),
    "two codings": post(CHUNKED + b"Transfer-Encoding: identity\r\n", END + HIDDEN),
    "a coding in HTTP/1.0": post(CHUNKED, END + HIDDEN, b"POST /docs HTTP/1.0"),
    "a folded field": post(b"X-A: b\r\n Content-Length: 5\r\n", HIDDEN),
    "a folded coding": post(b"Transfer-Encoding:\r\n chunked\r\n", END + HIDDEN),
    "a space before the colon": post(b"Content-Length : %d\r\n" % len(HIDDEN), HIDDEN),
    "a tab before the colon": post(b"Transfer-Encoding\t: chunked\r\n", END + HIDDEN),
    "a bare LF": post(b"X-A: b\nContent-Length: %d\r\n" % len(HIDDEN), HIDDEN),
    "a bare CR": post(b"X-A: b\rContent-Length: %d\r\n" % len(HIDDEN), HIDDEN),
    "only bare LF": b"GET /docs HTTP/1.1\nHost: reelmill\n\n" + HIDDEN,
    "a chunk that ends with LF": post(CHUNKED, b"0\n\r\n" + HIDDEN),
    "an LF in a chunk's extension": post(CHUNKED, b"0;a=\nb\r\n\r\n" + HIDDEN),
    "a CR in a chunk's extension": post(CHUNKED, b"0;a=\rb\r\n\r\n" + HIDDEN),
    "a signed chunk size": post(CHUNKED, b"-0\r\n\r\n" + HIDDEN),
    "a chunk size in C": post(CHUNKED, b"0x0\r\n\r\n" + HIDDEN),
    "a huge chunk size": post(CHUNKED, b"1" + b"0" * 17 + b"\r\n\r\n" + HIDDEN),
    "trailers that end with LF": post(CHUNKED, b"0\r\nX-A: b\n\n" + HIDDEN),
    "a target with a user": post(b"", HIDDEN, b"GET http://user@other.example/docs HTTP/1.1"),
    "another scheme": post(b"", HIDDEN, b"GET x://y HTTP/1.1"),
    "a tunnel": post(b"", HIDDEN, b"CONNECT other.example:443 HTTP/1.1"),
    "an asterisk": post(b"", HIDDEN, b"GET * HTTP/1.1"),
    "two hosts": post(b"Host: other.example\r\n", HIDDEN),
    "a host with a path": b"GET /docs HTTP/1.1\r\nHost: other.example/x\r\n\r\n" + HIDDEN,
    "no host": b"GET /docs HTTP/1.1\r\n\r\n" + HIDDEN,
    "a version to come": post(b"", HIDDEN, b"GET /docs HTTP/2.0"),
}


def count_answers(received: bytes) -> int:
    return len(re.findall(rb"HTTP/1\.1 \d\d\d ", received))


def exchange(port: int, sent: bytes) -> bytes:
    """Everything that is answered until the connection is closed, or kept open after an answer for the hidden request."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(sent)
        received = b""
        while count_answers(received) < 2:
            try:
                chunk = client.recv(65536)
            except ConnectionResetError:
                break
            if not chunk:
                break
            received += chunk
        return received


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"http://other.example/health/live", 200),
        (b"HTTPS://[::1]:5003/health/live?a=http://b", 200),
        (b"http://other.example/health/none", 404),
        (b"http://other.example", 401),
        (b"http://other.example?a", 401),
        (b"http:///health/live", 400),
        (b"ftp://other.example/health/live", 400),
    ],
)
def test_a_target_may_name_the_server(api: ApiProcess, target: bytes, status: int) -> None:
    """As RFC 9112 (3.2.2) demands of every server. The name is ignored."""
    received = exchange(port_of(api), b"GET " + target + b" HTTP/1.1\r\nHost: reelmill\r\nConnection: close\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 %d " % status), received


def port_of(api: ApiProcess) -> int:
    return httpx.URL(api.url).port or 0


def test_the_hidden_request_is_answered_if_it_is_not_hidden(api: ApiProcess) -> None:
    assert exchange(port_of(api), HIDDEN + HIDDEN).count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize("sent", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_an_ambiguous_request_ends_its_connection(api: ApiProcess, sent: bytes) -> None:
    received = exchange(port_of(api), sent)
    assert count_answers(received) == 1, received
    assert re.match(rb"HTTP/1.1 4\d\d ", received), received
    assert b"200 OK" not in received


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /health/live?" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET " + b"a" * 100_000, 414),
        (post(b"X-A: " + b"a" * 20_000 + b"\r\n"), 431),
        (b"GET /docs HTTP/1.1\r\nX-A: " + b"a" * 100_000, 431),
        (post(b"".join(b"X-%d: a\r\n" % number for number in range(200))), 431),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"GET x://" + b":" * 7000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ],
)
def test_the_size_of_a_head_is_bounded(api: ApiProcess, sent: bytes, status: int) -> None:
    received = exchange(port_of(api), sent)
    assert received.startswith(b"HTTP/1.1 %d " % status), received
    assert b"application/problem+json" in received and b"connection: close" in received


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/x://" + b":" * 64_000, 414),
        (b"/x://" + b":" * 4000, 401),
        (b"/" + b"eyJ" * 2500, 414),
        (b"/" + b"eyJ" * 1300, 401),
    ],
)
def test_an_address_that_once_kept_the_log_busy(api: ApiProcess, target: bytes, status: int) -> None:
    received = exchange(port_of(api), b"GET " + target + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 %d " % status), received


@pytest.fixture(scope="module")
def proxy_port(api: ApiProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    if proxy.PROGRAM is None:
        pytest.skip("needs nginx (Debian: nginx-light)")
    with proxy.nginx(tmp_path_factory.mktemp("nginx"), port_of(api)) as port:
        yield port


@pytest.mark.parametrize("sent", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_a_proxy_passes_nothing_on_that_is_hidden(api: ApiProcess, proxy_port: int, sent: bytes) -> None:
    """What nginx takes for the body of one request, the API does, too: it never answers one request more."""
    fetched = sent.replace(b"\r\nHost: reelmill\r\n", b"\r\nHost: reelmill\r\nConnection: close\r\n", 1)
    received = exchange(proxy_port, fetched)
    most = 2 if sent == AMBIGUOUS["only bare LF"] else 1  # nginx reads LF as the end of a line, and so two requests
    assert count_answers(received) <= most, received
    marked = exchange(
        proxy_port, HIDDEN.replace(b"?hidden", b"?own").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    )
    assert count_answers(marked) == 1 and marked.startswith(b"HTTP/1.1 200"), "nobody gets another's answer"


async def test_behind_a_proxy_the_forwarded_address_is_logged(api: ApiProcess, proxy_port: int) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        url = f"http://127.0.0.1:{proxy_port}/health/live?forwarded"
        answer = await client.get(url, headers={"X-Forwarded-For": "203.0.113.9", "X-Request-ID": "forwarded"})
    assert answer.status_code == 200
    assert api.wait_for_log_line(request_id="forwarded")["client"] == "127.0.0.1", "what the client wrote is dropped"


async def hostile_clients(api: ApiProcess, render: str) -> list[RawClient]:
    """Three times as many as there are places, from several addresses: four kinds in turn."""
    token = api.client("watcher").headers["Authorization"].encode()
    sent = [
        HIDDEN[:-2],
        b"POST /api/experiments HTTP/1.1\r\nHost: a\r\nAuthorization: %b\r\nContent-Length: 99\r\n\r\n{" % token,
        HIDDEN,
        b"GET /api/videos/%b/events HTTP/1.1\r\nHost: a\r\nAuthorization: %b\r\n\r\n" % (render.encode(), token),
    ]
    clients = []
    for number in range(3 * PLACES):
        clients.append(await connect(port_of(api), f"127.0.0.{number % 5 + 1}"))
        clients[-1].send(sent[number % len(sent)])
    return clients


async def first_line_received(client: RawClient) -> bytes:
    """Empty if nothing has arrived, or was lost when the server closed the connection before it had read all."""
    with suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(0.5):
            return (await client.reader.read(100)).partition(b"\r\n")[0]
    return b""


async def test_others_get_in(api: ApiProcess) -> None:
    database = Database(api.database_url, DatabaseSettings())
    async with database.service_transaction() as connection:
        render = await add_render(connection, await add_dataset(connection, 8))
    await database.close()
    before = count_handles(api)
    hostile = await hostile_clients(api, str(render))
    for _ in range(5):
        with api.client("alice") as honest:
            assert honest.get("/api/experiments").status_code == 200
            assert honest.get("/health/live").status_code == 200
    assert count_handles(api) <= before + PLACES + POOL
    kinds = set(await asyncio.gather(*(first_line_received(client) for client in hostile)))
    assert kinds >= {b"HTTP/1.1 503 Service Unavailable", b"HTTP/1.1 429 Too Many Requests", b"HTTP/1.1 200 OK"}, kinds
    closed = api.wait_for_log_line(event="connections were closed")
    assert closed["level"] == "warning" and "too many from one address" in closed["reasons"]
    for client in hostile:
        client.close()
    await wait_for_handles(api, before)


def count_handles(api: ApiProcess) -> int:
    return len(list(Path(f"/proc/{api.process.pid}/fd").iterdir()))


async def wait_for_handles(api: ApiProcess, wanted: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while count_handles(api) > wanted + POOL:
            await asyncio.sleep(0.05)


def test_the_handles_are_raised_and_told(api: ApiProcess) -> None:
    limits = api.wait_for_log_line(event="limits")
    assert (limits["file_handles"], limits["connections"]) == (HANDLES, PLACES)
