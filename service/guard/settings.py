"""Limits of guarded queries, read from the environment."""

from pydantic import Field

from service.environment import EnvironmentSettings

# What a query, or the reading of the catalogue, may wait for a table that somebody keeps locked.
LOCK_WAIT_MS = 500


class GuardSettings(EnvironmentSettings):
    """What one query, and one caller, may cost."""

    max_rows: int = 1000  # the next page has the rest
    max_bytes: int = 4 * 1024 * 1024  # of JSON rows in one answer: a page stays readable
    max_cost: int = 500_000  # PostgreSQL's estimate of any step; timeout_s bounds what it gets wrong
    timeout_s: float = Field(
        default=5, gt=0, le=300, validation_alias="REELMILL_QUERY_TIMEOUT", description="seconds one query may run"
    )
    max_depth: int = 6  # of filters; deeper ones can be written flat
    max_conditions: int = 50  # keeps the time for planning small
    max_values: int = 1000  # in all lists together: as many as rows in an answer
    max_names: int = 100  # columns, aggregates, groups and order keys: more than any table has columns
    max_value_bytes: int = 4096  # an object key has 1024 at most
    max_pattern: int = 200  # characters of a LIKE pattern
    max_wildcards: int = 8  # of a LIKE pattern, whose time grows with each
    concurrency: int = 4  # queries of one caller at once in one process, whose pool others use, too
    audit_days: int = Field(
        default=90, ge=1, validation_alias="REELMILL_QUERY_AUDIT_DAYS", description="days the audit of queries is kept"
    )
