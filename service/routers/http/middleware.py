"""ASGI middleware: bearer authentication, HEAD requests, and the size limit of request bodies."""

import re

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Unauthenticated
from service.identity.tokens import TokenVerifier, invalid_token_error
from service.telemetry.request_log import BodyRecorder

# Served without a token. The last pattern is signed uploads, which carry their own grant.
PUBLIC_PATHS = re.compile(
    r"/health(/.*)?|/docs(/.*)?|/redoc(/.*)?|/openapi[^/]*\.json|/problems(/.*)?|/api/datasets/[^/]+/uploads/.+",
    re.DOTALL,
)


class Authentication:
    """Verifies the bearer token and sets `request.state.identity`. Raises Unauthenticated."""

    def __init__(self, app: ASGIApp, verifier: TokenVerifier, public: re.Pattern[str] = PUBLIC_PATHS) -> None:
        self.app, self.verifier, self.public = app, verifier, public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http" and not self.public.fullmatch(scope["path"]):
            identity = await self.verifier.verify(bearer_token(Headers(scope=scope)))
            scope.setdefault("state", {})["identity"] = identity
        await self.app(scope, receive, send)


def bearer_token(headers: Headers) -> str:
    """The bearer token of a request. Raises Unauthenticated if there is none or more than one."""
    sent = headers.getlist("authorization")
    if len(sent) > 1:
        raise invalid_token_error("invalid token")
    scheme, _, token = (sent[0] if sent else "").strip().partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("this needs a token: send the header `Authorization: Bearer <token>`")
    return token.strip()


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


class BodyLimit:
    """Limits and records request bodies. Raises HTTPException, the only error that FastAPI passes on while it reads a
    body."""

    def __init__(self, app: ASGIApp, limit: int, exempt: re.Pattern[str]) -> None:
        """`limit` in bytes; `exempt` matches the paths of routes that check the length themselves."""
        self.app, self.limit, self.exempt = app, limit, exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_exempt = self.exempt.fullmatch(scope["path"]) is not None
        self._check_length(0 if is_exempt else content_length(Headers(raw=scope["headers"])))
        body = scope.setdefault("state", {})["body"] = BodyRecorder()

        async def receive_checked() -> Message:
            message = await receive()
            body.add(message.get("body", b""))
            self._check_length(0 if is_exempt else body.size)
            return message

        await self.app(scope, receive_checked, send)

    def _check_length(self, length: int) -> None:
        if length > self.limit:
            raise HTTPException(413)


def content_length(headers: Headers) -> int:
    """Content-Length, or 0 if it is absent or malformed; then the bytes that arrive are counted."""
    value = headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else 0
