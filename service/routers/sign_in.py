"""/api/session/oidc: sign in at an OpenID Connect issuer. A browser goes there and comes back; no page sees a token."""

import secrets
from dataclasses import astuple
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Query, Request, Response

from service.errors import NotFound
from service.identity.openid import SESSION_TTL, OpenIdSignIn, SignInFailed, SignInFlow
from service.routers.authentication.credentials import SIGN_IN_PATH
from service.routers.authentication.origins import service_origin
from service.routers.authentication.session_cookie import SessionCookie
from service.routers.http.dependencies import Resources, ResourcesDep
from service.routers.http.problems import error_responses

log = structlog.get_logger("service.sign_in")
router = APIRouter(prefix=SIGN_IN_PATH, tags=["session"])
# How long somebody may take at the issuer.
FLOW_LIFETIME_S = 600
# Together with the path they fit into a request line.
MAX_CODE, MAX_PARAMETER = 4000, 500
REDIRECT: dict[int | str, dict[str, Any]] = {
    303: {"description": "Go on there", "headers": {"Location": {"schema": {"type": "string"}}}}
}


async def open_id(resources: ResourcesDep) -> OpenIdSignIn:
    """Raises NotFound."""
    if resources.open_id is None:
        raise NotFound("there is no issuer to sign in at (OIDC_ISSUER)")
    return resources.open_id


OpenIdDep = Annotated[OpenIdSignIn, Depends(open_id)]
Parameter = Annotated[str | None, Query(max_length=MAX_PARAMETER)]


@router.get(
    "",
    status_code=303,
    response_class=Response,
    summary="Sign in at the issuer",
    responses=REDIRECT | error_responses(404),
    openapi_extra={"security": []},
)
async def start_sign_in(open_id: OpenIdDep, request: Request, resources: ResourcesDep) -> Response:
    """Sends the browser to the OpenID Connect issuer, which sends it back to `/api/session/oidc/callback`."""
    flow = SignInFlow.start()
    try:
        address = await open_id.issuer.authorization_url(flow, _callback_address(request, resources))
    except SignInFailed as failure:
        return _failure_response(failure)
    cookie = SessionCookie.of_sign_in(service_origin(request.scope, resources.public_url))
    return _redirect(address, cookie.to_header(".".join(astuple(flow)), FLOW_LIFETIME_S))


@router.get(
    "/callback",
    status_code=303,
    response_class=Response,
    summary="Come back from the issuer",
    responses=REDIRECT | error_responses(404),
    openapi_extra={"security": []},
)
async def finish_sign_in(
    open_id: OpenIdDep,
    request: Request,
    resources: ResourcesDep,
    code: Annotated[str | None, Query(max_length=MAX_CODE)] = None,
    state: Parameter = None,
    iss: Parameter = None,
    error: Parameter = None,
) -> Response:
    """Sets the session cookie and goes on to `/`; to `/#sign-in=` and the reason if that is not possible: `refused` (by
    the issuer, or no group of the user may anything), `stale` (begin again), `invalid` or `unavailable`."""
    service = service_origin(request.scope, resources.public_url)
    sign_in_cookie = SessionCookie.of_sign_in(service)
    try:
        flow = _read_flow(sign_in_cookie.read(request.headers), state)
        if error is not None or code is None:
            raise SignInFailed("refused", "the issuer refused")
        if iss not in (None, open_id.issuer.address):
            raise SignInFailed("invalid", "another issuer answered")
        token = await open_id.finish(code, flow, _callback_address(request, resources))
    except SignInFailed as failure:
        return _failure_response(failure)
    session = SessionCookie.of(service).to_header(token, int(SESSION_TTL.total_seconds()))
    return _redirect("/", session, sign_in_cookie.to_clearing_header())


def _callback_address(request: Request, resources: Resources) -> str:
    """What the issuer has to know as an address of this service."""
    host = f"{request.scope['scheme']}://{request.headers.get('host', '')}"
    return f"{resources.public_url or host}{SIGN_IN_PATH}/callback"


def _read_flow(values: list[str], state: str | None) -> SignInFlow:
    """What the browser has kept. Raises SignInFailed unless it is the browser that began."""
    parts = values[0].split(".") if len(values) == 1 else []
    if len(parts) != 3 or not all(parts) or not secrets.compare_digest(parts[0].encode(), (state or "").encode()):
        raise SignInFailed("stale", "this browser has not begun to sign in, or it is long ago")
    return SignInFlow(*parts)


def _failure_response(failure: SignInFailed) -> Response:
    log.warning("sign-in failed", kind=failure.reason, reason=str(failure))
    return _redirect(f"/#sign-in={failure.reason}")


def _redirect(address: str, *cookies: str) -> Response:
    response = Response(status_code=303, headers={"Location": address, "Cache-Control": "no-store"})
    for cookie in cookies:
        response.headers.append("Set-Cookie", cookie)
    return response
