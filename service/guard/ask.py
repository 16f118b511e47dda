"""The one way to ask: a document and a caller in, an answer or a named error out."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from service.errors import ReelmillError, TimedOut, TooManyRequests
from service.guard import cursor
from service.guard.audit import Outcome
from service.guard.compile import Compiled
from service.guard.document import Document
from service.guard.execute import Rows, limits_told
from service.guard.inquiry import Inquiry
from service.guard.policy import Figure, Objected, told
from service.guard.settings import GuardSettings
from service.guard.tables import Tables, reflected
from service.guard.turnstile import Turnstile
from service.store.database import Caller, Database


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows of JSON values. `figures`: every rule with its limit and what it measured."""

    table: str
    columns: tuple[tuple[str, str], ...]
    rows: list[dict[str, Any]]
    truncated: bool
    next_cursor: str | None
    elapsed_ms: float
    figures: tuple[Figure, ...]
    server_timing: str


class Guard:
    """Made once in a process: it remembers the tables, and counts what each caller has running."""

    def __init__(self, database: Database, settings: GuardSettings) -> None:
        self.settings = settings
        self._database = database
        self._turnstile = Turnstile()
        self._tables: Tables | None = None
        self._reflecting = asyncio.Lock()

    async def tables(self) -> Tables:
        """What may be asked about."""
        async with self._reflecting:
            if self._tables is None:
                with limits_told():
                    async with self._database.service() as connection:
                        self._tables = await reflected(connection)
            return self._tables

    async def ask(self, caller: Caller, document: Document) -> Answer:
        """Judge, run as `caller`, record. An answer that cannot be recorded is not given.

        Raises Refused (422), TimedOut (504), TooManyRequests (429), all of them with the rule and its figures as the
        extension `guardrails`; Unavailable (503) while a table is locked; and what a lost database raises.
        """
        inquiry = Inquiry(self._database, self.settings, caller, document)
        with self._turnstile.passed(caller.subject) as running_now:
            try:
                query, rows = await inquiry.run(await self.tables(), running_now)
            except Objected as objected:
                raise await _refused(inquiry, objected) from objected
            except Exception:
                with suppress(Exception):  # most likely the database is away; the first error tells more
                    await inquiry.record("failed")
                raise
            return await _answer(inquiry, query, rows)


async def _refused(inquiry: Inquiry, objected: Objected) -> ReelmillError:
    """The error to raise, once the refusal is on record."""
    error = told(objected)
    outcome: Outcome = "timed_out" if isinstance(error, TimedOut) else "refused"
    await inquiry.record(outcome, rule=objected.refused.objections[0].figure.rule)
    error.headers["Server-Timing"] = inquiry.watch.server_timing()
    if isinstance(error, TooManyRequests):
        error.headers["Retry-After"] = "1"
    return error


async def _answer(inquiry: Inquiry, query: Compiled, rows: Rows) -> Answer:
    document, elapsed_ms = inquiry.document, inquiry.watch.seconds * 1000
    await inquiry.record("answered", row_count=len(rows.rows))
    return Answer(
        table=document.table,
        columns=tuple((name, kind.name) for name, kind in query.columns),
        rows=rows.rows,
        truncated=rows.truncated,
        next_cursor=cursor.encoded(document, query.keys, rows.last) if rows.truncated else None,
        elapsed_ms=elapsed_ms,
        figures=inquiry.figures,
        server_timing=inquiry.watch.server_timing(),
    )
