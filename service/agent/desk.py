"""Where the agent asks the database: as the caller, through the guard, and nowhere else."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from service.agent.journal import Journal
from service.guard.ask import Answer, Guard
from service.guard.document import Document
from service.store.database import Caller


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The facts of a render request that was prepared."""

    experiment_id: UUID
    dataset_id: UUID
    decimation_factor: int
    fps: float


@dataclass(frozen=True, slots=True)
class Told:
    """An answer in words. Not `settled`: nothing was found, and a model may understand the question better."""

    text: str
    settled: bool = True
    suggestion: Suggestion | None = None


@dataclass(slots=True)
class Desk:
    """Remembers the last question that was answered."""

    guard: Guard
    caller: Caller
    journal: Journal
    max_rows: int
    document: Document | None = None
    answer: Answer | None = None

    async def ask(self, document: Document) -> Answer:
        """At most `max_rows` rows. Raises what the guard raises."""
        most = min(self.max_rows, self.guard.settings.max_rows)
        asked = document.model_copy(update={"limit": min(document.limit, most)})
        with self.journal.step("query") as step:
            answer = await self.guard.ask(self.caller, asked)
            step.detail = f"{len(answer.rows)} rows of {answer.table}"
        self.document, self.answer = asked, answer
        return answer

    async def rows(self, **document: Any) -> list[dict[str, Any]]:
        """For documents written by us."""
        return (await self.ask(Document.model_validate(document))).rows
