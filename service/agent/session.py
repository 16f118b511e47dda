"""The agent's access to data, which is guarded queries of the caller, and the trace of steps shown to the user."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from service.agent.ollama_client import UnusableOutput
from service.errors import GatewayTimeout, QueryRefusal, ServiceUnavailable
from service.guard.document import Document
from service.guard.guard import Guard, QueryResult
from service.plan.estimate import Estimate
from service.store.database import Caller

EstimateRender = Callable[[dict[str, Any]], Awaitable[Estimate]]
StepName = Literal["common", "facts", "read", "classify", "document", "query", "render", "words"]
StepOutcome = Literal["done", "not_found", "refused", "unusable", "timed_out", "unavailable", "failed"]
OUTCOME_BY_ERROR: tuple[tuple[type[BaseException], StepOutcome], ...] = (
    (asyncio.CancelledError, "timed_out"),
    (UnusableOutput, "unusable"),
    (QueryRefusal, "refused"),
    (GatewayTimeout, "timed_out"),
    (ServiceUnavailable, "unavailable"),
)


@dataclass(slots=True)
class TraceStep:
    """One step. `outcome` and `detail` are set while it runs; `ms` is its duration."""

    name: StepName
    model: str | None = None
    ms: float = 0
    outcome: StepOutcome = "done"
    detail: str = ""


@dataclass(slots=True)
class Trace:
    """The steps in order, including failed ones. `on_step` is called when one has ended."""

    steps: list[TraceStep] = field(default_factory=list)
    on_step: Callable[[TraceStep], None] | None = None

    @contextmanager
    def record_step(self, name: StepName, model: str | None = None) -> Iterator[TraceStep]:
        """Add a step and set its duration and, if the block raises, its outcome."""
        started, step = time.perf_counter(), TraceStep(name, model)
        self.steps.append(step)
        try:
            yield step
        except BaseException as error:
            step.outcome = next((outcome for kind, outcome in OUTCOME_BY_ERROR if isinstance(error, kind)), "failed")
            step.detail = str(error) if step.outcome != "failed" else ""
            raise
        finally:
            step.ms = round((time.perf_counter() - started) * 1000, 1)
            if self.on_step is not None:
                self.on_step(step)


@dataclass(frozen=True, slots=True)
class PreviousTurn:
    """The question before and the query that answered it, to which a follow-up may refer."""

    question: str
    document: Document


@dataclass(frozen=True, slots=True)
class RenderSuggestion:
    """A prepared request: members of `POST /api/videos/generate`. `estimate`: what it would cost, if it was asked."""

    request: dict[str, Any]
    estimate: Estimate | None = None


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """A text answer. `is_final` is False if nothing was found and a model may understand the question better.
    `is_unknown_name`: nothing of the name was found that the question may have."""

    text: str
    is_final: bool = True
    is_unknown_name: bool = False
    suggestion: RenderSuggestion | None = None


@dataclass(slots=True)
class QuerySession:
    """Runs guarded queries for one question and keeps the last document and its result. `estimate_render`: what
    `dry_run` answers; None if requests are prepared without it."""

    guard: Guard
    caller: Caller
    trace: Trace
    max_rows: int
    estimate_render: EstimateRender | None = None
    document: Document | None = None
    result: QueryResult | None = None

    async def run_query(self, document: Document) -> QueryResult:
        """Run a query for at most `max_rows` rows. Raises the errors of the guard."""
        limit = min(document.limit, self.max_rows, self.guard.settings.max_rows)
        limited = document.model_copy(update={"limit": limit})
        with self.trace.record_step("query") as step:
            result = await self.guard.run_query(self.caller, limited)
            step.detail = f"{len(result.rows)} rows of {result.table}"
        self.document, self.result = limited, result
        return result

    def forget_result(self) -> None:
        """What was looked up so far is not the answer."""
        self.document = self.result = None

    async def fetch_rows(self, **document: Any) -> list[dict[str, Any]]:
        """The rows of a query that the agent itself has written, given as fields of Document."""
        return (await self.run_query(Document.model_validate(document))).rows
