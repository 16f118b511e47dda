"""The entry point of guarded queries: validate a document, run it as the caller and record it."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from service.guard.audit import AuditRecord, QueryOutcome, write_record
from service.guard.document import Document
from service.guard.execution import Stopwatch, execute, translate_lock_timeout
from service.guard.policy import Guardrails, LimitUsage, QueryRejected, TooManyQueries, validate
from service.guard.rules.rule import CONCURRENCY
from service.guard.schema import Tables, reflect_tables
from service.guard.settings import GuardSettings
from service.ids import Subject
from service.store.database import Caller, Database


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Rows of JSON values. `columns`: name and type. `limit_usage`: every limit with the measured value."""

    table: str
    columns: tuple[tuple[str, str], ...]
    rows: list[dict[str, Any]]
    truncated: bool
    next_cursor: str | None
    elapsed_ms: float
    limit_usage: tuple[LimitUsage, ...]
    server_timing: str


class Guard:
    """One instance per process. Caches the reflected tables and counts the running queries of each caller."""

    def __init__(self, database: Database, settings: GuardSettings) -> None:
        self.settings = settings
        self._database = database
        self._running: Counter[Subject] = Counter()
        self._tables: Tables | None = None
        self._reflection_lock = asyncio.Lock()

    async def tables(self) -> Tables:
        """The queryable tables by name. Raises ServiceUnavailable while one is locked."""
        async with self._reflection_lock:
            if self._tables is None:
                with translate_lock_timeout():
                    async with self._database.service_transaction() as connection:
                        self._tables = await reflect_tables(connection)
            return self._tables

    async def run_query(self, caller: Caller, document: Document) -> QueryResult:
        """Validate the document, run it as `caller` and record it. If the audit write fails, the query fails.

        Raises QueryRejected: DisallowedQuery (422), QueryTimeout (504) or TooManyQueries (429). Raises
        ServiceUnavailable (503) while a table is locked, and whatever a lost database raises.
        """
        stopwatch, guardrails = Stopwatch(), Guardrails(self.settings)

        async def record(outcome: QueryOutcome, rule: str | None = None, rows: int = 0) -> None:
            with stopwatch.stage("audit"):
                entry = AuditRecord(caller.subject, document, outcome, stopwatch.seconds, guardrails.usage, rule, rows)
                await write_record(self._database, entry, self.settings.audit_days)

        with self._count_running(caller.subject) as running:
            try:
                tables = await self.tables()
                guardrails.check(CONCURRENCY, running, TooManyQueries)
                with stopwatch.stage("policy"):
                    query = validate(document, tables, guardrails)
                page = await execute(self._database, caller, query, guardrails, stopwatch)
            except QueryRejected as rejected:
                await record(rejected.outcome, rejected.rule)
                rejected.headers["Server-Timing"] = stopwatch.server_timing()
                raise
            except (Exception, asyncio.CancelledError):  # cancelled: whoever asked has no more time
                with suppress(Exception):  # the database is probably lost: the first error says more than a second
                    await asyncio.shield(record("failed"))
                raise
            elapsed_ms = stopwatch.seconds * 1000
            await record("answered", rows=len(page.rows))
        return QueryResult(
            table=document.table,
            columns=page.columns,
            rows=page.rows,
            truncated=page.next_cursor is not None,
            next_cursor=page.next_cursor,
            elapsed_ms=elapsed_ms,
            limit_usage=guardrails.usage,
            server_timing=stopwatch.server_timing(),
        )

    @contextmanager
    def _count_running(self, subject: Subject) -> Iterator[int]:
        """The number of running queries of the caller, this one included. Removes callers without queries."""
        self._running[subject] += 1
        try:
            yield self._running[subject]
        finally:
            self._running[subject] -= 1
            if not self._running[subject]:
                del self._running[subject]
