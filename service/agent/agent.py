"""Answer one question for one caller. Common questions need no model; for others, each model runs in turn with a time
limit and a trace step.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

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
    """A model's output as plain text. Raises UnusableOutput if nothing is left."""
    if text := sanitize(output):
        return text
    raise UnusableOutput("it is empty")


def sanitize(output: str) -> str:
    """Remove unprintable characters and limit the length."""
    return UNPRINTABLE_CHARACTERS.sub(" ", output).strip()[:MAX_ANSWER_CHARACTERS]


def format_rows(result: QueryResult) -> str:
    """A short text that lists the first rows."""
    if not result.rows:
        return f"There are no such rows in {result.table}."
    listed = "; ".join(
        ", ".join(f"{name} {_format_cell(value)}" for name, value in row.items())
        for row in result.rows[:MAX_LISTED_ROWS]
    )
    if len(result.rows) == 1 and not result.truncated:
        return f"{listed}."
    count = f"{'At least ' if result.truncated else ''}{len(result.rows):,} rows of {result.table}"
    first = ", the first of them" if len(result.rows) > MAX_LISTED_ROWS else ""
    return f"{count}{first}: {listed}."


def _format_cell(value: Any) -> str:
    if value is None:
        return "not set"
    text = sanitize(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= MAX_LISTED_CELL_CHARACTERS else f"{text[:MAX_LISTED_CELL_CHARACTERS]}…"


Draft = TypeVar("Draft")
Result = TypeVar("Result")
MAX_ATTEMPTS = 2


@dataclass(slots=True)
class QuestionProcessor:
    """The state of one question. `deadline` is in the event loop's time; `used_models` are the models asked so far."""

    question: str
    models: LanguageModels
    session: QuerySession
    deadline: float
    kind: str = "unknown"
    used_models: dict[ModelRole, str] = field(default_factory=dict)

    @property
    def steps(self) -> list[TraceStep]:
        """The steps taken so far."""
        return self.session.trace.steps

    async def retrieve(self) -> TextAnswer | QueryResult | None:
        """A text answer, rows that need a text, or None if the question is not about data."""
        answer = await self._answer_common_question()
        if answer is not None and (answer.is_final or self.models.host is None):
            return answer
        self.session.document = self.session.result = None
        self.kind = await self._classify()
        match self.kind:
            case "data":
                return await self._query_data() or TextAnswer(NOT_UNDERSTOOD_TEXT)
            case "render":
                return await self._prepare_render() or TextAnswer(NOT_UNDERSTOOD_TEXT)
            case _:
                return None

    async def phrase_answer(self, finding: TextAnswer | QueryResult | None) -> str:
        """The text of the answer. If the model fails, rows are formatted without it."""
        if isinstance(finding, TextAnswer):
            return finding.text
        if finding is None:
            try:
                return await self._ask_for_text(prompts.chat_prompt(self.question))
            except UnusableOutput:
                return HELP_TEXT
        try:
            return await self._ask_for_text(prompts.answer_prompt(self.question, finding))
        except (ReelmillError, UnusableOutput):
            return format_rows(finding)

    async def _answer_common_question(self) -> TextAnswer | None:
        intent = match_intent(self.question)
        if intent is None:
            return None
        self.kind = "common"
        try:
            with self.session.trace.record_step("common") as step:
                answer = await intent(self.session)
                step.outcome = "done" if answer.is_final else "not_found"
        except QueryRefusal:
            return None
        return answer

    async def _classify(self) -> str:
        """The kind of the question; `data` if the model's output is unusable."""
        try:
            with self._record_model_step("classify", "fast") as step:
                text = await self._generate("fast", prompts.classification_prompt(self.question))
                step.detail = prompts.parse_output(prompts.Classification, text).kind
        except UnusableOutput:
            return "data"
        return step.detail

    async def _query_data(self) -> QueryResult | None:
        """Let the model write a guarded query and run it; None if two attempts fail."""

        async def run(document: Document) -> QueryResult:
            try:
                return await session.run_query(document)
            except (QueryRefusal, GatewayTimeout) as error:
                raise UnusableOutput(prompts.describe_refusal(error)) from error

        session = self.session
        tables, subject = await session.guard.tables(), session.caller.subject
        prompt = prompts.document_prompt(self.question, tables, session.max_rows, subject, datetime.now(UTC))
        return await self._draft_with_retry("document", prompt, partial(prompts.parse_output, Document), run)

    async def _prepare_render(self) -> TextAnswer | None:
        """Let the model write a render intent and prepare a request from it; None if two attempts fail."""

        async def prepare(intent: RenderIntent) -> TextAnswer:
            return await prepare_render(self.session, NameReference(intent.experiment), intent)

        prompt = prompts.render_intent_prompt(self.question)
        return await self._draft_with_retry("render", prompt, partial(prompts.parse_output, RenderIntent), prepare)

    async def _draft_with_retry(
        self,
        name: StepName,
        prompt: Prompt,
        parse: Callable[[str], Draft],
        use: Callable[[Draft], Awaitable[Result]],
    ) -> Result | None:
        """Use a draft of the model. If it is unusable, the model gets the reason and one more attempt."""
        for _attempt in range(MAX_ATTEMPTS):
            text = ""
            try:
                with self._record_model_step(name, "code"):
                    text = await self._generate("code", prompt)
                    draft = parse(text)
                return await use(draft)
            except UnusableOutput as error:
                prompt = prompt.with_correction(text, str(error))
        return None

    async def _ask_for_text(self, prompt: Prompt) -> str:
        with self._record_model_step("words", "default"):
            return require_text(await self._generate("default", prompt))

    @contextmanager
    def _record_model_step(self, name: StepName, role: ModelRole) -> Iterator[TraceStep]:
        """Record a step of a model, including the parsing of its output."""
        self.used_models[role] = self.models.model_name(role)
        with self.session.trace.record_step(name, self.used_models[role]) as step:
            yield step

    async def _generate(self, role: ModelRole, prompt: Prompt) -> str:
        """The model's text. Raises UnusableOutput, ServiceUnavailable, and GatewayTimeout at the deadline."""
        return await self.models.generate(role, prompt, self.deadline - asyncio.get_running_loop().time())


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

    async def ask(self, caller: Caller, question: str) -> Reply:
        """Raises ServiceUnavailable if a required model is missing, GatewayTimeout, and the errors of the guard.

        The errors have the steps taken so far in the extension `steps`.
        """
        deadline = asyncio.get_running_loop().time() + self._settings.timeout_s
        session = QuerySession(self._guard, caller, Trace(), self._settings.max_rows)
        processor = QuestionProcessor(question, self.models, session, deadline)
        try:
            finding = await self._retrieve(processor)
            reply = _build_reply(processor, await processor.phrase_answer(finding), finding)
        except ReelmillError as error:
            _record_outcome(processor, error.slug)
            error.extensions["steps"] = [asdict(step) for step in processor.steps]
            raise
        _record_outcome(processor, "answered")
        return reply

    async def _retrieve(self, processor: QuestionProcessor) -> TextAnswer | QueryResult | None:
        """Raises GatewayTimeout at the deadline, which covers only retrieval: rows can be formatted without a model."""
        try:
            async with asyncio.timeout_at(processor.deadline) as limit:
                return await processor.retrieve()
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise GatewayTimeout(f"no answer was found within {self._settings.timeout_s:g} s") from error


def _build_reply(processor: QuestionProcessor, text: str, finding: TextAnswer | QueryResult | None) -> Reply:
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


def _record_outcome(processor: QuestionProcessor, outcome: str) -> None:
    """Count and log the outcome. The question is private and is not logged."""
    AGENT_QUESTIONS.labels(processor.kind, outcome).inc()
    steps = [f"{step.name} {step.outcome} {step.ms:.0f} ms" for step in processor.steps]
    log.info("agent_asked", user=processor.session.caller.subject, kind=processor.kind, outcome=outcome, steps=steps)
