"""Previews of frames: what identifies one, and the task that makes it."""

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import TooManyRequests
from service.ids import TaskId, new_uuid
from service.jobs import queue
from service.jobs.queue import INTERACTIVE
from service.plan.render_plan import FrameRef, SourceKind
from service.plan.tone import Tone
from service.store.renders import lock_key

VERSION = "1"
"""Part of every key: raise it when the same frame would look otherwise."""
MOST_WAITING = 200
SETTLED = ("unreadable", "missing", "poison")
"""Why a preview failed, where another try would fail, too."""

LATEST = text("""
    SELECT id, state, error FROM tasks WHERE kind = 'preview' AND payload ->> 'key' = :key
    ORDER BY created_at DESC LIMIT 1
""")
WAITING = text("SELECT count(*) FROM tasks WHERE kind = 'preview' AND state = 'queued'")
STATE = text("SELECT state, error FROM tasks WHERE id = :task")
INSERT = text("""
    INSERT INTO tasks (id, kind, dataset_id, payload) VALUES (:id, 'preview', :dataset, :payload)
""").bindparams(bindparam("payload", type_=JSONB))


@dataclass(frozen=True, slots=True)
class Preview:
    """A frame (its `etag` and `size` as the store tells them) at a width in pixels."""

    dataset: UUID
    kind: SourceKind
    bucket: str
    frame: FrameRef
    width: int
    max_pixels: int
    tone: Tone | None = None

    @property
    def digest(self) -> str:
        """sha256 (hex) over all that decides how it looks."""
        facts = "\0".join((VERSION, self.kind, self.bucket, self.frame.digest(), str(self.width), repr(self.tone)))
        return hashlib.sha256(facts.encode()).hexdigest()

    @property
    def key(self) -> str:
        """Under its dataset, so that it goes with it."""
        return f"previews/{self.dataset}/{self.digest}.jpg"

    def to_json(self) -> dict[str, Any]:
        facts = dataclasses.asdict(self) | {"dataset": str(self.dataset)}
        return facts | {"frame": list(dataclasses.astuple(self.frame)), "key": self.key}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Preview":
        fields = {name: document[name] for name in ("kind", "bucket", "width", "max_pixels")}
        fields["tone"] = Tone(**document["tone"]) if document["tone"] else None
        return cls(dataset=UUID(document["dataset"]), frame=FrameRef(*document["frame"]), **fields)


async def asked(connection: AsyncConnection, preview: Preview) -> RowMapping | None:
    """The task that makes it, or that found out why nobody can; None when there is none yet."""
    row: RowMapping | None = (await connection.execute(LATEST, {"key": preview.key})).mappings().first()
    if row is None or row["state"] in ("queued", "running"):
        return row
    return row if row["state"] == "failed" and row["error"]["code"] in SETTLED else None


async def ask(connection: AsyncConnection, preview: Preview) -> TaskId:
    """The task that is to make it, queued once however many ask. Raises TooManyRequests."""
    await lock_key(connection, preview.key)
    found = await asked(connection, preview)
    if found is not None:
        return TaskId(found["id"])
    if int(await connection.scalar(WAITING) or 0) >= MOST_WAITING:
        raise TooManyRequests("many previews are waiting: try again in a moment", headers={"Retry-After": "5"})
    task = TaskId(new_uuid())
    await connection.execute(INSERT, {"id": task, "dataset": preview.dataset, "payload": preview.to_json()})
    await queue.enqueue(connection, "preview", [task], INTERACTIVE)
    return task


async def state(connection: AsyncConnection, task: TaskId) -> RowMapping | None:
    """`state` and `error` of the task; None when its dataset was deleted."""
    return (await connection.execute(STATE, {"task": task})).mappings().first()
