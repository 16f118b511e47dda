"""Run a compiled query where it can do no harm: read-only, as the caller, within time, cost and size."""

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

from service.errors import Unavailable
from service.guard.compile import Compiled
from service.guard.settings import LOCK_WAIT_MS, GuardSettings
from service.store.database import Caller, Database

ROWS_AHEAD = 100
CANCELLED, LOCKED = "57014", "55P03"
CONFINE = text("""
    SELECT set_config('transaction_read_only', 'on', true), set_config('statement_timeout', :statement, true),
        set_config('lock_timeout', :lock, true), set_config('plan_cache_mode', 'force_custom_plan', true),
        set_config('max_parallel_workers_per_gather', '0', true), set_config('jit', 'off', true)
""")
"""Until the end of the transaction. The plan that runs is the one whose cost was judged."""


class TooSlow(Exception):
    """The statement was stopped at its timeout."""


class TooLarge(Exception):
    """One row alone is longer than an answer may be."""

    def __init__(self, size: int) -> None:
        self.size = size


class Explain(Executable, ClauseElement):
    """The plan of a statement, with the same bound parameters."""

    inherit_cache = False

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement


@compiles(Explain)
def _explained(element: Explain, compiler: SQLCompiler, **options: Any) -> str:
    explained = f"EXPLAIN (FORMAT JSON) {compiler.process(element.statement, **options)}"
    compiler._result_columns = []  # the answer is one JSON, whatever types the statement's own columns have
    return explained


@dataclass(slots=True)
class Rows:
    """JSON values by column. `last`: the key values of the last row, as PostgreSQL gave them."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    size: int = 0
    truncated: bool = False
    last: tuple[Any, ...] = ()

    def take(self, told: dict[str, Any], limit: int, max_bytes: int) -> bool:
        """Whether there was room for one more. Raises TooLarge when not even for this one alone."""
        length = len(json.dumps(told, ensure_ascii=False).encode())
        if length > max_bytes:
            raise TooLarge(length)
        self.truncated = len(self.rows) == limit or self.size + length > max_bytes
        if not self.truncated:
            self.rows.append(told)
            self.size += length
        return not self.truncated


@asynccontextmanager
async def confined(database: Database, caller: Caller, settings: GuardSettings) -> AsyncIterator[AsyncConnection]:
    """A transaction that sees what `caller` may see and changes nothing. Raises TooSlow, Unavailable."""
    milliseconds = {"statement": str(max(1, round(settings.timeout_s * 1000))), "lock": str(LOCK_WAIT_MS)}
    with limits_told():
        async with database.caller(caller) as connection:
            await connection.execute(CONFINE, milliseconds)
            yield connection


@contextmanager
def limits_told() -> Iterator[None]:
    """PostgreSQL's timeouts as ours. Raises TooSlow, Unavailable for a table that somebody keeps locked."""
    try:
        yield
    except Exception as error:  # a server-side cursor lets the driver's own errors through, unwrapped
        state = getattr(getattr(error, "orig", error), "sqlstate", None)
        if state == CANCELLED:
            raise TooSlow from error
        if state == LOCKED:
            detail = "the table is being changed by an operator; try again in a moment"
            raise Unavailable(detail, headers={"Retry-After": "5"}) from error
        raise


async def plan_cost(connection: AsyncConnection, compiled: Compiled) -> float:
    """The estimated cost of the costliest step. Not of the top one: a LIMIT makes that cheap whatever is below."""
    plan = await connection.scalar(Explain(compiled.statement))
    waiting: list[Mapping[str, Any]] = [(json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]]
    highest = 0.0
    while waiting:
        step = waiting.pop()
        highest = max(highest, float(step["Total Cost"]))
        waiting += step.get("Plans", ())
    return highest


async def fetch(connection: AsyncConnection, compiled: Compiled, limit: int, settings: GuardSettings) -> Rows:
    """At most `limit` rows and `max_bytes` of JSON. Raises TooSlow, TooLarge.

    The server's timeout is for each batch, so that the whole is timed here.
    """
    deadline = time.monotonic() + settings.timeout_s
    rows = Rows()
    result = await connection.stream(compiled.statement, execution_options={"max_row_buffer": ROWS_AHEAD})
    async for row in result.mappings():
        if time.monotonic() > deadline:
            raise TooSlow
        if not rows.take(_told(row, compiled), limit, settings.max_bytes):
            await result.close()
            break
        rows.last = tuple(row[f"key_{number}"] for number in range(len(compiled.keys)))
    return rows


def _told(row: RowMapping, compiled: Compiled) -> dict[str, Any]:
    return {name: None if row[name] is None else kind.gives(row[name]) for name, kind in compiled.columns}
