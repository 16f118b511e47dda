"""The steps of one question: each model runs in turn with a time limit and a trace step."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from service.agent import prompts
from service.agent.answers import HELP_TEXT, NOT_UNDERSTOOD_TEXT, format_rows, require_text
from service.agent.common_questions import Intent, match_intent, suggest_question, with_name
from service.agent.drafts import RefusedDraft, keep_accepted, parse_document, parse_output
from service.agent.facts.facts import Facts, FoundName
from service.agent.facts.names import without_name
from service.agent.facts.question import find_facts
from service.agent.facts.subjects import asks_for_video, guess_table
from service.agent.lookup import NameReference
from service.agent.ollama_client import LanguageModels, ModelRole, Prompt, UnusableOutput
from service.agent.reading.reader import read_question
from service.agent.renders.options import find_options
from service.agent.renders.requests import RenderIntent, RequestedRender, prepare_render, with_intent
from service.agent.session import PreviousTurn, QuerySession, StepName, TextAnswer, TraceStep
from service.errors import GatewayTimeout, QueryRefusal, ReelmillError
from service.guard.document import Document
from service.guard.guard import QueryResult

Draft = TypeVar("Draft")
Result = TypeVar("Result")
MAX_ATTEMPTS = 2
# Of a question whose kind no model can tell: what has names to ask for.
DEFAULT_TABLE = "datasets"


@dataclass(slots=True)
class QuestionProcessor:
    """The state of one question. `deadline` is in the event loop's time; `used_models` are the models asked so far."""

    question: str
    models: LanguageModels
    session: QuerySession
    deadline: float
    previous: PreviousTurn | None = None
    kind: str = "unknown"
    used_models: dict[ModelRole, str] = field(default_factory=dict)

    @property
    def steps(self) -> list[TraceStep]:
        """The steps taken so far."""
        return self.session.trace.steps

    async def retrieve(self) -> TextAnswer | QueryResult | None:
        """A text answer, rows that need a text, or None if the question is not about data."""
        intent = match_intent(self.question)
        answer = await self._answer_common_question(intent) if intent else None
        if answer is not None and answer.is_final and not answer.is_unknown_name:
            return answer
        self.session.forget_result()
        facts = await self._find_facts()
        if answer is not None and intent is not None and (name := facts.only_resembling_name()):
            return await self._answer_about(intent, name) or answer
        if answer is not None and answer.is_final:
            return answer
        if (prepared := await self._prepare_without_model(facts)) is not None:
            return prepared
        if (read := await self._read_without_model(facts)) is not None:
            return read
        if answer is not None and self.models.host is None:
            return answer
        subject = await self._classify()
        match subject:
            case prompts.VIDEO:
                self.kind = "render"
                return await self._prepare_render(facts) or TextAnswer(NOT_UNDERSTOOD_TEXT)
            case prompts.OTHER:
                self.kind = "other"
                return None
            case table:
                self.kind = "data"
                return await self._query_data(table, facts)

    async def phrase_answer(self, finding: TextAnswer | QueryResult | None) -> str:
        """The text of the answer. If the model fails, rows are formatted without it."""
        if isinstance(finding, TextAnswer):
            return finding.text
        if finding is None:
            try:
                return await self._ask_for_text(prompts.chat_prompt(self.question))
            except UnusableOutput:
                return HELP_TEXT
        if self.models.host is None:
            return format_rows(finding)
        try:
            return await self._ask_for_text(prompts.answer_prompt(self.question, finding))
        except (ReelmillError, UnusableOutput):
            return format_rows(finding)

    async def _answer_about(self, intent: Intent, name: FoundName) -> TextAnswer | None:
        """A common question about a name that is misspelt in it."""
        answer = await self._answer_common_question(with_name(intent, NameReference(name.id)))
        text = f"Nothing has the name that you gave; {name.name} is like it."
        return answer and replace(answer, text=f"{text} {answer.text}")

    async def _answer_common_question(self, intent: Intent) -> TextAnswer | None:
        self.kind = "common"
        try:
            with self.session.trace.record_step("common") as step:
                answer = await intent(self.session)
                step.outcome = "done" if answer.is_final else "not_found"
        except QueryRefusal:
            return None
        return answer

    async def _prepare_without_model(self, facts: Facts) -> TextAnswer | None:
        """A render of the one name that the question has letter for letter: a model would have nothing to choose."""
        if self.previous is not None or (name := facts.only_exact_name()) is None:
            return None
        options = find_options(without_name(self.question, name.name), datetime.now(UTC))
        if not asks_for_video(self.question) and (guess_table(self.question) or not options.has_rate()):
            return None
        self.kind = "render"
        with self.session.trace.record_step("read") as step:
            step.detail = name.name
        return await prepare_render(self.session, RequestedRender(NameReference(name.id), options))

    async def _read_without_model(self, facts: Facts) -> QueryResult | None:
        """Rows for a question of which every word is understood; a follow-up has a sense that its words do not tell."""
        if self.previous is not None:
            return None
        tables = await self.session.guard.tables()
        with self.session.trace.record_step("read") as step:
            document = read_question(self.question, tables, facts, self.session.caller.subject)
            step.outcome, step.detail = ("not_found", "") if document is None else ("done", document.table)
        if document is None:
            return None
        self.kind = "read"
        try:
            return await self.session.run_query(document)
        except (QueryRefusal, GatewayTimeout):
            return None

    async def _classify(self) -> str:
        """The table that the question is about, VIDEO or OTHER. A model reads it if its words name no table alone."""
        if self.models.host is not None and (table := self._known_table()):
            with self.session.trace.record_step("classify") as step:
                step.detail = table
            return table
        tables = await self.session.guard.tables()
        try:
            with self._record_model_step("classify", "fast") as step:
                text = await self._generate("fast", prompts.classification_prompt(self.question, tables))
                step.detail = parse_output(prompts.Classification, text).kind
                if step.detail not in (*tables, prompts.VIDEO, prompts.OTHER):
                    raise UnusableOutput("there is no such kind")
        except UnusableOutput:
            return DEFAULT_TABLE
        return step.detail

    def _known_table(self) -> str | None:
        """The table that needs no model: of the question's words or, for a follow-up, of the query before."""
        if self.previous is not None and not asks_for_video(self.question):
            return guess_table(self.question) or self.previous.document.table
        return guess_table(self.question)

    async def _query_data(self, table: str, facts: Facts) -> QueryResult | TextAnswer:
        """Let the model write a guarded query and run it. If two attempts fail, offer the nearest common question."""

        async def run(document: Document) -> QueryResult:
            try:
                return await session.run_query(document)
            except (QueryRefusal, GatewayTimeout) as error:
                raise RefusedDraft(error) from error

        session = self.session
        asker = prompts.Asker(session.caller.subject, datetime.now(UTC), session.max_rows, self.previous)
        prompt = prompts.document_prompt(self.question, (await session.guard.tables())[table], facts, asker)
        found = await self._draft_with_retry("document", prompt, parse_document, run)
        return found or TextAnswer(suggest_question(table, facts))

    async def _find_facts(self) -> Facts:
        """What code finds in the question."""
        with self.session.trace.record_step("facts") as step:
            facts = await find_facts(self.session, self.question, datetime.now(UTC))
            found = facts.as_data()
            step.detail = ", ".join(f"{len(each)} {name.replace('_', ' ')}" for name, each in found.items())
        self.session.forget_result()
        return facts

    async def _prepare_render(self, facts: Facts) -> TextAnswer | None:
        """Let the model write a render intent and prepare a request from it; None if two attempts fail."""

        options = find_options(self.question, datetime.now(UTC))

        async def prepare(intent: RenderIntent) -> TextAnswer:
            render = RequestedRender(NameReference(intent.experiment), with_intent(options, intent))
            return await prepare_render(self.session, render)

        prompt = prompts.render_intent_prompt(self.question, facts)
        return await self._draft_with_retry("render", prompt, partial(parse_output, RenderIntent), prepare)

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
                schema = prompt.schema
                if isinstance(error, RefusedDraft) and schema is not None:
                    schema = keep_accepted(schema, text, error.pointers)
                prompt = prompt.with_correction(text, str(error), schema)
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
