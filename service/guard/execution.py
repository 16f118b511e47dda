"""Run a validated query read-only as the caller, within the limits on cost, time and size."""

import json
import math
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ClauseElement, Executable, RowMapping, Select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from service.errors import ServiceUnavailable
from service.guard.pagination import encode_cursor
from service.guard.policy import Guardrails, QueryRejected, QueryTimeout, ValidatedQuery
from service.guard.rules.rule import PLAN_COST, RESULT_BYTES, STATEMENT_TIME
from service.guard.settings import LOCK_WAIT_MS, GuardSettings
from service.guard.statement import CompiledQuery, compile_query
from service.store.database import Caller, Database

FETCH_BATCH_ROWS = 100
QUERY_CANCELED, LOCK_NOT_AVAILABLE = "57014", "55P03"
# Local to the transaction. Custom plans, so that the plan whose cost was checked is the one that runs.
SESSION_LIMITS_SQL = text("""
    SELECT set_config('transaction_read_only', 'on', true), set_config('statement_timeout', :statement, true),
        set_config('lock_timeout', :lock, true), set_config('plan_cache_mode', 'force_custom_plan', true),
        set_config('max_parallel_workers_per_gather', '0', true), set_config('jit', 'off', true)
""")


class Stopwatch:
    """Times a query as a whole and by stages. Starts when it is created."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._stages: dict[str, float] = {}

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started

    @property
    def whole_milliseconds(self) -> int:
        """Rounded up."""
        return math.ceil(self.seconds * 1000)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block, even if it fails."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._stages[name] = time.perf_counter() - started

    def server_timing(self) -> str:
        """The value of a `Server-Timing` header: the stages so far and the total, in milliseconds."""
        stages = {**self._stages, "total": self.seconds}
        return ", ".join(f"{name};dur={seconds * 1000:.3f}" for name, seconds in stages.items())


@dataclass(frozen=True, slots=True)
class ResultPage:
    """Rows of JSON values by column, at most `limit`. `columns`: name and type. `size`: bytes of the rows as JSON.
    `next_cursor`: where there are more rows."""

    columns: tuple[tuple[str, str], ...]
    rows: list[dict[str, Any]]
    size: int
    next_cursor: str | None


async def execute(
    database: Database, caller: Caller, query: ValidatedQuery, guardrails: Guardrails, stopwatch: Stopwatch
) -> ResultPage:
    """Compile the query, check the cost of its plan and fetch one page.

    Raises DisallowedQuery (cost, bytes), QueryTimeout, and ServiceUnavailable while a table is locked.
    """
    try:
        async with read_only_session(database, caller, guardrails.settings) as connection:
            with stopwatch.stage("plan"):
                compiled = compile_query(query)
                cost = round_up_to_one_digit(await plan_cost(connection, compiled.statement))
            guardrails.check(PLAN_COST, cost)
            with stopwatch.stage("read"):
                page = await _fetch_page(connection, query, compiled, guardrails, stopwatch)
    except Exception as error:
        if _sqlstate(error) == QUERY_CANCELED:
            raise _timeout(guardrails, stopwatch) from error
        raise
    guardrails.check(STATEMENT_TIME, stopwatch.whole_milliseconds, QueryTimeout)
    guardrails.check(RESULT_BYTES, page.size)
    return page


def _timeout(guardrails: Guardrails, stopwatch: Stopwatch) -> QueryRejected:
    return guardrails.rejection(STATEMENT_TIME, stopwatch.whole_milliseconds, error=QueryTimeout)


@asynccontextmanager
async def read_only_session(
    database: Database, caller: Caller, settings: GuardSettings
) -> AsyncIterator[AsyncConnection]:
    """A transaction that sees what `caller` may see and cannot write. Raises ServiceUnavailable for a locked table."""
    milliseconds = {"statement": str(max(1, round(settings.timeout_s * 1000))), "lock": str(LOCK_WAIT_MS)}
    with translate_lock_timeout():
        async with database.caller_transaction(caller) as connection:
            await connection.execute(SESSION_LIMITS_SQL, milliseconds)
            yield connection


@contextmanager
def translate_lock_timeout() -> Iterator[None]:
    """Raises ServiceUnavailable if PostgreSQL gave up waiting for a lock."""
    try:
        yield
    except Exception as error:
        if _sqlstate(error) == LOCK_NOT_AVAILABLE:
            detail = "the table is being changed by an operator; try again in a moment"
            raise ServiceUnavailable(detail, headers={"Retry-After": "5"}) from error
        raise


def _sqlstate(error: Exception) -> str | None:
    """Of SQLAlchemy's errors, and of the driver's own, which a server-side cursor does not wrap."""
    return getattr(getattr(error, "orig", error), "sqlstate", None)


class Explain(Executable, ClauseElement):
    """`EXPLAIN (FORMAT JSON)` of a statement, with the same bound parameters."""

    inherit_cache = False

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement


@compiles(Explain)
def _compile_explain(element: Explain, compiler: SQLCompiler, **options: Any) -> str:
    explained = f"EXPLAIN (FORMAT JSON) {compiler.process(element.statement, **options)}"
    compiler._result_columns = []  # the result is one JSON value, whatever columns the statement has
    return explained


async def plan_cost(connection: AsyncConnection, statement: Select[Any]) -> float:
    """The estimated cost of the costliest step: a LIMIT makes the top step cheap, whatever is below it."""
    plan = await connection.scalar(Explain(statement))
    pending: list[Mapping[str, Any]] = [(json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]]
    highest = 0.0
    while pending:
        step = pending.pop()
        highest = max(highest, float(step["Total Cost"]))
        pending += step.get("Plans", ())
    return highest


def round_up_to_one_digit(cost: float) -> int:
    """Hide the exact estimate from callers: the planner's statistics cover rows that they may not see."""
    step: int = 10 ** math.floor(math.log10(max(cost, 1)))
    return math.ceil(cost / step) * step


async def _fetch_page(
    connection: AsyncConnection,
    query: ValidatedQuery,
    compiled: CompiledQuery,
    guardrails: Guardrails,
    stopwatch: Stopwatch,
) -> ResultPage:
    """Read rows until the limit, or `max_bytes` of JSON. A single row above `max_bytes` is rejected.

    `statement_timeout` applies to each batch, so the deadline for all of them is checked here.
    """
    max_bytes, deadline = guardrails.settings.max_bytes, time.monotonic() + guardrails.settings.timeout_s
    rows, size = list[dict[str, Any]](), 0
    last_keys: tuple[Any, ...] = ()
    next_cursor = None
    result = await connection.stream(compiled.statement, execution_options={"max_row_buffer": FETCH_BATCH_ROWS})
    async for row in result.mappings():
        if time.monotonic() > deadline:
            raise _timeout(guardrails, stopwatch)
        json_row = _to_json_row(row, compiled)
        length = len(json.dumps(json_row, ensure_ascii=False).encode())
        if length > max_bytes:
            raise guardrails.rejection(RESULT_BYTES, length)
        if len(rows) == query.document.limit or size + length > max_bytes:
            await result.close()
            next_cursor = encode_cursor(query.document, query.order_keys, last_keys)
            break
        rows.append(json_row)
        size += length
        last_keys = tuple(row[f"key_{number}"] for number in range(len(query.order_keys)))
    columns = tuple((name, column_type.name) for name, column_type in compiled.columns)
    return ResultPage(columns, rows, size, next_cursor)


def _to_json_row(row: RowMapping, compiled: CompiledQuery) -> dict[str, Any]:
    return {
        name: None if row[name] is None else column_type.to_json(row[name]) for name, column_type in compiled.columns
    }
