"""What the composition root hands to the routers."""

from dataclasses import dataclass, field

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.guard.settings import GuardSettings
from service.identity.tokens import TokenVerifier
from service.plan.limits import RenderLimits
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
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
