"""One query on its way through the stages, with the figures that are known so far."""

import math
from dataclasses import dataclass, field

from service.errors import ReelmillError, Refused, TimedOut, TooManyRequests
from service.guard import audit
from service.guard.audit import Outcome, Record
from service.guard.compile import Compiled, compiled
from service.guard.document import Document
from service.guard.execute import Rows, TooLarge, TooSlow, confined, fetch, plan_cost
from service.guard.policy import Figure, Objected, Refuse, judge, over, refuse
from service.guard.rules import running
from service.guard.rules.rule import Case, Limit
from service.guard.settings import GuardSettings
from service.guard.stopwatch import Stopwatch
from service.guard.tables import Tables
from service.store.database import Caller, Database


@dataclass(slots=True)
class Inquiry:
    """Raises Objected from whichever stage finds a rule broken."""

    database: Database
    settings: GuardSettings
    caller: Caller
    document: Document
    watch: Stopwatch = field(default_factory=Stopwatch)
    figures: tuple[Figure, ...] = ()

    async def run(self, tables: Tables, running_now: int) -> tuple[Compiled, Rows]:
        """Through all rules and the database."""
        self._measured(running.CONCURRENCY, running_now, TooManyRequests)
        with self.watch.stage("policy"):
            query = compiled(self._allowed(tables))
        try:
            rows = await self._read(query)
        except TooSlow as error:
            raise self._objected(running.TIME, self._milliseconds(), TimedOut) from error
        except TooLarge as error:
            raise self._objected(running.BYTES, error.size) from error
        self._measured(running.BYTES, rows.size)
        return query, rows

    async def record(self, outcome: Outcome, *, rule: str | None = None, row_count: int = 0) -> None:
        """What became of it."""
        with self.watch.stage("audit"):
            kept = Record(
                self.caller.subject, self.document, outcome, self.watch.seconds, self.figures, rule, row_count
            )
            await audit.write(self.database, kept, self.settings.audit_days)

    def _allowed(self, tables: Tables) -> Case:
        verdict = judge(self.document, tables, self.settings)
        self.figures += verdict.figures
        if isinstance(verdict, Refuse):
            raise Objected(verdict)
        return verdict.case

    async def _read(self, query: Compiled) -> Rows:
        async with confined(self.database, self.caller, self.settings) as connection:
            with self.watch.stage("plan"):
                cost = coarse(await plan_cost(connection, query))
            self._measured(running.COST, cost)
            with self.watch.stage("read"):
                rows = await fetch(connection, query, self.document.limit, self.settings)
        self._measured(running.TIME, self._milliseconds())
        return rows

    def _milliseconds(self) -> int:
        return math.ceil(self.watch.seconds * 1000)

    def _measured(self, limit: Limit, actual: int, error: type[ReelmillError] = Refused) -> None:
        """The figure is kept; above the limit it is an objection."""
        bound = limit.of(self.settings)
        if actual > bound:
            raise self._objected(limit, actual, error)
        self.figures += (Figure(limit.name, bound, actual),)

    def _objected(self, limit: Limit, actual: int, error: type[ReelmillError] = Refused) -> Objected:
        refused = refuse(self.figures, over(limit, self.settings, actual))
        self.figures = refused.figures
        return Objected(refused, error)


def coarse(cost: float) -> int:
    """Rounded up to one significant digit: the planner's estimate knows of rows that the caller may not see."""
    step: int = 10 ** math.floor(math.log10(max(cost, 1)))
    return math.ceil(cost / step) * step
