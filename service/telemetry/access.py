"""The outermost middleware: one JSON line, one request id and one measurement for every request."""

import os
import re
import time
import uuid
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.telemetry.metrics import HTTP_REQUESTS, HTTP_SECONDS

log = structlog.get_logger("service.access")
CLIENT_WENT_AWAY = 499
"""Logged when no response was started; nginx's number for it."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class AccessLog:
    """Pure ASGI. What runs inside logs with the same `request_id` and `trace_id`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        ids = request_ids(Headers(scope=scope))
        scope.setdefault("state", {}).update(ids)
        status = CLIENT_WENT_AWAY

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = ids["request_id"]
            await send(message)

        with structlog.contextvars.bound_contextvars(**ids):
            try:
                await self.app(scope, receive, answer)
            finally:
                _record(scope, status, time.perf_counter() - started)


def request_ids(headers: Headers) -> dict[str, str]:
    """`request_id` from `X-Request-ID` when it is a plain word, `trace_id` from `traceparent`; new ones otherwise."""
    wanted = headers.get("x-request-id", "")
    traced = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    return {
        "request_id": wanted if _REQUEST_ID.fullmatch(wanted) else uuid.uuid4().hex,
        "trace_id": traced[1] if traced else os.urandom(16).hex(),
    }


def _record(scope: Scope, status: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path_format", None)
    line = _line(scope, status, seconds) | {"route": route}
    (log.error if status >= 500 else log.info)("request", **line)
    method = scope["method"] if scope["method"] in _METHODS else "other"
    HTTP_REQUESTS.labels(method, route or "unmatched", str(status)).inc()
    HTTP_SECONDS.labels(method, route or "unmatched").observe(seconds)


def _line(scope: Scope, status: int, seconds: float) -> dict[str, Any]:
    state, client = scope["state"], scope.get("client")
    return {
        "method": scope["method"],
        "path": scope["path"],
        "user": getattr(state.get("identity"), "subject", None),
        "status": status,
        "latency_ms": round(seconds * 1000, 2),
        "client": client[0] if client else None,
        "error_id": state.get("error_id"),
    }
