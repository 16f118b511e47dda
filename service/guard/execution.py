"""Run a compiled query read-only as the caller, within the limits on time, cost and size."""

import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ClauseElement, Executable, RowMapping, Select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from service.errors import ServiceUnavailable
from service.guard.settings import LOCK_WAIT_MS, GuardSettings
from service.guard.statement import CompiledQuery
from service.store.database import Caller, Database

FETCH_BATCH_ROWS = 100
QUERY_CANCELED, LOCK_NOT_AVAILABLE = "57014", "55P03"
# Until the end of the transaction. The plan that runs is the one whose cost was judged.
SESSION_LIMITS_SQL = text("""
    SELECT set_config('transaction_read_only', 'on', true), set_config('statement_timeout', :statement, true),
        set_config('lock_timeout', :lock, true), set_config('plan_cache_mode', 'force_custom_plan', true),
        set_config('max_parallel_workers_per_gather', '0', true), set_config('jit', 'off', true)
""")


class StatementTimeout(Exception):
    """The statement was stopped at its timeout."""


class RowTooLarge(Exception):
    """One row alone is longer than an answer may be."""

    def __init__(self, size: int) -> None:
        self.size = size


class Explain(Executable, ClauseElement):
    """The plan of a statement, with the same bound parameters."""

    inherit_cache = False

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement


@compiles(Explain)
def _compile_explain(element: Explain, compiler: SQLCompiler, **options: Any) -> str:
    explained = f"EXPLAIN (FORMAT JSON) {compiler.process(element.statement, **options)}"
    compiler._result_columns = []  # the answer is one JSON, whatever types the statement's own columns have
    return explained


@dataclass(slots=True)
class ResultRows:
    """JSON values by column. `last`: the key values of the last row, as PostgreSQL gave them."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    size: int = 0
    truncated: bool = False
    last_keys: tuple[Any, ...] = ()

    def append(self, row: dict[str, Any], limit: int, max_bytes: int) -> bool:
        """Whether there was room for one more. Raises TooLarge when not even for this one alone."""
        length = len(json.dumps(row, ensure_ascii=False).encode())
        if length > max_bytes:
            raise RowTooLarge(length)
        self.truncated = len(self.rows) == limit or self.size + length > max_bytes
        if not self.truncated:
            self.rows.append(row)
            self.size += length
        return not self.truncated


@asynccontextmanager
async def read_only_session(
    database: Database, caller: Caller, settings: GuardSettings
) -> AsyncIterator[AsyncConnection]:
    """A transaction that sees what `caller` may see and changes nothing. Raises TooSlow, Unavailable."""
    milliseconds = {"statement": str(max(1, round(settings.timeout_s * 1000))), "lock": str(LOCK_WAIT_MS)}
    with translate_pg_errors():
        async with database.caller_transaction(caller) as connection:
            await connection.execute(SESSION_LIMITS_SQL, milliseconds)
            yield connection


@contextmanager
def translate_pg_errors() -> Iterator[None]:
    """PostgreSQL's timeouts as ours. Raises TooSlow, Unavailable for a table that somebody keeps locked."""
    try:
        yield
    except Exception as error:  # a server-side cursor lets the driver's own errors through, unwrapped
        state = getattr(getattr(error, "orig", error), "sqlstate", None)
        if state == QUERY_CANCELED:
            raise StatementTimeout from error
        if state == LOCK_NOT_AVAILABLE:
            detail = "the table is being changed by an operator; try again in a moment"
            raise ServiceUnavailable(detail, headers={"Retry-After": "5"}) from error
        raise


async def plan_cost(connection: AsyncConnection, compiled: CompiledQuery) -> float:
    """The estimated cost of the costliest step. Not of the top one: a LIMIT makes that cheap whatever is below."""
    plan = await connection.scalar(Explain(compiled.statement))
    waiting: list[Mapping[str, Any]] = [(json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]]
    highest = 0.0
    while waiting:
        step = waiting.pop()
        highest = max(highest, float(step["Total Cost"]))
        waiting += step.get("Plans", ())
    return highest


async def fetch_rows(
    connection: AsyncConnection, compiled: CompiledQuery, limit: int, settings: GuardSettings
) -> ResultRows:
    """At most `limit` rows and `max_bytes` of JSON. Raises TooSlow, TooLarge.

    The server's timeout is for each batch, so that the whole is timed here.
    """
    deadline = time.monotonic() + settings.timeout_s
    rows = ResultRows()
    result = await connection.stream(compiled.statement, execution_options={"max_row_buffer": FETCH_BATCH_ROWS})
    async for row in result.mappings():
        if time.monotonic() > deadline:
            raise StatementTimeout
        if not rows.append(_to_json_row(row, compiled), limit, settings.max_bytes):
            await result.close()
            break
        rows.last_keys = tuple(row[f"key_{number}"] for number in range(len(compiled.keys)))
    return rows


def _to_json_row(row: RowMapping, compiled: CompiledQuery) -> dict[str, Any]:
    return {name: None if row[name] is None else kind.to_json(row[name]) for name, kind in compiled.columns}
