"""All settings: one frozen class per area, read from the environment once."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import structlog
from pydantic import AfterValidator, Field, ValidationError

from service.agent.settings import AgentSettings, ollama_url
from service.environment import EnvironmentSettings
from service.errors import StartupError
from service.guard.settings import GuardSettings
from service.identity.settings import IdentitySettings, OidcSettings
from service.plan.facts import RenderLimits
from service.routers.settings import CatalogSettings, HttpSettings
from service.store.settings import DatabaseSettings, ObjectSettings, StorageLimits
from service.telemetry.logging import LoggingSettings
from service.webhooks.settings import WebhookSettings
from service.worker.settings import WorkerSettings

# Former settings that are constants now (see the CHANGELOG); setting them has no effect.
REMOVED = (
    "REELMILL_AGENT_MAX_ROWS",
    "REELMILL_AGENT_STEP_TIMEOUT",
    "REELMILL_CACHE_DAYS",
    "REELMILL_CANARY_PERIOD",
    "REELMILL_CANARY_TIMEOUT",
    "REELMILL_CPU_CANARY_PERIOD",
    "REELMILL_DB_TIMEOUT",
    "REELMILL_GPU_SLOT_MEMORY_MB",
    "REELMILL_HEALTH_TIMEOUT",
    "REELMILL_MAX_BODY_BYTES",
    "REELMILL_MAX_FRAMES",
    "REELMILL_PREFETCH_MB",
    "REELMILL_PREVIEW_WAIT",
    "REELMILL_QUERY_CONCURRENCY",
    "REELMILL_QUERY_MAX_BYTES",
    "REELMILL_QUERY_MAX_CONDITIONS",
    "REELMILL_QUERY_MAX_COST",
    "REELMILL_QUERY_MAX_DEPTH",
    "REELMILL_QUERY_MAX_NAMES",
    "REELMILL_QUERY_MAX_PATTERN",
    "REELMILL_QUERY_MAX_ROWS",
    "REELMILL_QUERY_MAX_VALUES",
    "REELMILL_QUERY_MAX_VALUE_BYTES",
    "REELMILL_QUERY_MAX_WILDCARDS",
    "REELMILL_S3_POOL",
    "REELMILL_S3_TIMEOUT",
    "REELMILL_WEBHOOK_TIMEOUT",
)
# Old name -> new name. The old name is still read for one more version.
RENAMED = {"REELMILL_DRAIN": "REELMILL_SHUTDOWN_TIMEOUT", "MINIO_SOURCE_BUCKETS": "MINIO_SOURCES"}


def _default_home() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "reelmill"


class ProcessSettings(EnvironmentSettings):
    """Bind address and state folder of this process."""

    host: str = Field(default="127.0.0.1", validation_alias="HOST", description="bind address")
    port: int = Field(
        default=5003, ge=0, le=65535, validation_alias="PORT", description="bind port; 0 takes a free one"
    )
    home: Path = Field(
        default_factory=_default_home,
        validation_alias="REELMILL_HOME",
        description="state of the embedded services; unset: a per-user data folder",
    )
    ollama_host: Annotated[str, AfterValidator(ollama_url)] | None = Field(
        default=None, validation_alias="OLLAMA_HOST", description="URL of the agent's Ollama server; unset: none"
    )


class ClientSettings(EnvironmentSettings):
    """How commands, and the clients to whom the API hands out addresses, reach a running service."""

    url: str | None = Field(
        default=None,
        validation_alias="REELMILL_URL",
        description="URL of the service: for client commands, in upload addresses, and whose pages may use a session; "
        "unset: the local one",
    )
    token: str | None = Field(
        default=None,
        repr=False,
        validation_alias="REELMILL_TOKEN",
        description="bearer token for client commands; unset: one signed with the local secret",
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything an operator can set."""

    process: ProcessSettings
    http: HttpSettings
    database: DatabaseSettings
    objects: ObjectSettings
    storage: StorageLimits
    catalog: CatalogSettings
    identity: IdentitySettings
    oidc: OidcSettings
    limits: RenderLimits
    queries: GuardSettings
    agent: AgentSettings
    worker: WorkerSettings
    logging: LoggingSettings
    client: ClientSettings
    webhooks: WebhookSettings


def load() -> Settings:
    """Read the environment. Raises StartupError, which names the variable and the reason, never the value."""
    try:
        storage = StorageLimits()
        return Settings(
            process=ProcessSettings(),
            http=HttpSettings(),
            database=DatabaseSettings(),
            objects=ObjectSettings(),
            storage=storage,
            catalog=CatalogSettings(),
            identity=IdentitySettings(),
            oidc=OidcSettings(),
            limits=RenderLimits(),
            queries=GuardSettings(),
            agent=AgentSettings(),
            worker=WorkerSettings(storage=storage),
            logging=LoggingSettings(),
            client=ClientSettings(),
            webhooks=WebhookSettings(),
        )
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise StartupError(f"{first['loc'][0]}: {first['msg']}") from error


# What slots and canaries must not inherit, as they read untrusted files. Slots are given the keys of the object store.
SECRET_VARIABLES = (
    "DATABASE_URL",
    "REELMILL_DATABASE_DIRECT_URL",
    "JWT_SECRET",
    "OIDC_CLIENT_SECRET",
    "REELMILL_TOKEN",
    "REELMILL_WEBHOOK_SECRET",
)


def forget_secrets() -> None:
    """Take the secrets that were read out of the environment, so that child processes do not get them."""
    for name in SECRET_VARIABLES:
        os.environ.pop(name, None)


def warn_of_outdated_variables() -> None:
    """Log each environment variable that was removed or renamed."""
    log = structlog.get_logger("config")
    for name in REMOVED:
        if name in os.environ:
            log.warning("this variable has no effect any more", variable=name)
    for old, new in RENAMED.items():
        if old in os.environ:
            log.warning("this variable has a new name", variable=old, instead=new)
