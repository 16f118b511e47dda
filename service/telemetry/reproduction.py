"""What it takes to ask the same again: kept of each request, logged with a failure. Secrets are taken out later, by
`redaction`, which the whole line goes through."""

import hashlib
import json
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import Scope

MAX_RECORDED_BYTES = 64 * 1024
MAX_LOGGED_JSON_BYTES = 8 * 1024
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
"""All that change what we answer; never those that carry secrets."""


class BodyRecorder:
    """The beginning of a request's body."""

    __slots__ = ("head", "size")

    def __init__(self) -> None:
        self.head, self.size = bytearray(), 0

    def add(self, chunk: bytes) -> None:
        if self.size < MAX_RECORDED_BYTES:
            self.head += chunk[: MAX_RECORDED_BYTES - self.size]
        self.size += len(chunk)

    def to_log_fields(self) -> dict[str, Any]:
        """Size and digest; a short JSON document also as such, so that its secrets can be found by their names."""
        digest = hashlib.sha256(self.head).hexdigest()
        facts = {
            "size": self.size,
            "sha256" if self.size <= MAX_RECORDED_BYTES else f"sha256_of_{MAX_RECORDED_BYTES}_bytes": digest,
        }
        if not 0 < self.size <= MAX_LOGGED_JSON_BYTES:
            return facts
        try:
            return facts | {"json": json.loads(self.head)}
        except (ValueError, RecursionError):
            return facts


def describe_request(scope: Scope) -> dict[str, Any]:
    """The request of `scope`, for a log line."""
    headers, body = Headers(scope=scope), scope.get("state", {}).get("body")
    return {
        "method": scope["method"],
        "path": scope["path"],
        "query": parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True),
        "headers": {name: headers[name] for name in LOGGED_HEADERS if name in headers},
        "body": body.told() if body is not None and body.size else None,
    }
