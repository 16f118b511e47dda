"""Answer one question for one caller: a common question if it matches, else the models in turn, each with a time
limit and a trace step.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic, TypeVar

import structlog

from service.agent import prompts
from service.agent.common_questions import match_intent
from service.agent.lookup import NameReference
from service.agent.ollama_client import LanguageModels, ModelRole, Prompt, UnusableOutput
from service.agent.render_requests import RenderIntent, prepare_render
from service.agent.session import QuerySession, RenderSuggestion, StepName, TextAnswer, Trace, TraceStep
from service.agent.settings import AgentSettings
from service.errors import GatewayTimeout, QueryRefusal, ReelmillError
from service.guard.document import Document
from service.guard.guard import Guard, QueryResult
from service.store.database import Caller
from service.telemetry.metrics import AGENT_QUESTIONS

MAX_ANSWER_CHARACTERS, MAX_LISTED_ROWS, MAX_LISTED_CELL_CHARACTERS = 4000, 5, 80
UNPRINTABLE_CHARACTERS = re.compile(
    r"[^\S\n ]|[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
)
HELP_TEXT = (
    "I look up experiments, datasets, frames and renders, and prepare render requests. For instance:"
    ' "latest experiments", "how many frames has NAME", "list datasets of NAME",'
    ' "make a video of NAME with every 4th frame at 24 fps".'
)
NOT_UNDERSTOOD_TEXT = "I could not turn this question into a query that is allowed. " + HELP_TEXT


def require_text(output: str) -> str:
    """A model's words, tidy. Raises Unusable when nothing is left."""
    if text := sanitize(output):
        return text
    raise UnusableOutput("it is empty")


def sanitize(output: str) -> str:
    """Plain text of a bounded length."""
    return UNPRINTABLE_CHARACTERS.sub(" ", output).strip()[:MAX_ANSWER_CHARACTERS]


def format_rows(result: QueryResult) -> str:
    """The rows, in few words."""
    if not result.rows:
        return f"There are no such rows in {result.table}."
    shown = "; ".join(_format_row(row) for row in result.rows[:MAX_LISTED_ROWS])
    if len(result.rows) == 1 and not result.truncated:
        return f"{shown}."
    count = f"{'At least ' if result.truncated else ''}{len(result.rows):,} rows of {result.table}"
    first = ", the first of them" if len(result.rows) > MAX_LISTED_ROWS else ""
    return f"{count}{first}: {shown}."


def _format_row(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_format_cell(value)}" for name, value in row.items())


def _format_cell(value: Any) -> str:
    if value is None:
        return "not set"
    text = sanitize(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= MAX_LISTED_CELL_CHARACTERS else f"{text[:MAX_LISTED_CELL_CHARACTERS]}…"


Draft = TypeVar("Draft")
Result = TypeVar("Result")
MAX_ATTEMPTS = 2


@dataclass(slots=True)
class OutputParser(Generic[Draft]):
    """Reads a model's text, and keeps it: whoever repairs it must see it."""

    parser: Callable[[str], Draft]
    text: str = ""

    def parse(self, text: str) -> Draft:
        self.text = text
        return self.parser(text)


@dataclass(slots=True)
class QuestionProcessor:
    """`deadline` is the event loop's time. `used`: the models that were asked, by role."""

    question: str
    models: LanguageModels
    session: QuerySession
    deadline: float
    kind: str = "unknown"
    used_models: dict[ModelRole, str] = field(default_factory=dict)

    async def retrieve(self) -> TextAnswer | QueryResult | None:
        """A finished answer; or rows to be put into words; or None when nothing is to be looked up."""
        told = await self._answer_common_question()
        if told is not None and (told.is_final or self.models.host is None):
            return told
        self.session.document = self.session.result = None
        self.kind = await self._classify()
        match self.kind:
            case "data":
                return await self._query_data() or TextAnswer(NOT_UNDERSTOOD_TEXT)
            case "render":
                return await self._draft_render_request() or TextAnswer(NOT_UNDERSTOOD_TEXT)
            case _:
                return None

    async def phrase_answer(self, finding: TextAnswer | QueryResult | None) -> str:
        """The answer's text. With rows there is always one, whatever becomes of the model."""
        if isinstance(finding, TextAnswer):
            return finding.text
        if finding is None:
            return await self._chat_reply()
        try:
            return await self._ask_model(
                "default", "words", prompts.answer_prompt(self.question, finding), require_text
            )
        except (ReelmillError, UnusableOutput):
            return format_rows(finding)

    async def _answer_common_question(self) -> TextAnswer | None:
        question = match_intent(self.question)
        if question is None:
            return None
        self.kind = "common"
        try:
            with self.session.trace.record_step("common") as step:
                told = await question(self.session)
                step.outcome = "done" if told.is_final else "not_found"
        except QueryRefusal:
            return None
        return told

    async def _classify(self) -> str:
        """Taken for a question about data when the model does not tell."""
        read = partial(prompts.parse_output, prompts.Classification)
        try:
            kind = (await self._ask_model("fast", "classify", prompts.classification_prompt(self.question), read)).kind
        except UnusableOutput:
            return "data"
        self.session.trace.steps[-1].detail = kind
        return kind

    async def _query_data(self) -> QueryResult | None:
        desk = self.session
        tables = await desk.guard.tables()
        prompt = prompts.document_prompt(self.question, tables, desk.max_rows, desk.caller.subject, datetime.now(UTC))
        return await self._draft_with_retry(
            "document", prompt, partial(prompts.parse_output, Document), self._run_document
        )

    async def _run_document(self, document: Document) -> QueryResult:
        try:
            return await self.session.run_query(document)
        except (QueryRefusal, GatewayTimeout) as refused:
            raise UnusableOutput(prompts.describe_refusal(refused)) from refused

    async def _draft_render_request(self) -> TextAnswer | None:
        prompt, read = prompts.render_intent_prompt(self.question), partial(prompts.parse_output, RenderIntent)
        return await self._draft_with_retry("render", prompt, read, self._prepare_render)

    async def _prepare_render(self, intent: RenderIntent) -> TextAnswer:
        return await prepare_render(self.session, NameReference(intent.experiment), intent)

    async def _chat_reply(self) -> str:
        try:
            return await self._ask_model("default", "words", prompts.chat_prompt(self.question), require_text)
        except UnusableOutput:
            return HELP_TEXT

    async def _draft_with_retry(
        self,
        step: StepName,
        prompt: Prompt,
        read: Callable[[str], Draft],
        use: Callable[[Draft], Awaitable[Result]],
    ) -> Result | None:
        """What becomes of the model's draft, or of a second one that knows what was wrong with the first."""
        for _attempt in range(MAX_ATTEMPTS):
            draft = OutputParser(read)
            try:
                return await use(await self._ask_model("code", step, prompt, draft.parse))
            except UnusableOutput as unusable:
                prompt = prompt.with_correction(draft.text, str(unusable))
        return None

    async def _ask_model(self, role: ModelRole, step: StepName, prompt: Prompt, parse: Callable[[str], Draft]) -> Draft:
        """A model's output, read. Raises Unusable when it cannot be; Unavailable, TimedOut."""
        self.used_models[role] = self.models.model_name(role)
        with self.session.trace.record_step(step, self.used_models[role]):
            return parse(await self.models.generate(role, prompt, self.deadline - asyncio.get_running_loop().time()))


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
