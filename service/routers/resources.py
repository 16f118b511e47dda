"""What the composition root hands to the routers."""

import asyncio
from dataclasses import dataclass, field

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.agent.settings import AgentSettings
from service.guard.settings import GuardSettings
from service.identity.tokens import TokenVerifier
from service.plan.facts import RenderLimits
from service.routers.rate_limit import parsed_rate
from service.store.database import Database
from service.store.objects import ObjectStore
from service.webhooks.settings import WebhookSettings


class HttpSettings(BaseSettings):
    """Limits and manners of the HTTP face."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, env_ignore_empty=True)
    max_body_bytes: int = Field(
        default=1024 * 1024, ge=1024, validation_alias="REELMILL_MAX_BODY_BYTES", description="longest request body"
    )
    metrics_public: bool = Field(
        default=False, validation_alias="REELMILL_METRICS_PUBLIC", description="serve `/metrics` without a token"
    )
    health_timeout_s: float = Field(
        default=3,
        gt=0,
        le=60,
        validation_alias="REELMILL_HEALTH_TIMEOUT",
        description="seconds each health check may take",
    )
    preview_wait_s: float = Field(
        default=5,
        ge=0,
        le=60,
        validation_alias="REELMILL_PREVIEW_WAIT",
        description="seconds a request waits for a preview that a worker makes",
    )
    rate_limit: str = Field(
        default="6000/minute",
        validation_alias="REELMILL_RATE_LIMIT",
        description="requests one subject may send to one API process (frames are uploaded one by one); `none`: any",
    )

    @field_validator("rate_limit")
    @classmethod
    def _readable(cls, value: str) -> str:
        try:
            parsed_rate(value)
        except ValueError as error:
            raise ValueError("write it as in 600/minute, or none") from error
        return value


@dataclass(frozen=True, slots=True)
class Resources:
    """Open connections and settings, for the life of the process; `create_app` closes them."""

    database: Database
    objects: ObjectStore
    verifier: TokenVerifier
    version: str
    ollama_host: str | None = None
    http: HttpSettings = field(default_factory=HttpSettings)
    limits: RenderLimits = field(default_factory=RenderLimits)
    queries: GuardSettings = field(default_factory=GuardSettings)
    agent: AgentSettings = field(default_factory=AgentSettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the process begins to stop: streams without an end of their own end now."""
