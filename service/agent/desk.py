"""Where the agent asks the database: as the caller, through the guard, and nowhere else."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from service.agent.journal import Trace
from service.guard.ask import Guard, QueryResult
from service.guard.document import Document
from service.store.database import Caller


@dataclass(frozen=True, slots=True)
class RenderSuggestion:
    """The facts of a render request that was prepared."""

    experiment_id: UUID
    dataset_id: UUID
    decimation_factor: int
    fps: float


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """An answer in words. Not `settled`: nothing was found, and a model may understand the question better."""

    text: str
    is_final: bool = True
    suggestion: RenderSuggestion | None = None


@dataclass(slots=True)
class QuerySession:
    """Remembers the last question that was answered."""

    guard: Guard
    caller: Caller
    trace: Trace
    max_rows: int
    document: Document | None = None
    result: QueryResult | None = None

    async def run_query(self, document: Document) -> QueryResult:
        """At most `max_rows` rows. Raises what the guard raises."""
        most = min(self.max_rows, self.guard.settings.max_rows)
        asked = document.model_copy(update={"limit": min(document.limit, most)})
        with self.trace.record_step("query") as step:
            answer = await self.guard.run_query(self.caller, asked)
            step.detail = f"{len(answer.rows)} rows of {answer.table}"
        self.document, self.result = asked, answer
        return answer

    async def fetch_rows(self, **document: Any) -> list[dict[str, Any]]:
        """For documents written by us."""
        return (await self.run_query(Document.model_validate(document))).rows
