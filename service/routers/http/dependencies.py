"""The open resources of the process, and the FastAPI dependencies that hand them to routes. All are async, because
FastAPI runs sync dependencies in threads.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import Field, field_validator

from service.agent.settings import AgentSettings
from service.environment import EnvironmentSettings
from service.errors import Forbidden, Unauthenticated
from service.guard.guard import Guard
from service.guard.settings import GuardSettings
from service.identity.claims import ADMIN, Scope, allows
from service.identity.tokens import BEARER_CHALLENGE, Identity, TokenVerifier
from service.plan.facts import RenderLimits
from service.routers.http.rate_limit import parse_rate
from service.store.database import Caller, Database
from service.store.objects.object_store import ObjectStore
from service.webhooks.settings import WebhookSettings


class HttpSettings(EnvironmentSettings):
    """Limits and manners of the HTTP face."""

    max_body_bytes: int = 1024 * 1024  # of JSON; uploads have a limit of their own
    metrics_public: bool = Field(
        default=False, validation_alias="REELMILL_METRICS_PUBLIC", description="serve `/metrics` without a token"
    )
    health_timeout_s: float = 3  # the probe of docker-compose.yml waits 5 s
    preview_wait_s: float = 5  # a client that waits for a worker's preview is told to ask again after that
    rate_limit: str = Field(
        default="6000/minute",
        validation_alias="REELMILL_RATE_LIMIT",
        description="requests one subject may send to one API process (frames are uploaded one by one); `none`: any",
    )

    @field_validator("rate_limit")
    @classmethod
    def _check_rate_limit(cls, value: str) -> str:
        try:
            parse_rate(value)
        except ValueError as error:
            raise ValueError("write it as in 600/minute, or none") from error
        return value


class CatalogSettings(EnvironmentSettings):
    """What datasets may be made of."""

    max_upload_bytes: int = Field(
        default=512 * 1024 * 1024,
        ge=1,
        validation_alias="REELMILL_MAX_UPLOAD_BYTES",
        description="longest uploaded frame",
    )
    source_buckets: str = Field(
        default="",
        validation_alias="MINIO_SOURCE_BUCKETS",
        description="other buckets datasets may be read from, by commas",
    )

    def may_read(self, bucket: str) -> bool:
        return bucket in {name.strip() for name in self.source_buckets.split(",") if name.strip()}


@dataclass(frozen=True, slots=True)
class Resources:
    """Open connections and settings, for the life of the process; `create_app` closes them."""

    database: Database
    objects: ObjectStore
    verifier: TokenVerifier
    version: str
    ollama_host: str | None = None
    http: HttpSettings = field(default_factory=HttpSettings)
    catalog: CatalogSettings = field(default_factory=CatalogSettings)
    limits: RenderLimits = field(default_factory=RenderLimits)
    queries: GuardSettings = field(default_factory=GuardSettings)
    agent: AgentSettings = field(default_factory=AgentSettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    # Set when the process begins to stop: streams without an end of their own end now.
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


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
