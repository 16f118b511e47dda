"""The middleware that authenticates requests: by the Authorization header, or else by the session cookie."""

import base64
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Unauthenticated
from service.identity.tokens import Identity, TokenVerifier, invalid_token_error
from service.routers.authentication.origins import require_own_page, service_origin
from service.routers.authentication.session_cookie import SessionCookie

# Served without a token. The session judges its requests itself; the last pattern is signed uploads, which carry their
# own grant. The page at / is public for browsers: see `asks_for_page`.
PUBLIC_PATHS = re.compile(
    r"/studio/.+|/health(/.*)?|/docs(/.*)?|/redoc(/.*)?|/openapi[^/]*\.json|/problems(/.*)?|/api/session(/oidc(/callback)?)?"
    r"|/api/datasets/[^/]+/uploads/.+",
    re.DOTALL,
)
# In an Accept header, without a weight of zero.
HTML = re.compile(r"\btext/html\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", re.IGNORECASE)
# Stores that send notifications can often send a name and a password only, as part of the address.
EVENTS_PATH = "/api/events/s3"
SIGN_IN_PATH = "/api/session/oidc"


class Authentication:
    """Verifies the token and sets `request.state.identity`. Raises Unauthenticated, CrossSiteRequest."""

    def __init__(
        self, app: ASGIApp, verifier: TokenVerifier, public_url: str = "", public: re.Pattern[str] = PUBLIC_PATHS
    ) -> None:
        self.app, self.verifier, self.public_url, self.public = app, verifier, public_url, public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http" or self.public.fullmatch(scope["path"]) or asks_for_page(scope):
            await self.app(scope, receive, send)
            return
        identity = await authenticate(scope, self.verifier, self.public_url)
        if identity is None:
            raise Unauthenticated("this needs a token: send the header `Authorization: Bearer <token>`")
        scope.setdefault("state", {})["identity"] = identity
        await self.app(scope, receive, send if has_bearer_token(scope) else _for_own_pages(send))


def asks_for_page(scope: Scope) -> bool:
    """Whether a browser wants the page at `/`. Clients that take JSON, or anything, are answered as anywhere else."""
    accepted = ",".join(Headers(scope=scope).getlist("accept"))
    return scope["method"] == "GET" and scope["path"] == "/" and HTML.search(accepted) is not None


async def authenticate(scope: Scope, verifier: TokenVerifier, public_url: str) -> Identity | None:
    """The caller, by the Authorization header, or if there is none by the session cookie; None without either.

    Raises Unauthenticated, ServiceUnavailable, and for a cookie also CrossSiteRequest.
    """
    headers = Headers(scope=scope)
    if has_bearer_token(scope):
        password = basic_password(headers) if scope["path"] == EVENTS_PATH else None
        return await verifier.verify(password or bearer_token(headers))
    service = service_origin(scope, public_url)
    cookie = SessionCookie.of(service)
    tokens = cookie.read(headers)
    if not tokens:
        return None
    if len(tokens) > 1:
        raise _session_error(cookie, "there are two session cookies: delete those of this host in the browser")
    try:
        identity = await verifier.verify(tokens[0])
    except Unauthenticated as reason:
        raise _session_error(cookie, "your session has ended: sign in again") from reason
    require_own_page(scope, service)
    return identity


def has_bearer_token(scope: Scope) -> bool:
    """Whether a request has an Authorization header, good or not. Its cookie does not count then."""
    return "authorization" in Headers(scope=scope)


def bearer_token(headers: Headers) -> str:
    """The token of the Authorization header. Raises Unauthenticated if it has none, or there are several."""
    sent = headers.getlist("authorization")
    if len(sent) > 1:
        raise invalid_token_error("invalid token")
    scheme, _, token = (sent[0] if sent else "").strip().partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("this needs a token: send the header `Authorization: Bearer <token>`")
    return token.strip()


def basic_password(headers: Headers) -> str | None:
    """The password of an Authorization header of the scheme Basic (RFC 7617); None if it has no such one."""
    scheme, _, encoded = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() != "basic" or len(headers.getlist("authorization")) > 1:
        return None
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode().partition(":")[2]
    except ValueError:
        return None


def _session_error(cookie: SessionCookie, detail: str) -> Unauthenticated:
    """The 401 for a cookie that does not count, which the browser then removes."""
    error = invalid_token_error(detail)
    error.headers["Set-Cookie"] = cookie.to_clearing_header()
    return error


def _for_own_pages(send: Send) -> Send:
    """Tells browsers to show the answer to pages of this service only, also where they send no Sec-Fetch-Site."""

    async def send_with_policy(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["Cross-Origin-Resource-Policy"] = "same-origin"
        await send(message)

    return send_with_policy
