"""Limits of guarded queries, read from the environment."""

from pydantic import Field

from service.environment import EnvironmentSettings

# How long a query, or the reflection of the tables, waits for a lock that someone else holds.
LOCK_WAIT_MS = 500


class GuardSettings(EnvironmentSettings):
    """Limits of one query and of one caller."""

    max_rows: int = 1000  # the rest is on the next page
    max_bytes: int = 4 * 1024 * 1024  # of JSON rows in one answer: a page stays readable
    max_cost: int = 500_000  # PostgreSQL's estimate for any step; timeout_s catches what it underestimates
    timeout_s: float = Field(
        default=5, gt=0, le=300, validation_alias="REELMILL_QUERY_TIMEOUT", description="seconds one query may run"
    )
    max_depth: int = 6  # of filters; deeper ones can be flattened
    max_conditions: int = 50  # bounds the planning time
    max_values: int = 1000  # in all lists together: as many as an answer has rows
    max_names: int = 100  # columns, aggregates, groups and order keys: more than any table has columns
    max_value_bytes: int = 4096  # an object key has 1024 at most
    max_pattern: int = 200  # characters of a LIKE pattern
    max_wildcards: int = 8  # of a LIKE pattern, whose time grows with each
    concurrency: int = 4  # running queries of one caller in one process, which shares its pool among all callers
    audit_days: int = Field(
        default=90,
        ge=1,
        le=36_500,
        validation_alias="REELMILL_QUERY_AUDIT_DAYS",
        description="days the audit of queries is kept",
    )
