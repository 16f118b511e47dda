"""ASGI middleware: HEAD requests, and the size limits of addresses and request bodies."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.routers.http.exception_mapping import TargetTooLong
from service.telemetry.request_log import BodyRecorder

# An upload's name of 700 bytes, percent-encoded, after its dataset.
MAX_PATH_BYTES = 4096
# A cursor or a grant of 4000 characters, a filter of 200 characters of another script, and what else a list takes.
MAX_QUERY_BYTES = 16 * 1024


class HeadAsGet:
    """Answers HEAD with the headers of GET. Runs inside the access log, which records the original method."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        scope["method"], response = "GET", _HeadResponse(receive, send)
        try:
            await self.app(scope, response.receive, response.send)
        finally:
            scope["method"] = "HEAD"


class _HeadResponse:
    """Forwards the response headers and ends the response. The route then sees a disconnect, so that streams stop."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._started = False

    async def receive(self) -> Message:
        return {"type": "http.disconnect"} if self._started else await self._receive()

    async def send(self, message: Message) -> None:
        if message["type"] != "http.response.start" or self._started:
            return
        self._started = True
        await self._send(message)
        await self._send({"type": "http.response.body", "body": b""})


class UrlLimit:
    """Refuses addresses that are longer than any route takes, before anything reads them. Raises TargetTooLong."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if len(scope.get("raw_path") or b"") > MAX_PATH_BYTES:
                raise TargetTooLong(f"the path may have {MAX_PATH_BYTES} bytes")
            if len(scope.get("query_string") or b"") > MAX_QUERY_BYTES:
                raise TargetTooLong(f"the query may have {MAX_QUERY_BYTES} bytes: leave out what is not documented")
        await self.app(scope, receive, send)


@dataclass(frozen=True, slots=True)
class BodyRule:
    """The longest body, in bytes, of the requests to these paths; None: the route itself checks the length."""

    paths: "re.Pattern[str]"
    limit: int | None


class BodyLimit:
    """Limits and records request bodies. Raises HTTPException, the only error that FastAPI passes on while it reads a
    body."""

    def __init__(self, app: ASGIApp, limit: int, rules: Sequence[BodyRule]) -> None:
        """`limit` in bytes, for all paths without a rule."""
        self.app, self.limit, self.rules = app, limit, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        rule = next((rule for rule in self.rules if rule.paths.fullmatch(scope["path"])), None)
        limit = self.limit if rule is None else rule.limit
        _check_length(content_length(Headers(raw=scope["headers"])), limit)
        body = scope.setdefault("state", {})["body"] = BodyRecorder()

        async def receive_checked() -> Message:
            message = await receive()
            body.add(message.get("body", b""))
            _check_length(body.size, limit)
            return message

        await self.app(scope, receive_checked, send)


def _check_length(length: int, limit: int | None) -> None:
    if limit is not None and length > limit:
        raise HTTPException(413, f"this operation takes a body of at most {limit} bytes")


def content_length(headers: Headers) -> int:
    """Content-Length, or 0 if it is absent or malformed; then the bytes that arrive are counted."""
    value = headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else 0
