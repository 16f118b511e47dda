"""Settings of the HTTP API, kept apart from the routes so that reading them does not import FastAPI."""

from limits import RateLimitItem, parse
from pydantic import Field, field_validator

from service.environment import EnvironmentSettings

UNLIMITED = "none"


def parse_rate(value: str) -> RateLimitItem | None:
    """`600/minute` and the like; None for `none`. Raises ValueError."""
    return None if value.strip().lower() == UNLIMITED else parse(value)


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
