"""ASGI middleware: bearer authentication, HEAD answered as GET, and the limit on request bodies."""

import re

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Unauthenticated
from service.identity.tokens import BEARER_CHALLENGE, TokenVerifier, invalid_token_error
from service.telemetry.request_log import BodyRecorder

# The last one is the address of a signed upload, which carries its own grant.
PUBLIC_PATHS = re.compile(
    r"/health(/.*)?|/docs(/.*)?|/redoc(/.*)?|/openapi[^/]*\.json|/problems(/.*)?|/api/datasets/[^/]+/uploads/.+",
    re.DOTALL,
)


class Authentication:
    """Pure ASGI. Leaves the Identity in `request.state.identity`; raises Unauthenticated for the problem boundary."""

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
    """The one token of the request; raise Unauthenticated when there is none, or several."""
    sent = headers.getlist("authorization")
    if len(sent) > 1:
        raise invalid_token_error("invalid token")
    scheme, _, token = (sent[0] if sent else "").strip().partition(" ")
    if scheme.lower() != "bearer":
        detail = "this needs a token: send the header `Authorization: Bearer <token>`"
        raise Unauthenticated(detail, headers={"WWW-Authenticate": BEARER_CHALLENGE})
    return token.strip()


class HeadAsGet:
    """Pure ASGI, inside of the access log, which is told what was asked for."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        scope["method"], answer = "GET", _HeadResponse(receive, send)
        try:
            await self.app(scope, answer.receive, answer.send)
        finally:
            scope["method"] = "HEAD"


class _HeadResponse:
    """Lets the beginning of an answer through and ends it there; to the route the client has then gone away, so that
    no stream goes on for nobody."""

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
