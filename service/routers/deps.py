"""What a route may ask for: the caller, a permission, the stores. All async: FastAPI runs others in threads."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.errors import Forbidden, Unauthenticated
from service.guard.ask import Guard
from service.identity.scopes import ADMIN, Scope, allows
from service.identity.tokens import REALM, Identity
from service.plan.facts import RenderLimits
from service.routers.resources import Resources
from service.store.database import Caller, Database
from service.store.objects import ObjectStore

_bearer = HTTPBearer(
    auto_error=False, bearerFormat="JWT", scheme_name="bearer", description="`Authorization: Bearer <JWT>`"
)


async def resources(request: Request) -> Resources:
    found: Resources = request.app.state.resources
    return found


ResourcesDep = Annotated[Resources, Depends(resources)]


async def database(at: ResourcesDep) -> Database:
    return at.database


async def objects(at: ResourcesDep) -> ObjectStore:
    return at.objects


async def limits(at: ResourcesDep) -> RenderLimits:
    return at.limits


async def guard(request: Request) -> Guard:
    found: Guard = request.app.state.guard
    return found


async def identity(
    request: Request, _documented: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None
) -> Identity:
    """Who calls, as the authentication middleware found out."""
    found: Identity | None = getattr(request.state, "identity", None)
    if found is None:
        raise Unauthenticated("this needs a bearer token", headers={"WWW-Authenticate": REALM})
    return found


async def caller(known: Annotated[Identity, Depends(identity)]) -> Caller:
    """The caller as row-level security sees it."""
    return Caller(known.subject, admin=ADMIN in known.scopes)


def require(scope: Scope) -> Callable[[Identity], Awaitable[Identity]]:
    """A dependency that answers 403 when the token lacks `scope`."""

    async def permitted(known: Annotated[Identity, Depends(identity)]) -> Identity:
        if not allows(known.scopes, scope):
            raise missing(scope)
        return known

    return permitted


def missing(scope: Scope) -> Forbidden:
    """A 403 that names the scope (RFC 6750, 3.1)."""
    challenge = f'{REALM}, error="insufficient_scope", scope="{scope}"'
    return Forbidden(f"the token lacks the scope {scope}", headers={"WWW-Authenticate": challenge})


CallerDep = Annotated[Caller, Depends(caller)]
DatabaseDep = Annotated[Database, Depends(database)]
ObjectsDep = Annotated[ObjectStore, Depends(objects)]
GuardDep = Annotated[Guard, Depends(guard)]
LimitsDep = Annotated[RenderLimits, Depends(limits)]
