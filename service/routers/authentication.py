"""Deny by default: without a valid bearer token only the public paths are served."""

import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Unauthenticated
from service.identity.tokens import BEARER_CHALLENGE, TokenVerifier, invalid_token_error

PUBLIC_PATHS = re.compile(
    r"/health(/.*)?|/docs(/.*)?|/redoc(/.*)?|/openapi[^/]*\.json|/problems(/.*)?|/api/datasets/[^/]+/uploads/.+",
    re.DOTALL,
)
"""The last one is the address of a signed upload, which carries its own grant."""


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
