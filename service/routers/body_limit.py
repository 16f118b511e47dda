"""No request body is read beyond a limit; its beginning is kept for the log line of a failure."""

import re

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.telemetry.reproduction import BodyRecorder


class BodyLimit:
    """Pure ASGI. Raises HTTPException, the one error that FastAPI lets out of its reading of the body."""

    def __init__(self, app: ASGIApp, limit: int, exempt: re.Pattern[str]) -> None:
        """`exempt`: paths of routes that have a limit of their own."""
        self.app, self.limit, self.exempt = app, limit, exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        free = self.exempt.fullmatch(scope["path"]) is not None
        self._check_length(0 if free else content_length(Headers(raw=scope["headers"])))
        record = scope.setdefault("state", {})["body"] = BodyRecorder()

        async def counted() -> Message:
            message = await receive()
            record.add(message.get("body", b""))
            self._check_length(0 if free else record.size)
            return message

        await self.app(scope, counted, send)

    def _check_length(self, length: int) -> None:
        if length > self.limit:
            raise HTTPException(413)


def content_length(headers: Headers) -> int:
    """Content-Length, or 0 when it is absent or nonsense (the count of what arrives decides then)."""
    value = headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else 0
