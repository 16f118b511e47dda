"""Where PostgreSQL is, from the environment; apart from the connection: a slot carries it without the driver."""

from pydantic import Field

from service.environment import EnvironmentSettings


class DatabaseSettings(EnvironmentSettings):
    """Where PostgreSQL is; without `DATABASE_URL` an embedded one is started in `REELMILL_HOME`."""

    url: str | None = Field(
        default=None,
        validation_alias="DATABASE_URL",
        description="PostgreSQL URL (`postgresql://…`); unset: an embedded PostgreSQL in `REELMILL_HOME`",
    )
    pool_size: int = Field(
        default=10,
        ge=1,
        le=200,
        validation_alias="REELMILL_DB_POOL",
        description="connections that a process keeps; it takes 5 more when busy, and 3 to look after itself",
    )
    timeout_s: float = 10  # to connect: a database that is up answers in milliseconds
