"""A small HTTP server for objects that can misbehave."""

import asyncio
import gzip
import hashlib
import threading
from collections import Counter
from collections.abc import Awaitable

from aiohttp import web


class FaultyObjectServer:
    """Serves `objects`; `faults` maps a key to the answers it gives before it serves the object."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.faults: dict[str, list[str]] = {}
        self.request_counts: Counter[str] = Counter()
        # Sent with every object.
        self.extra_headers: dict[str, str] = {}
        self.dropped: list[str] = []
        self.running = self.max_running = 0
        self.pause_s, self.ranges = 0.0, True
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.address = self._run(self._listen())

    def put(self, key: str, data: bytes) -> str:
        """Store an object; returns its etag."""
        self.objects[key] = data
        return hashlib.md5(data).hexdigest()

    def _run(self, work: Awaitable[str]) -> str:
        async def awaited() -> str:
            return await work

        return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result(10)

    async def _listen(self) -> str:
        app = web.Application()
        app.router.add_get("/{bucket}/{key:.*}", self._get)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, shutdown_timeout=0.1)
        await site.start()
        return f"127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self) -> str:
        await self._runner.cleanup()
        return ""

    def stop(self) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _get(self, request: web.Request) -> web.StreamResponse:
        key = request.match_info["key"]
        self.request_counts[key] += 1
        self.running += 1
        self.max_running = max(self.max_running, self.running)
        try:
            await asyncio.sleep(self.pause_s)
            return await self._answer(request, key)
        except asyncio.CancelledError:
            self.dropped.append(key)
            raise
        finally:
            self.running -= 1

    async def _answer(self, request: web.Request, key: str) -> web.StreamResponse:
        faults = self.faults.get(key, [])
        fault = faults.pop(0) if faults else ""
        if fault.isdecimal():
            return web.Response(status=int(fault))
        if fault == "slow":
            await asyncio.sleep(30)
        if key not in self.objects:
            return web.Response(status=404)
        data = self.objects[key]
        answer = self._part(request, data)
        if fault in ("truncated", "stalled"):
            return await self._send_half(request, answer, fault)
        if fault in DAMAGES:
            DAMAGES[fault](answer)
        return answer

    async def _send_half(self, request: web.Request, answer: web.Response, fault: str) -> web.StreamResponse:
        data = _body(answer)
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        response.content_length = len(data)
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        if fault == "stalled":
            await asyncio.sleep(30)
        assert request.transport is not None
        request.transport.close()
        return response

    def _part(self, request: web.Request, data: bytes) -> web.Response:
        headers = _etag(data) | self.extra_headers
        if "If-Match" in request.headers and request.headers["If-Match"] != headers["ETag"]:
            return web.Response(status=412)
        if "Range" not in request.headers or not self.ranges:
            return web.Response(body=data, headers=headers)
        requested = request.http_range
        if (requested.start or 0) >= len(data):
            return web.Response(status=416, headers=headers | {"Content-Range": f"bytes */{len(data)}"})
        part = data[requested]
        first = requested.start or 0
        headers["Content-Range"] = f"bytes {first}-{first + len(part) - 1}/{len(data)}"
        return web.Response(status=206, body=part, headers=headers)


def _etag(data: bytes) -> dict[str, str]:
    return {"ETag": f'"{hashlib.md5(data).hexdigest()}"'}


def _body(answer: web.Response) -> bytes:
    assert isinstance(answer.body, bytes)
    return answer.body


def _flip(answer: web.Response) -> None:
    body = bytearray(_body(answer))
    body[len(body) // 2] ^= 1
    answer.body = bytes(body)


def _shorten(answer: web.Response) -> None:
    answer.body = _body(answer)[:-7]


def _lengthen(answer: web.Response) -> None:
    answer.body = _body(answer) + bytes(7)


def _compress(answer: web.Response) -> None:
    answer.body, answer.headers["Content-Encoding"] = gzip.compress(_body(answer)), "gzip"
    answer.headers["ETag"] = f"W/{answer.headers['ETag']}"


def _answer_of_another(answer: web.Response) -> None:
    answer.body = bytes(len(_body(answer)))
    answer.headers.update(_etag(_body(answer)))


def _without_etag(answer: web.Response) -> None:
    del answer.headers["ETag"]


def _shift_range(answer: web.Response) -> None:
    answer.headers["Content-Range"] = f"bytes 7-{len(_body(answer)) + 6}/{10 * len(_body(answer))}"


def _without_range(answer: web.Response) -> None:
    answer.headers.pop("Content-Range", None)


def _swap_status(answer: web.Response) -> None:
    """206 for the whole object, 200 for a part."""
    answer.set_status(206 if answer.status == 200 else 200)


def _page_of_a_proxy(answer: web.Response) -> None:
    _without_etag(answer)
    answer.body, answer.headers["Content-Type"] = b"<html>we will be back soon</html>", "text/html"


def _empty(answer: web.Response) -> None:
    answer.body = b""


# What a server, or a proxy before it, can make of an answer.
DAMAGES = {
    "flipped": _flip,
    "short": _shorten,
    "long": _lengthen,
    "gzip": _compress,
    "empty": _empty,
    "of another": _answer_of_another,
    "no etag": _without_etag,
    "other range": _shift_range,
    "no range": _without_range,
    "other status": _swap_status,
    "page": _page_of_a_proxy,
}
