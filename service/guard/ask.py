"""The one way to ask: a document and a caller in, an answer or a named error out."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from service.errors import GatewayTimeout, ReelmillError, TooManyRequests
from service.guard import cursor
from service.guard.audit import QueryOutcome
from service.guard.compile import CompiledQuery
from service.guard.document import Document
from service.guard.execute import ResultRows, translate_pg_errors
from service.guard.inquiry import QueryExecution
from service.guard.policy import LimitUsage, QueryRejected, to_problem_error
from service.guard.settings import GuardSettings
from service.guard.tables import Tables, reflect_tables
from service.guard.turnstile import ConcurrencyCounter
from service.store.database import Caller, Database


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Rows of JSON values. `figures`: every rule with its limit and what it measured."""

    table: str
    columns: tuple[tuple[str, str], ...]
    rows: list[dict[str, Any]]
    truncated: bool
    next_cursor: str | None
    elapsed_ms: float
    limit_usage: tuple[LimitUsage, ...]
    server_timing: str


class Guard:
    """Made once in a process: it remembers the tables, and counts what each caller has running."""

    def __init__(self, database: Database, settings: GuardSettings) -> None:
        self.settings = settings
        self._database = database
        self._concurrency = ConcurrencyCounter()
        self._tables: Tables | None = None
        self._reflection_lock = asyncio.Lock()

    async def tables(self) -> Tables:
        """What may be asked about."""
        async with self._reflection_lock:
            if self._tables is None:
                with translate_pg_errors():
                    async with self._database.service_transaction() as connection:
                        self._tables = await reflect_tables(connection)
            return self._tables

    async def run_query(self, caller: Caller, document: Document) -> QueryResult:
        """Judge, run as `caller`, record. An answer that cannot be recorded is not given.

        Raises Refused (422), TimedOut (504), TooManyRequests (429), all of them with the rule and its figures as the
        extension `guardrails`; Unavailable (503) while a table is locked; and what a lost database raises.
        """
        inquiry = QueryExecution(self._database, self.settings, caller, document)
        with self._concurrency.track(caller.subject) as running_now:
            try:
                query, rows = await inquiry.run(await self.tables(), running_now)
            except QueryRejected as objected:
                raise await _record_rejection(inquiry, objected) from objected
            except Exception:
                with suppress(Exception):  # most likely the database is away; the first error tells more
                    await inquiry.record("failed")
                raise
            return await _record_result(inquiry, query, rows)


async def _record_rejection(execution: QueryExecution, rejected: QueryRejected) -> ReelmillError:
    """The error to raise, once the refusal is on record."""
    error = to_problem_error(rejected)
    outcome: QueryOutcome = "timed_out" if isinstance(error, GatewayTimeout) else "refused"
    await execution.record(outcome, rule=rejected.rejection.violations[0].usage.rule)
    error.headers["Server-Timing"] = execution.stopwatch.server_timing()
    if isinstance(error, TooManyRequests):
        error.headers["Retry-After"] = "1"
    return error


async def _record_result(execution: QueryExecution, compiled: CompiledQuery, rows: ResultRows) -> QueryResult:
    document, elapsed_ms = execution.document, execution.stopwatch.seconds * 1000
    await execution.record("answered", row_count=len(rows.rows))
    return QueryResult(
        table=document.table,
        columns=tuple((name, kind.name) for name, kind in compiled.columns),
        rows=rows.rows,
        truncated=rows.truncated,
        next_cursor=cursor.encode_cursor(document, compiled.keys, rows.last_keys) if rows.truncated else None,
        elapsed_ms=elapsed_ms,
        limit_usage=execution.limit_usage,
        server_timing=execution.stopwatch.server_timing(),
    )
