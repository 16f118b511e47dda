"""/api/session: sign in with a browser, which keeps the token in a cookie that no script can read."""

import time
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from service.identity.claims import LEEWAY_S
from service.identity.tokens import Identity, invalid_token_error
from service.routers.authentication.credentials import SIGN_IN_PATH, authenticate
from service.routers.authentication.origins import REQUEST_HEADER, require_own_page, service_origin
from service.routers.authentication.session_cookie import MAX_TOKEN_CHARACTERS, SessionCookie
from service.routers.http.dependencies import OPTIONAL_TOKEN, Resources, ResourcesDep
from service.routers.http.fields import MAX_HEADER_LENGTH
from service.routers.http.problems import error_responses

router = APIRouter(prefix="/api/session", tags=["session"])
LAST_MOMENT = datetime(9999, 12, 31, tzinfo=UTC)
EXAMPLE: dict[str, Any] = {
    "user": "camera-lab",
    "scopes": ["catalog:read", "videos:read"],
    "expires_at": "2026-03-01T22:00:00Z",
    "sign_in_url": None,
}
COOKIE_HEADER: dict[str, Any] = {
    "Set-Cookie": {"description": "The session cookie: HttpOnly, SameSite=Strict", "schema": {"type": "string"}}
}


class SignIn(BaseModel):
    """The token to sign in with."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"token": "eyJhbGciOi…"}]})
    token: str = Field(
        min_length=1,
        max_length=MAX_TOKEN_CHARACTERS,
        description="the same that the Authorization header takes; a longer one does not fit into a cookie",
    )


class Session(BaseModel):
    """Who is signed in, and what he may do until when."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    user: str | None = Field(description="the `sub` of the token; null: nobody is signed in")
    scopes: list[str] = Field(description="what the token allows; `admin` is everything")
    expires_at: datetime | None = Field(description="when the token ends, and the session with it")
    sign_in_url: str | None = Field(description="where a browser may sign in at an issuer; null: there is none")

    @classmethod
    def of(cls, identity: Identity, resources: Resources) -> Self:
        end = identity.expires_at - LEEWAY_S
        expires_at = datetime.fromtimestamp(end, UTC) if end < LAST_MOMENT.timestamp() else LAST_MOMENT
        scopes = sorted(identity.scopes)
        return cls(user=identity.subject, scopes=scopes, expires_at=expires_at, sign_in_url=sign_in_url(resources))


def sign_in_url(resources: Resources) -> str | None:
    return SIGN_IN_PATH if resources.open_id is not None else None


async def session_cookie(
    request: Request,
    resources: ResourcesDep,
    _documented: Annotated[
        str | None,
        Header(alias=REQUEST_HEADER, max_length=MAX_HEADER_LENGTH, description="`1`; without it, 403", examples=["1"]),
    ] = None,
) -> SessionCookie:
    """The cookie to set or to remove. Raises CrossSiteRequest: no other site signs anybody in or out."""
    service = service_origin(request.scope, resources.public_url)
    require_own_page(request.scope, service)
    return SessionCookie.of(service)


CookieDep = Annotated[SessionCookie, Depends(session_cookie)]


@router.post(
    "",
    status_code=201,
    summary="Sign in",
    responses=error_responses(401, 403, 503) | {201: {"headers": COOKIE_HEADER}},
    openapi_extra={"security": []},
)
async def sign_in(
    body: SignIn, cookie: CookieDep, request: Request, resources: ResourcesDep, response: Response
) -> Session:
    """Sets a cookie that browsers send instead of the Authorization header, as long as the token is good. Needs the
    `Origin` header of a page of this service, as do all requests with the cookie that change something."""
    token = body.token.strip()
    identity = request.state.identity = await resources.verifier.verify(token)
    lifetime_s = int(identity.expires_at - LEEWAY_S - time.time())
    if lifetime_s <= 0:
        raise invalid_token_error("token expired")
    response.headers["Set-Cookie"] = cookie.to_header(token, lifetime_s)
    response.headers["Cache-Control"] = "no-store"
    return Session.of(identity, resources)


@router.get("", summary="Who is signed in?", openapi_extra=OPTIONAL_TOKEN)
async def current_session(request: Request, resources: ResourcesDep, response: Response) -> Session:
    """Whom the cookie, or the Authorization header, belongs to. Nobody, if there is neither; 401 if it has ended."""
    response.headers["Cache-Control"] = "no-store"
    identity = await authenticate(request.scope, resources.verifier, resources.public_url)
    if identity is None:
        return Session(user=None, scopes=[], expires_at=None, sign_in_url=sign_in_url(resources))
    request.state.identity = identity
    return Session.of(identity, resources)


@router.delete("", status_code=204, summary="Sign out", responses=error_responses(403), openapi_extra={"security": []})
async def sign_out(cookie: CookieDep, response: Response) -> None:
    """Removes the cookie. The token itself is good until it ends: whoever has a copy may still use it."""
    response.headers["Set-Cookie"] = cookie.to_clearing_header()
