"""The open resources of the process, and the FastAPI dependencies that pass them to routes. All dependencies are
async, because FastAPI runs sync ones in threads.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from service.agent.settings import AgentSettings
from service.errors import Forbidden, Unauthenticated
from service.guard.guard import Guard
from service.guard.settings import GuardSettings
from service.identity.claims import ADMIN, Scope, allows
from service.identity.openid import OpenIdSignIn
from service.identity.tokens import BEARER_CHALLENGE, Identity, TokenVerifier
from service.plan.facts import RenderLimits
from service.routers.authentication.origins import REQUEST_HEADER, REQUEST_HEADER_VALUE
from service.routers.authentication.session_cookie import COOKIE_NAME
from service.routers.http.single_flight import SharedTasks
from service.routers.settings import CatalogSettings, HttpSettings
from service.store.database import Caller, Database
from service.store.objects.object_store import ObjectStore
from service.store.settings import ObjectSettings, StorageLimits
from service.store.source_rules import SourceRules
from service.webhooks.settings import WebhookSettings


@dataclass(frozen=True, slots=True)
class Resources:
    """Open connections and settings of the process. The application closes the connections when it stops."""

    database: Database
    objects: ObjectStore
    verifier: TokenVerifier
    version: str
    ollama_host: str | None = None
    # Where clients reach this API, without a slash at the end; empty: addresses in responses have no host.
    public_url: str = ""
    # Where browsers may sign in.
    open_id: OpenIdSignIn | None = None
    http: HttpSettings = field(default_factory=HttpSettings)
    catalog: CatalogSettings = field(default_factory=CatalogSettings)
    sources: SourceRules = field(default_factory=lambda: ObjectSettings().source_rules)
    limits: RenderLimits = field(default_factory=RenderLimits)
    storage: StorageLimits = field(default_factory=StorageLimits)
    queries: GuardSettings = field(default_factory=GuardSettings)
    agent: AgentSettings = field(default_factory=AgentSettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    # Videos whose bytes are being compared with their digests.
    video_checks: SharedTasks[UUID, None] = field(default_factory=SharedTasks)
    # Of files of archives, which are in memory meanwhile, by all uploads together.
    archive_writes: asyncio.Semaphore = field(default_factory=partial(asyncio.Semaphore, 32))
    # Set when the process begins to stop. Event streams, which have no end of their own, end then.
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


_bearer_scheme = HTTPBearer(
    auto_error=False, bearerFormat="JWT", scheme_name="bearer", description="`Authorization: Bearer <JWT>`"
)
_session_scheme = APIKeyCookie(
    auto_error=False,
    name=COOKIE_NAME,
    scheme_name="session",
    description="The cookie of a browser that has signed in (`POST /api/session`). At a port other than 80 and 443 its "
    "name has the port at its end, and over https `__Host-` before it. Methods other than GET, HEAD and OPTIONS also "
    f"need the header `{REQUEST_HEADER}: {REQUEST_HEADER_VALUE}` and the `Origin` of this service. An Authorization "
    "header goes before it.",
)
# For OpenAPI, of routes without the dependency `identity`.
NEEDS_TOKEN: dict[str, Any] = {"security": [{"bearer": []}, {"session": []}]}
OPTIONAL_TOKEN: dict[str, Any] = {"security": [{}, *NEEDS_TOKEN["security"]]}


async def resources(request: Request) -> Resources:
    state: Resources = request.app.state.resources
    return state


ResourcesDep = Annotated[Resources, Depends(resources)]


async def database(resources: ResourcesDep) -> Database:
    return resources.database


async def objects(resources: ResourcesDep) -> ObjectStore:
    return resources.objects


async def sources(resources: ResourcesDep) -> SourceRules:
    return resources.sources


async def limits(resources: ResourcesDep) -> RenderLimits:
    return resources.limits


async def guard(request: Request) -> Guard:
    instance: Guard = request.app.state.guard
    return instance


async def identity(
    request: Request,
    _bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer_scheme)] = None,
    _session: Annotated[str | None, Security(_session_scheme)] = None,
) -> Identity:
    """The identity that the authentication middleware has verified. Raises Unauthenticated."""
    verified: Identity | None = getattr(request.state, "identity", None)
    if verified is None:
        raise Unauthenticated("this needs a bearer token")
    return verified


async def caller(identity: Annotated[Identity, Depends(identity)]) -> Caller:
    """The caller, for row-level security."""
    return Caller(identity.subject, admin=ADMIN in identity.scopes)


def require_scope(scope: Scope) -> Callable[[Identity], Awaitable[Identity]]:
    """A dependency that raises Forbidden if the token lacks `scope`."""

    async def check_scope(identity: Annotated[Identity, Depends(identity)]) -> Identity:
        if not allows(identity.scopes, scope):
            raise missing_scope_error(scope)
        return identity

    return check_scope


def missing_scope_error(scope: Scope) -> Forbidden:
    """A 403 whose challenge names the missing scope (RFC 6750, 3.1)."""
    challenge = f'{BEARER_CHALLENGE}, error="insufficient_scope", scope="{scope}"'
    return Forbidden(f"the token lacks the scope {scope}", headers={"WWW-Authenticate": challenge})


IdentityDep = Annotated[Identity, Depends(identity)]
CallerDep = Annotated[Caller, Depends(caller)]
DatabaseDep = Annotated[Database, Depends(database)]
ObjectsDep = Annotated[ObjectStore, Depends(objects)]
GuardDep = Annotated[Guard, Depends(guard)]
SourcesDep = Annotated[SourceRules, Depends(sources)]
LimitsDep = Annotated[RenderLimits, Depends(limits)]
