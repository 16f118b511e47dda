"""The limits of guarded queries, from the environment."""

from pydantic import Field

from service.environment import EnvironmentSettings

LOCK_WAIT_MS = 500
"""What a query, or the reading of the catalogue, may wait for a table that somebody keeps locked."""


class GuardSettings(EnvironmentSettings):
    """What one query, and one caller, may cost."""

    max_rows: int = Field(
        default=1000, ge=1, le=100_000, validation_alias="REELMILL_QUERY_MAX_ROWS", description="rows of one answer"
    )
    max_bytes: int = Field(
        default=4 * 1024 * 1024,
        ge=1024,
        validation_alias="REELMILL_QUERY_MAX_BYTES",
        description="bytes of JSON rows in one answer",
    )
    max_cost: int = Field(
        default=500_000,
        ge=1,
        validation_alias="REELMILL_QUERY_MAX_COST",
        description="PostgreSQL's cost estimate of any step of a query's plan",
    )
    timeout_s: float = Field(
        default=5, gt=0, le=300, validation_alias="REELMILL_QUERY_TIMEOUT", description="seconds one query may run"
    )
    max_depth: int = Field(
        default=6, ge=1, le=50, validation_alias="REELMILL_QUERY_MAX_DEPTH", description="nesting of a query's filters"
    )
    max_conditions: int = Field(
        default=50, ge=1, le=1000, validation_alias="REELMILL_QUERY_MAX_CONDITIONS", description="conditions of a query"
    )
    max_values: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        validation_alias="REELMILL_QUERY_MAX_VALUES",
        description="values in all lists of a query together",
    )
    max_names: int = Field(
        default=100,
        ge=1,
        le=1000,
        validation_alias="REELMILL_QUERY_MAX_NAMES",
        description="columns, aggregates, groups and order keys of a query together",
    )
    max_value_bytes: int = Field(
        default=4096, ge=16, validation_alias="REELMILL_QUERY_MAX_VALUE_BYTES", description="longest single value"
    )
    max_pattern: int = Field(
        default=200, ge=1, validation_alias="REELMILL_QUERY_MAX_PATTERN", description="characters of a LIKE pattern"
    )
    max_wildcards: int = Field(
        default=8, ge=0, validation_alias="REELMILL_QUERY_MAX_WILDCARDS", description="wildcards of a LIKE pattern"
    )
    concurrency: int = Field(
        default=4,
        ge=1,
        validation_alias="REELMILL_QUERY_CONCURRENCY",
        description="queries one caller may run at once in one process",
    )
    audit_days: int = Field(
        default=90, ge=1, validation_alias="REELMILL_QUERY_AUDIT_DAYS", description="days the audit of queries is kept"
    )
