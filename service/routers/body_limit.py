"""No request body is read beyond a limit."""

import re

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """Pure ASGI. Raises HTTPException, the one error that FastAPI lets out of its reading of the body."""

    def __init__(self, app: ASGIApp, limit: int, streamed: re.Pattern[str]) -> None:
        """`streamed` are the paths whose routes count for themselves: uploads, which are never held in memory."""
        self.app, self.limit, self.streamed = app, limit, streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._counts_for_itself(scope):
            await self.app(scope, receive, send)
            return
        self._check(announced_length(Headers(scope=scope)))
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            self._check(read)
            return message

        await self.app(scope, counted, send)

    def _counts_for_itself(self, scope: Scope) -> bool:
        return scope["method"] == "PUT" and self.streamed.fullmatch(scope["path"]) is not None

    def _check(self, length: int) -> None:
        if length > self.limit:
            raise HTTPException(413)


def announced_length(headers: Headers) -> int:
    """Content-Length, or 0 when it is absent or nonsense (the count of what arrives decides then)."""
    value = headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else 0
