"""The way in: a caller and a question, an answer or a named error."""

import asyncio
from dataclasses import asdict, dataclass
from typing import Any

import structlog

from service.agent.conversation import QuestionProcessor
from service.agent.desk import QuerySession, RenderSuggestion, TextAnswer
from service.agent.journal import Trace, TraceStep
from service.agent.models import LanguageModels, ModelRole
from service.agent.settings import AgentSettings
from service.errors import GatewayTimeout, ReelmillError
from service.guard.ask import Guard, QueryResult
from service.guard.document import Document
from service.store.database import Caller
from service.telemetry.metrics import AGENT_QUESTIONS

log = structlog.get_logger("service.agent")


@dataclass(frozen=True, slots=True)
class Reply:
    """`document` is the guarded query whose `rows` these are; `suggestion` is prepared and never sent."""

    answer: str
    document: Document | None
    rows: list[dict[str, Any]]
    truncated: bool
    models: dict[ModelRole, str]
    steps: list[TraceStep]
    suggestion: RenderSuggestion | None


class Agent:
    """Made once in a process. It reads as the caller does, and has no other tool."""

    def __init__(self, guard: Guard, models: LanguageModels, settings: AgentSettings) -> None:
        self.models = models
        self._guard = guard
        self._settings = settings

    async def ask(self, caller: Caller, question: str) -> Reply:
        """Raises Unavailable (503) without the models it takes, TimedOut (504), and what the guard raises.

        Those of a question under way have its steps so far as the extension `steps`.
        """
        deadline = asyncio.get_running_loop().time() + self._settings.timeout_s
        desk = QuerySession(self._guard, caller, Trace(), self._settings.max_rows)
        talk = QuestionProcessor(question, self.models, desk, deadline)
        try:
            found = await self._find_answer(talk)
            reply = _build_reply(talk, await talk.phrase_answer(found), found)
        except ReelmillError as error:
            _record_outcome(talk, error.slug)
            error.extensions["steps"] = [asdict(step) for step in desk.trace.steps]
            raise
        _record_outcome(talk, "answered")
        return reply

    async def _find_answer(self, processor: QuestionProcessor) -> TextAnswer | QueryResult | None:
        """The deadline is for finding: what was found can always be told."""
        try:
            async with asyncio.timeout_at(processor.deadline) as limit:
                return await processor.retrieve()
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise GatewayTimeout(f"no answer was found within {self._settings.timeout_s:g} s") from error


def _build_reply(processor: QuestionProcessor, text: str, finding: TextAnswer | QueryResult | None) -> Reply:
    answer = processor.session.result
    return Reply(
        answer=text,
        document=processor.session.document,
        rows=answer.rows if answer else [],
        truncated=answer.truncated if answer else False,
        models=processor.used_models,
        steps=processor.session.trace.steps,
        suggestion=finding.suggestion if isinstance(finding, TextAnswer) else None,
    )


def _record_outcome(processor: QuestionProcessor, outcome: str) -> None:
    """Figures only: the question is the caller's."""
    AGENT_QUESTIONS.labels(processor.kind, outcome).inc()
    steps = [f"{step.name} {step.outcome} {step.ms:.0f} ms" for step in processor.session.trace.steps]
    log.info("agent_asked", user=processor.session.caller.subject, kind=processor.kind, outcome=outcome, steps=steps)
