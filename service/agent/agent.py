"""The way in: a caller and a question, an answer or a named error."""

import asyncio
from dataclasses import asdict, dataclass
from typing import Any

import structlog

from service.agent.conversation import Conversation
from service.agent.desk import Desk, Suggestion, Told
from service.agent.journal import Journal, Step
from service.agent.models import Models, Role
from service.agent.settings import AgentSettings
from service.errors import ReelmillError, TimedOut
from service.guard.ask import Answer, Guard
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
    models: dict[Role, str]
    steps: list[Step]
    suggestion: Suggestion | None


class Agent:
    """Made once in a process. It reads as the caller does, and has no other tool."""

    def __init__(self, guard: Guard, models: Models, settings: AgentSettings) -> None:
        self.models = models
        self._guard = guard
        self._settings = settings

    async def ask(self, caller: Caller, question: str) -> Reply:
        """Raises Unavailable (503) without the models it takes, TimedOut (504), and what the guard raises.

        Those of a question under way have its steps so far as the extension `steps`.
        """
        deadline = asyncio.get_running_loop().time() + self._settings.timeout_s
        desk = Desk(self._guard, caller, Journal(), self._settings.max_rows)
        talk = Conversation(question, self.models, desk, deadline)
        try:
            found = await self._found(talk)
            reply = _reply(talk, await talk.words(found), found)
        except ReelmillError as error:
            _count(talk, error.slug)
            error.extensions["steps"] = [asdict(step) for step in desk.journal.steps]
            raise
        _count(talk, "answered")
        return reply

    async def _found(self, talk: Conversation) -> Told | Answer | None:
        """The deadline is for finding: what was found can always be told."""
        try:
            async with asyncio.timeout_at(talk.deadline) as limit:
                return await talk.findings()
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise TimedOut(f"no answer was found within {self._settings.timeout_s:g} s") from error


def _reply(talk: Conversation, text: str, found: Told | Answer | None) -> Reply:
    answer = talk.desk.answer
    return Reply(
        answer=text,
        document=talk.desk.document,
        rows=answer.rows if answer else [],
        truncated=answer.truncated if answer else False,
        models=talk.used,
        steps=talk.desk.journal.steps,
        suggestion=found.suggestion if isinstance(found, Told) else None,
    )


def _count(talk: Conversation, outcome: str) -> None:
    """Figures only: the question is the caller's."""
    AGENT_QUESTIONS.labels(talk.kind, outcome).inc()
    steps = [f"{step.name} {step.outcome} {step.ms:.0f} ms" for step in talk.desk.journal.steps]
    log.info("agent_asked", user=talk.desk.caller.subject, kind=talk.kind, outcome=outcome, steps=steps)
