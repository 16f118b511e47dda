"""Answer one question for one caller."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import structlog

from service.agent.ollama_client import LanguageModels, ModelRole
from service.agent.session import (
    EstimateRender,
    PreviousTurn,
    QuerySession,
    RenderSuggestion,
    TextAnswer,
    Trace,
    TraceStep,
)
from service.agent.settings import AgentSettings
from service.errors import GatewayTimeout, ReelmillError
from service.guard.document import Document
from service.guard.guard import Guard, QueryResult
from service.store.database import Caller
from service.telemetry.metrics import AGENT_QUESTIONS

if TYPE_CHECKING:
    from service.agent.processor import QuestionProcessor

log = structlog.get_logger("service.agent")


@dataclass(frozen=True, slots=True)
class Reply:
    """`rows` are those of the guarded query `document`. `suggestion` is prepared and never sent."""

    answer: str
    document: Document | None
    rows: list[dict[str, Any]]
    truncated: bool
    models: dict[ModelRole, str]
    steps: list[TraceStep]
    suggestion: RenderSuggestion | None


class Agent:
    """One instance per process. Its only tool is guarded queries with the permissions of the caller."""

    def __init__(self, guard: Guard, models: LanguageModels, settings: AgentSettings) -> None:
        self.models = models
        self._guard = guard
        self._settings = settings

    async def ask(
        self,
        caller: Caller,
        question: str,
        previous: PreviousTurn | None = None,
        on_step: Callable[[TraceStep], None] | None = None,
        estimate_render: EstimateRender | None = None,
    ) -> Reply:
        """Raises ServiceUnavailable if a required model is missing, GatewayTimeout, and the errors of the guard.

        `previous`: what the question may refer to. `on_step` is called after each step. `estimate_render`: what
        `dry_run` says of a request; None: requests are prepared without it. The errors have the steps taken so far in
        the extension `steps`.
        """
        deadline = asyncio.get_running_loop().time() + self._settings.timeout_s
        session = QuerySession(self._guard, caller, Trace(on_step=on_step), self._settings.max_rows, estimate_render)
        processor_type = await asyncio.to_thread(_load_processor)
        processor = processor_type(question, self.models, session, deadline, previous)
        try:
            finding = await self._retrieve(processor)
            reply = _build_reply(processor, await processor.phrase_answer(finding), finding)
        except ReelmillError as error:
            _record_outcome(processor, error.slug)
            error.extensions["steps"] = [asdict(step) for step in processor.steps]
            raise
        _record_outcome(processor, "answered")
        return reply

    async def _retrieve(self, processor: "QuestionProcessor") -> TextAnswer | QueryResult | None:
        """Raises GatewayTimeout at the deadline, which covers only retrieval: rows can be formatted without a model."""
        try:
            async with asyncio.timeout_at(processor.deadline) as limit:
                return await processor.retrieve()
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise GatewayTimeout(f"no answer was found within {self._settings.timeout_s:g} s") from error


def _load_processor() -> "type[QuestionProcessor]":
    """At the first question: a start without it takes 0.4 s less of a core."""
    from service.agent.processor import QuestionProcessor

    return QuestionProcessor


def _build_reply(processor: "QuestionProcessor", text: str, finding: TextAnswer | QueryResult | None) -> Reply:
    result = processor.session.result
    return Reply(
        answer=text,
        document=processor.session.document,
        rows=result.rows if result else [],
        truncated=result.truncated if result else False,
        models=processor.used_models,
        steps=processor.steps,
        suggestion=finding.suggestion if isinstance(finding, TextAnswer) else None,
    )


def _record_outcome(processor: "QuestionProcessor", outcome: str) -> None:
    """Count and log the outcome. The question is private and is not logged."""
    AGENT_QUESTIONS.labels(processor.kind, outcome).inc()
    steps = [f"{step.name} {step.outcome} {step.ms:.0f} ms" for step in processor.steps]
    log.info("agent_asked", user=processor.session.caller.subject, kind=processor.kind, outcome=outcome, steps=steps)
