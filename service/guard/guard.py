"""The entry point: run one query document for a caller. If the audit record cannot be written, the query fails."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from service.errors import GatewayTimeout, QueryRefusal, ReelmillError, TooManyRequests
from service.guard import audit, pagination
from service.guard.audit import AuditRecord, QueryOutcome
from service.guard.document import Document
from service.guard.execution import (
    ResultRows,
    RowTooLarge,
    StatementTimeout,
    fetch_rows,
    plan_cost,
    read_only_session,
    translate_pg_errors,
)
from service.guard.policy import LimitUsage, QueryRejected, Rejection, reject, to_problem_error, to_violation, validate
from service.guard.rules import rule as running
from service.guard.rules.rule import Limit, ResolvedQuery
from service.guard.schema import Tables, reflect_tables
from service.guard.settings import GuardSettings
from service.guard.statement import CompiledQuery, compile_query
from service.ids import Subject
from service.store.database import Caller, Database


class ConcurrencyCounter:
    """Counts; holds nobody up. Callers without running queries take no memory."""

    def __init__(self) -> None:
        self._running: Counter[Subject] = Counter()

    @contextmanager
    def track(self, subject: Subject) -> Iterator[int]:
        """How many run now, this one included."""
        self._running[subject] += 1
        try:
            yield self._running[subject]
        finally:
            self._running[subject] -= 1
            if not self._running[subject]:
                del self._running[subject]


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._stages: dict[str, float] = {}

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return time.perf_counter() - self._started

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Also the time of a stage that fails is kept."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._stages[name] = time.perf_counter() - started

    def server_timing(self) -> str:
        """The value of a `Server-Timing` header: the stages so far and the total, in milliseconds."""
        stages = {**self._stages, "total": self.seconds}
        return ", ".join(f"{name};dur={seconds * 1000:.3f}" for name, seconds in stages.items())


@dataclass(slots=True)
class QueryExecution:
    """Raises Objected from whichever stage finds a rule broken."""

    database: Database
    settings: GuardSettings
    caller: Caller
    document: Document
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    limit_usage: tuple[LimitUsage, ...] = ()

    async def run(self, tables: Tables, running_now: int) -> tuple[CompiledQuery, ResultRows]:
        """Through all rules and the database."""
        self._check_limit(running.CONCURRENCY, running_now, TooManyRequests)
        with self.stopwatch.stage("policy"):
            query = compile_query(self._validate(tables))
        try:
            rows = await self._fetch(query)
        except StatementTimeout as error:
            raise self._rejection(running.STATEMENT_TIME, self._elapsed_ms(), GatewayTimeout) from error
        except RowTooLarge as error:
            raise self._rejection(running.RESULT_BYTES, error.size) from error
        self._check_limit(running.RESULT_BYTES, rows.size)
        return query, rows

    async def record(self, outcome: QueryOutcome, *, rule: str | None = None, row_count: int = 0) -> None:
        """What became of it."""
        with self.stopwatch.stage("audit"):
            kept = AuditRecord(
                self.caller.subject, self.document, outcome, self.stopwatch.seconds, self.limit_usage, rule, row_count
            )
            await audit.write_record(self.database, kept, self.settings.audit_days)

    def _validate(self, tables: Tables) -> ResolvedQuery:
        verdict = validate(self.document, tables, self.settings)
        self.limit_usage += verdict.limit_usage
        if isinstance(verdict, Rejection):
            raise QueryRejected(verdict)
        return verdict.query

    async def _fetch(self, compiled: CompiledQuery) -> ResultRows:
        async with read_only_session(self.database, self.caller, self.settings) as connection:
            with self.stopwatch.stage("plan"):
                cost = round_up_to_one_digit(await plan_cost(connection, compiled))
            self._check_limit(running.PLAN_COST, cost)
            with self.stopwatch.stage("read"):
                rows = await fetch_rows(connection, compiled, self.document.limit, self.settings)
        self._check_limit(running.STATEMENT_TIME, self._elapsed_ms())
        return rows

    def _elapsed_ms(self) -> int:
        return math.ceil(self.stopwatch.seconds * 1000)

    def _check_limit(self, limit: Limit, actual: int, error: type[ReelmillError] = QueryRefusal) -> None:
        """The figure is kept; above the limit it is an objection."""
        bound = limit.bound(self.settings)
        if actual > bound:
            raise self._rejection(limit, actual, error)
        self.limit_usage += (LimitUsage(limit.name, bound, actual),)

    def _rejection(self, limit: Limit, actual: int, error: type[ReelmillError] = QueryRefusal) -> QueryRejected:
        refused = reject(self.limit_usage, to_violation(limit, self.settings, actual))
        self.limit_usage = refused.limit_usage
        return QueryRejected(refused, error)


def round_up_to_one_digit(cost: float) -> int:
    """Rounded up to one significant digit: the planner's estimate knows of rows that the caller may not see."""
    step: int = 10 ** math.floor(math.log10(max(cost, 1)))
    return math.ceil(cost / step) * step


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
        next_cursor=pagination.encode_cursor(document, compiled.keys, rows.last_keys) if rows.truncated else None,
        elapsed_ms=elapsed_ms,
        limit_usage=execution.limit_usage,
        server_timing=execution.stopwatch.server_timing(),
    )
