"""What a route may ask for: the caller, a permission, the stores. All async: FastAPI runs others in threads."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.errors import Forbidden, Unauthenticated
from service.guard.ask import Guard
from service.identity.scopes import ADMIN, Scope, allows
from service.identity.tokens import BEARER_CHALLENGE, Identity
from service.plan.facts import RenderLimits
from service.routers.resources import Resources
from service.store.database import Caller, Database
from service.store.objects import ObjectStore

_bearer_scheme = HTTPBearer(
    auto_error=False, bearerFormat="JWT", scheme_name="bearer", description="`Authorization: Bearer <JWT>`"
)


async def resources(request: Request) -> Resources:
    found: Resources = request.app.state.resources
    return found


ResourcesDep = Annotated[Resources, Depends(resources)]


async def database(resources: ResourcesDep) -> Database:
    return resources.database


async def objects(resources: ResourcesDep) -> ObjectStore:
    return resources.objects


async def limits(resources: ResourcesDep) -> RenderLimits:
    return resources.limits


async def guard(request: Request) -> Guard:
    found: Guard = request.app.state.guard
    return found


async def identity(
    request: Request, _documented: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer_scheme)] = None
) -> Identity:
    """Who calls, as the authentication middleware found out."""
    found: Identity | None = getattr(request.state, "identity", None)
    if found is None:
        raise Unauthenticated("this needs a bearer token", headers={"WWW-Authenticate": BEARER_CHALLENGE})
    return found


async def caller(identity: Annotated[Identity, Depends(identity)]) -> Caller:
    """The caller as row-level security sees it."""
    return Caller(identity.subject, admin=ADMIN in identity.scopes)


def require_scope(scope: Scope) -> Callable[[Identity], Awaitable[Identity]]:
    """A dependency that answers 403 when the token lacks `scope`."""

    async def permitted(known: Annotated[Identity, Depends(identity)]) -> Identity:
        if not allows(known.scopes, scope):
            raise missing_scope_error(scope)
        return known

    return permitted


def missing_scope_error(scope: Scope) -> Forbidden:
    """A 403 that names the scope (RFC 6750, 3.1)."""
    challenge = f'{BEARER_CHALLENGE}, error="insufficient_scope", scope="{scope}"'
    return Forbidden(f"the token lacks the scope {scope}", headers={"WWW-Authenticate": challenge})


CallerDep = Annotated[Caller, Depends(caller)]
DatabaseDep = Annotated[Database, Depends(database)]
ObjectsDep = Annotated[ObjectStore, Depends(objects)]
GuardDep = Annotated[Guard, Depends(guard)]
LimitsDep = Annotated[RenderLimits, Depends(limits)]
