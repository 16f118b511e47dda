"""A proxy before a real S3 server, which a test tells to misbehave: everything a network and a gateway can do wrong."""

import asyncio
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Awaitable
from contextlib import suppress
from http import HTTPStatus

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from tests.support.servers.object_server import DAMAGES

# Headers of one connection, which a proxy does not pass on.
OF_CONNECTION = ("connection", "keep-alive", "transfer-encoding", "expect", "te", "upgrade")
STATUSES = ("500", "502", "503", "504", "429", "403")
# What the service can make again. Only of that a store may say that it is gone, or another: said of a frame, it is true.
MADE_AGAIN = "/segments/"
LIES = ("gone for a moment", "of another answer")
SLOW_S = 1.5
DAMAGED_ANSWERS = ("flipped", "short", "long", "empty", "of another", "page", "other range", "no etag")
MODES = (
    *STATUSES,
    *(f"{damage} answer" for damage in DAMAGED_ANSWERS),
    "gone for a moment",
    "slow",
    "silent",
    "stalled answer",
    "cut answer",
    "reset answer",
    "lost answer",
    "damaged upload",
    "reset upload",
    "refused",
)
ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>a test</Message></Error>"
CODES = {"503": "SlowDown", "403": "RequestTimeTooSkewed", "429": "TooManyRequests"}


class S3Proxy:
    """Passes requests on to `upstream` (a URL). While `misbehave` is in force, so do some of the answers."""

    def __init__(self, upstream: str, seed: int = 0) -> None:
        self._upstream, self._random = upstream, random.Random(seed)
        self.counts: Counter[str] = Counter()
        self._mode, self._share = "", 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(self._start())
        self.address = f"http://127.0.0.1:{self._port}"

    def misbehave(self, mode: str, share: float = 1.0) -> None:
        """Treat this share of the requests so, until `behave`. Raises ValueError if there is no such mode."""
        MODES.index(mode)
        self._run(self._enter(mode, share))

    def behave(self) -> None:
        """Be a good proxy again. Answers that hang are broken off."""
        self._run(self._leave())

    def stop(self) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self, work: Awaitable[None]) -> None:
        async def awaited() -> None:
            await work

        asyncio.run_coroutine_threadsafe(awaited(), self._loop).result(30)

    async def _start(self) -> None:
        self._good = asyncio.Event()
        connector = aiohttp.TCPConnector(limit=0)
        self._client = aiohttp.ClientSession(
            auto_decompress=False, connector=connector, cookie_jar=aiohttp.DummyCookieJar()
        )
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        self._port = 0
        await self._listen()

    async def _listen(self) -> None:
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await self._site.start()
        self._port = self._runner.addresses[0][1]

    async def _close(self) -> None:
        await self._leave()
        await self._runner.cleanup()
        await self._client.close()

    async def _enter(self, mode: str, share: float) -> None:
        self._mode, self._share, self._good = mode, share, asyncio.Event()
        if mode == "refused":
            await self._site.stop()
            assert self._runner.server is not None
            for connection in self._runner.server.connections:
                connection.force_close()

    async def _leave(self) -> None:
        if self._mode == "refused":
            await self._listen()
        self._mode = ""
        self._good.set()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.read()
        except (ConnectionError, web.HTTPException):
            return _reset(request)  # the client has gone
        mode = self._mode if self._random.random() < self._share else ""
        if mode and self._concerns(mode, request):
            self.counts[mode] += 1
            return await self._misbehave(mode, request, body)
        return await self._forward(request, body)

    def _concerns(self, mode: str, request: web.Request) -> bool:
        """Bodies are damaged where they are of objects: of a listing nobody could notice it."""
        is_object = request.path.count("/") > 1 and "list-type" not in request.query
        if mode.endswith("upload"):
            return request.method == "PUT" and is_object
        if mode in LIES:
            return request.method == "GET" and MADE_AGAIN in request.path
        if mode.removesuffix(" answer") in DAMAGED_ANSWERS:
            return request.method == "GET" and is_object
        return True

    async def _misbehave(self, mode: str, request: web.Request, body: bytes) -> web.StreamResponse:
        if mode in STATUSES or mode == "gone for a moment":
            return _refuse(mode if mode in STATUSES else "404")
        if mode == "silent":
            await self._good.wait()
            return _reset(request)
        if mode == "slow":
            await asyncio.sleep(self._random.uniform(0, SLOW_S))
        if mode == "reset upload":
            return _reset(request)
        if mode == "damaged upload" and body:
            body = self._flip(body)
        answer = await self._forward(request, body)
        if mode == "lost answer":
            return _reset(request)
        if mode in ("stalled answer", "cut answer", "reset answer"):
            return await self._send_half(mode, request, answer)
        if answer.status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT) and isinstance(answer.body, bytes):
            self._damage(mode.removesuffix(" answer"), answer)
        return answer

    def _damage(self, damage: str, answer: web.Response) -> None:
        if damage == "flipped" and isinstance(answer.body, bytes) and answer.body:
            answer.body = self._flip(answer.body)
        elif damage in DAMAGED_ANSWERS:
            DAMAGES[damage](answer)

    def _flip(self, data: bytes) -> bytes:
        """One bit, at another place each time: the same wrong bytes twice would be the object's own."""
        changed = bytearray(data)
        changed[self._random.randrange(len(changed))] ^= 1
        return bytes(changed)

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        headers = _without_connection(request.headers)
        url = URL(self._upstream + request.raw_path, encoded=True)
        call = self._client.request(request.method, url, headers=headers, data=body or None, allow_redirects=False)
        try:
            async with call as answer:
                data = await answer.read()
                own = _without_connection(answer.headers)
                if request.method == "HEAD":
                    return web.Response(status=answer.status, headers=own)
                own.popall("Content-Length", None)
                return web.Response(status=answer.status, headers=own, body=data)
        except aiohttp.ClientError:
            return _refuse("502")

    async def _send_half(self, mode: str, request: web.Request, answer: web.Response) -> web.StreamResponse:
        data = answer.body if isinstance(answer.body, bytes) else b""
        half = web.StreamResponse(status=answer.status, headers=answer.headers)
        if request.method != "HEAD":
            half.content_length = len(data)
        with suppress(ConnectionError):
            await half.prepare(request)
            await half.write(data[: len(data) // 2])
        if mode == "stalled answer":
            await self._good.wait()
        if mode == "reset answer":
            return _reset(request)
        if request.transport is not None:
            request.transport.close()
        return half


def _refuse(status: str) -> web.Response:
    text = ERROR.format(code=CODES.get(status, "InternalError"))
    return web.Response(status=int(status), text=text, content_type="application/xml")


def _reset(request: web.Request) -> web.Response:
    """Break the connection off, as a firewall or a dying server does."""
    if request.transport is not None:
        peer = request.transport.get_extra_info("socket")
        with suppress(OSError):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response()


def _without_connection(headers: "CIMultiDict[str] | aiohttp.typedefs.LooseHeaders") -> "CIMultiDict[str]":
    return CIMultiDict(
        (name, value) for name, value in CIMultiDict(headers).items() if name.lower() not in OF_CONNECTION
    )
