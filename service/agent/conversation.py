"""One question on its way: a common one, or the models in turn, each step with a limit and on record."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from service import clock
from service.agent import documents, prompts, wording
from service.agent.desk import QuerySession, TextAnswer
from service.agent.journal import StepName
from service.agent.lookup import NameReference
from service.agent.models import LanguageModels, ModelRole, Prompt, UnusableOutput
from service.agent.renders import RenderIntent, prepare_render
from service.agent.shortcuts import match_intent
from service.errors import GatewayTimeout, QueryRefusal, ReelmillError
from service.guard.ask import QueryResult
from service.guard.document import Document

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
                return await self._query_data() or TextAnswer(wording.NOT_UNDERSTOOD_TEXT)
            case "render":
                return await self._draft_render_request() or TextAnswer(wording.NOT_UNDERSTOOD_TEXT)
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
                "default", "words", prompts.answer_prompt(self.question, finding), wording.require_text
            )
        except (ReelmillError, UnusableOutput):
            return wording.format_rows(finding)

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
        read = partial(documents.parse_output, prompts.Classification)
        try:
            kind = (await self._ask_model("fast", "classify", prompts.classification_prompt(self.question), read)).kind
        except UnusableOutput:
            return "data"
        self.session.trace.steps[-1].detail = kind
        return kind

    async def _query_data(self) -> QueryResult | None:
        desk = self.session
        tables = await desk.guard.tables()
        prompt = prompts.document_prompt(self.question, tables, desk.max_rows, desk.caller.subject, clock.utc_now())
        return await self._draft_with_retry(
            "document", prompt, partial(documents.parse_output, Document), self._run_document
        )

    async def _run_document(self, document: Document) -> QueryResult:
        try:
            return await self.session.run_query(document)
        except (QueryRefusal, GatewayTimeout) as refused:
            raise UnusableOutput(documents.describe_refusal(refused)) from refused

    async def _draft_render_request(self) -> TextAnswer | None:
        prompt, read = prompts.render_intent_prompt(self.question), partial(documents.parse_output, RenderIntent)
        return await self._draft_with_retry("render", prompt, read, self._prepare_render)

    async def _prepare_render(self, intent: RenderIntent) -> TextAnswer:
        return await prepare_render(self.session, NameReference(intent.experiment), intent)

    async def _chat_reply(self) -> str:
        try:
            return await self._ask_model("default", "words", prompts.chat_prompt(self.question), wording.require_text)
        except UnusableOutput:
            return wording.HELP_TEXT

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
