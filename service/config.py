"""The whole configuration: one frozen settings class per area, the environment read once."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError

from service.agent.settings import AgentSettings, address
from service.environment import EnvironmentSettings
from service.errors import StartupRefused
from service.guard.settings import GuardSettings
from service.identity.settings import IdentitySettings
from service.plan.facts import RenderLimits
from service.routers.resources import CatalogSettings, HttpSettings
from service.store.database_settings import DatabaseSettings
from service.store.object_settings import ObjectSettings
from service.telemetry.logging import LoggingSettings
from service.webhooks.settings import WebhookSettings
from service.worker.settings import WorkerSettings


def _data_home() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "reelmill"


class ProcessSettings(EnvironmentSettings):
    """Where this process listens and keeps its state."""

    host: str = Field(default="127.0.0.1", validation_alias="HOST", description="bind address")
    port: int = Field(
        default=5003, ge=0, le=65535, validation_alias="PORT", description="bind port; 0 takes a free one"
    )
    home: Path = Field(
        default_factory=_data_home,
        validation_alias="REELMILL_HOME",
        description="state of the embedded services; unset: a per-user data folder",
    )
    ollama_host: Annotated[str, AfterValidator(address)] | None = Field(
        default=None, validation_alias="OLLAMA_HOST", description="Ollama of the agent; unset: none"
    )


class ClientSettings(EnvironmentSettings):
    """How the commands that talk to a running service find it."""

    url: str | None = Field(
        default=None, validation_alias="REELMILL_URL", description="service to talk to; unset: the local one"
    )
    token: str | None = Field(
        default=None,
        validation_alias="REELMILL_TOKEN",
        description="bearer token; unset: one made with the local secret",
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything an operator can set."""

    process: ProcessSettings
    http: HttpSettings
    database: DatabaseSettings
    objects: ObjectSettings
    catalog: CatalogSettings
    identity: IdentitySettings
    limits: RenderLimits
    queries: GuardSettings
    agent: AgentSettings
    worker: WorkerSettings
    logging: LoggingSettings
    client: ClientSettings
    webhooks: WebhookSettings


def load() -> Settings:
    """Read the environment. Raises StartupRefused with the variable and the reason, never the value."""
    try:
        return Settings(
            ProcessSettings(),
            HttpSettings(),
            DatabaseSettings(),
            ObjectSettings(),
            CatalogSettings(),
            IdentitySettings(),
            RenderLimits(),
            GuardSettings(),
            AgentSettings(),
            WorkerSettings(),
            LoggingSettings(),
            ClientSettings(),
            WebhookSettings(),
        )
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise StartupRefused(f"{first['loc'][0]}: {first['msg']}") from error
