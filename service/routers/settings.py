"""Settings of the HTTP API, apart from the routes so that reading them does not import FastAPI."""

from limits import RateLimitItem, parse
from pydantic import Field, field_validator

from service.environment import EnvironmentSettings

UNLIMITED = "none"


def parse_rate(value: str) -> RateLimitItem | None:
    """Parse a rate such as `600/minute`; None for `none`. Raises ValueError."""
    return None if value.strip().lower() == UNLIMITED else parse(value)


class HttpSettings(EnvironmentSettings):
    """Limits and timeouts of HTTP requests."""

    # JSON bodies are parsed and validated on the event loop. The longest that is of use is metadata of 64 KiB, escaped.
    max_body_bytes: int = 128 * 1024
    max_query_bytes: int = 64 * 1024  # of guarded queries: a thousand ids, and more groups than may be nested
    max_list_bytes: int = 1024 * 1024  # of lists of files to upload: a thousand names of 700 bytes
    max_batch_bytes: int = 1024 * 1024  # of a thousand render requests: reading more would hold up others
    metrics_public: bool = Field(
        default=False, validation_alias="REELMILL_METRICS_PUBLIC", description="serve `/metrics` without a token"
    )
    health_timeout_s: float = 3  # less than the 5 s that docker-compose.yml waits
    preview_wait_s: float = 5  # how long a request waits for a worker to render a preview
    rate_limit: str = Field(
        default="6000/minute",
        validation_alias="REELMILL_RATE_LIMIT",
        description="requests one subject may send to one API process (an archive of frames is one); `none`: any",
    )

    # Open at once; fewer if the process may open fewer files. 4,096 waiting connections take some 60 MB.
    max_connections: int = 4096

    @property
    def connections_per_address(self) -> int:
        """Of one client address, or requests under way if a proxy forwards the address: a browser opens six."""
        return max(self.max_connections // 8, 1)

    @property
    def max_event_streams(self) -> int:
        """A quarter, so that those who follow renders leave room for those who submit them."""
        return max(self.max_connections // 4, 1)

    @property
    def event_streams_per_subject(self) -> int:
        """Room for some hundred open pages of one user."""
        return min(128, max(self.max_event_streams // 2, 1))

    @field_validator("rate_limit")
    @classmethod
    def _check_rate_limit(cls, value: str) -> str:
        try:
            parse_rate(value)
        except ValueError as error:
            raise ValueError("write it as in 600/minute, or none") from error
        return value


class CatalogSettings(EnvironmentSettings):
    """Limits of uploads."""

    max_upload_bytes: int = Field(
        default=512 * 1024 * 1024,
        ge=1,
        le=2**60,
        validation_alias="REELMILL_MAX_UPLOAD_BYTES",
        description="longest uploaded frame",
    )
