"""One question on its way: a common one, or the models in turn, each step with a limit and on record."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from service import clock
from service.agent import documents, prompts, wording
from service.agent.desk import Desk, Told
from service.agent.journal import StepName
from service.agent.lookup import Named
from service.agent.models import Models, Prompt, Role, Unusable
from service.agent.renders import RenderWish, prepared
from service.agent.shortcuts import matching
from service.errors import ReelmillError, Refused, TimedOut
from service.guard.ask import Answer
from service.guard.document import Document

Draft = TypeVar("Draft")
Result = TypeVar("Result")
ATTEMPTS = 2


@dataclass(slots=True)
class Reading(Generic[Draft]):
    """Reads a model's text, and keeps it: whoever repairs it must see it."""

    read: Callable[[str], Draft]
    text: str = ""

    def of(self, text: str) -> Draft:
        self.text = text
        return self.read(text)


@dataclass(slots=True)
class Conversation:
    """`deadline` is the event loop's time. `used`: the models that were asked, by role."""

    question: str
    models: Models
    desk: Desk
    deadline: float
    kind: str = "unknown"
    used: dict[Role, str] = field(default_factory=dict)

    async def findings(self) -> Told | Answer | None:
        """A finished answer; or rows to be put into words; or None when nothing is to be looked up."""
        told = await self._common()
        if told is not None and (told.settled or self.models.host is None):
            return told
        self.desk.document = self.desk.answer = None
        self.kind = await self._kind()
        match self.kind:
            case "data":
                return await self._data() or Told(wording.NOT_UNDERSTOOD)
            case "render":
                return await self._render() or Told(wording.NOT_UNDERSTOOD)
            case _:
                return None

    async def words(self, found: Told | Answer | None) -> str:
        """The answer's text. With rows there is always one, whatever becomes of the model."""
        if isinstance(found, Told):
            return found.text
        if found is None:
            return await self._chat()
        try:
            return await self._say("default", "words", prompts.words_prompt(self.question, found), wording.tidied)
        except (ReelmillError, Unusable):
            return wording.plainly(found)

    async def _common(self) -> Told | None:
        question = matching(self.question)
        if question is None:
            return None
        self.kind = "common"
        try:
            with self.desk.journal.step("common") as step:
                told = await question(self.desk)
                step.outcome = "done" if told.settled else "not_found"
        except Refused:
            return None
        return told

    async def _kind(self) -> str:
        """Taken for a question about data when the model does not tell."""
        read = partial(documents.read, prompts.Verdict)
        try:
            kind = (await self._say("fast", "classify", prompts.kind_prompt(self.question), read)).kind
        except Unusable:
            return "data"
        self.desk.journal.steps[-1].detail = kind
        return kind

    async def _data(self) -> Answer | None:
        desk = self.desk
        tables = await desk.guard.tables()
        prompt = prompts.document_prompt(self.question, tables, desk.max_rows, desk.caller.subject, clock.now())
        return await self._drafted("document", prompt, partial(documents.read, Document), self._run)

    async def _run(self, document: Document) -> Answer:
        try:
            return await self.desk.ask(document)
        except (Refused, TimedOut) as refused:
            raise Unusable(documents.reason(refused)) from refused

    async def _render(self) -> Told | None:
        prompt, read = prompts.wish_prompt(self.question), partial(documents.read, RenderWish)
        return await self._drafted("render", prompt, read, self._prepare)

    async def _prepare(self, wish: RenderWish) -> Told:
        return await prepared(self.desk, Named(wish.experiment), wish)

    async def _chat(self) -> str:
        try:
            return await self._say("default", "words", prompts.chat_prompt(self.question), wording.tidied)
        except Unusable:
            return wording.HELP

    async def _drafted(
        self,
        step: StepName,
        prompt: Prompt,
        read: Callable[[str], Draft],
        use: Callable[[Draft], Awaitable[Result]],
    ) -> Result | None:
        """What becomes of the model's draft, or of a second one that knows what was wrong with the first."""
        for _attempt in range(ATTEMPTS):
            draft = Reading(read)
            try:
                return await use(await self._say("code", step, prompt, draft.of))
            except Unusable as unusable:
                prompt = prompt.repaired(draft.text, str(unusable))
        return None

    async def _say(self, role: Role, step: StepName, prompt: Prompt, read: Callable[[str], Draft]) -> Draft:
        """A model's output, read. Raises Unusable when it cannot be; Unavailable, TimedOut."""
        self.used[role] = self.models.name(role)
        with self.desk.journal.step(step, self.used[role]):
            return read(await self.models.say(role, prompt, self.deadline - asyncio.get_running_loop().time()))
