"""One query on its way through the stages, with the figures that are known so far."""

import math
from dataclasses import dataclass, field

from service.errors import GatewayTimeout, QueryRefusal, ReelmillError, TooManyRequests
from service.guard import audit
from service.guard.audit import AuditRecord, QueryOutcome
from service.guard.compile import CompiledQuery, compile_query
from service.guard.document import Document
from service.guard.execute import ResultRows, RowTooLarge, StatementTimeout, fetch_rows, plan_cost, read_only_session
from service.guard.policy import LimitUsage, QueryRejected, Rejection, reject, to_violation, validate
from service.guard.rules import running
from service.guard.rules.rule import Limit, ResolvedQuery
from service.guard.settings import GuardSettings
from service.guard.stopwatch import Stopwatch
from service.guard.tables import Tables
from service.store.database import Caller, Database


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
