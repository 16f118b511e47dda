"""The outermost middleware: a log line and metrics for each request. Describes failed requests for the log."""

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs

import structlog
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.telemetry.logging import cut_text, redact_value, write_line
from service.telemetry.metrics import HTTP_REQUESTS, HTTP_SECONDS

log = logging.getLogger("service.access")
# Logged if no response was started, mostly because the client left; nginx uses the same number.
CLIENT_CLOSED_REQUEST = 499
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
# Longer paths, queries and headers are cut in the log: no route takes as much.
MAX_LOGGED_PATH, MAX_LOGGED_METHOD, MAX_LOGGED_QUERY, MAX_LOGGED_HEADER = 1024, 32, 8192, 1024
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class AccessLogMiddleware:
    """Pure ASGI. Everything that is logged during a request has its `request_id` and `trace_id`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        ids = request_ids(scope["headers"])
        scope.setdefault("state", {}).update(ids)
        status, id_header = CLIENT_CLOSED_REQUEST, (b"x-request-id", ids["request_id"].encode())

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), id_header]
            await send(message)

        bound = structlog.contextvars.bind_contextvars(**ids)
        try:
            await self.app(scope, receive, send_with_id)
        finally:
            structlog.contextvars.reset_contextvars(**bound)
            _log_and_measure(scope, ids, status, time.perf_counter() - started)


def request_ids(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """`request_id` from `X-Request-ID` if that is well-formed, `trace_id` from `traceparent`; else random ones."""
    request_id, trace = None, None
    for name, value in headers:
        if name == b"x-request-id":
            request_id = _REQUEST_ID.fullmatch(value.decode("latin-1"))
        elif name == b"traceparent":
            trace = _TRACEPARENT.fullmatch(value.decode("latin-1"))
    new = os.urandom(32).hex()
    return {"request_id": request_id[0] if request_id else new[:32], "trace_id": trace[1] if trace else new[32:]}


def _log_and_measure(scope: Scope, ids: dict[str, str], status: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path_format", None)
    is_fault = scope["state"].get("is_fault", status >= 500)
    write_line(log, logging.ERROR if is_fault else logging.INFO, _access_fields(scope, ids, status, seconds, route))
    method = scope["method"] if scope["method"] in _METHODS else "other"
    requests, latencies = _request_metrics(method, route or "unmatched", status)
    requests.inc()
    latencies.observe(seconds)


@lru_cache(maxsize=4096)
def _request_metrics(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return HTTP_REQUESTS.labels(method, route, str(status)), HTTP_SECONDS.labels(method, route)


def _access_fields(scope: Scope, ids: dict[str, str], status: int, seconds: float, route: str | None) -> dict[str, Any]:
    state, client = scope["state"], scope.get("client")
    return {
        "event": "request",
        "method": redact_value(cut_text(scope["method"], MAX_LOGGED_METHOD)),
        "path": redact_value(cut_text(scope["path"], MAX_LOGGED_PATH)),
        "route": route,
        "user": redact_value(getattr(state.get("identity"), "subject", None)),
        "status": status,
        "latency_ms": round(seconds * 1000, 2),
        "client": client[0] if client else None,
        "error_id": state.get("error_id"),
        "request_id": redact_value(ids["request_id"]),
        "trace_id": ids["trace_id"],
    }


MAX_RECORDED_BYTES = 64 * 1024
MAX_LOGGED_JSON_BYTES = 8 * 1024
# All headers that change the response, and none that carries a secret.
LOGGED_HEADERS = (
    "accept",
    "content-length",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "if-range",
    "last-event-id",
    "range",
    "traceparent",
    "user-agent",
)


class BodyRecorder:
    """Keeps the first MAX_RECORDED_BYTES of a request's body."""

    __slots__ = ("head", "size")

    def __init__(self) -> None:
        self.head, self.size = bytearray(), 0

    def add(self, chunk: bytes) -> None:
        if self.size < MAX_RECORDED_BYTES:
            self.head += chunk[: MAX_RECORDED_BYTES - self.size]
        self.size += len(chunk)

    def to_log_fields(self) -> dict[str, Any]:
        """Size and digest; of a short JSON body also the document, so that secrets are found by the names of fields."""
        digest = hashlib.sha256(self.head).hexdigest()
        fields = {
            "size": self.size,
            "sha256" if self.size <= MAX_RECORDED_BYTES else f"sha256_of_{MAX_RECORDED_BYTES}_bytes": digest,
        }
        if not 0 < self.size <= MAX_LOGGED_JSON_BYTES:
            return fields
        try:
            return fields | {"json": json.loads(self.head)}
        except (ValueError, RecursionError):
            return fields


def describe_request(scope: Scope) -> dict[str, Any]:
    """What is needed to reproduce a failed request, for the log."""
    headers, body = Headers(scope=scope), scope.get("state", {}).get("body")
    return {
        "method": scope["method"],
        "path": cut_text(scope["path"], MAX_LOGGED_PATH),
        "query": parse_qs(scope.get("query_string", b"")[:MAX_LOGGED_QUERY].decode("latin-1"), keep_blank_values=True),
        "headers": {name: headers[name][:MAX_LOGGED_HEADER] for name in LOGGED_HEADERS if name in headers},
        "body": body.to_log_fields() if body is not None and body.size else None,
    }
