"""Dead letters: tasks that have failed for good, until somebody retries or dismisses them.

A failed task of a render stands for the render. What was retried and failed again is a dead letter again."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, Select, func, select, text, true
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import Subject
from service.jobs import queue
from service.jobs.picking import Lane
from service.store.keyset import PageRequest, fetch_page
from service.store.tables import tasks

COLUMNS = tuple(
    tasks.c[name]
    for name in (
        "id",
        "kind",
        "lane",
        "render_id",
        "dataset_id",
        "number",
        "starts",
        "error",
        "owner",
        "created_at",
        "finished_at",
    )
)
URL = tasks.c.payload["url"].as_string().label("url")
COUNT_BY_CODE = text("""
    SELECT lane, coalesce(error ->> 'code', 'unknown') AS code, count(*) AS count FROM tasks
    WHERE state = 'failed' AND dismissed_at IS NULL GROUP BY 1, 2
""")
DISMISS = text("""
    UPDATE tasks SET dismissed_at = now(), dismissed_by = :subject
    WHERE id = :id AND state = 'failed' AND dismissed_at IS NULL RETURNING id
""")
REQUEUE = text("""
    UPDATE tasks SET state = 'queued', starts = 0, progress = 0, error = NULL, cancel_requested = false,
        finished_at = NULL, due_at = now() WHERE id = :id AND state = 'failed' RETURNING id
""")


async def list_page(connection: AsyncConnection, lane: Lane | None, part: PageRequest) -> tuple[list[RowMapping], int]:
    """One page of those that the caller may see, and how many of them it shows: see `fetch_page`."""
    query = _select(true() if lane is None else tasks.c.lane == lane)
    return await fetch_page(connection, query, tasks, part, (tasks.c.error, tasks.c.payload))


async def count(connection: AsyncConnection, lane: Lane | None) -> int:
    """How many the caller may see, on all pages together."""
    listed = _select(true() if lane is None else tasks.c.lane == lane).subquery()
    return int(await connection.scalar(select(func.count()).select_from(listed)) or 0)


async def find(connection: AsyncConnection, letter: UUID) -> RowMapping | None:
    """The dead letter, if the caller may see it."""
    row: RowMapping | None = (await connection.execute(_select(tasks.c.id == letter))).mappings().first()
    return row


def _select(condition: ColumnElement[bool]) -> Select[Any]:
    return select(*COLUMNS, URL).where(tasks.c.state == "failed", tasks.c.dismissed_at.is_(None), condition)


async def count_by_code(connection: AsyncConnection) -> Sequence[RowMapping]:
    """Rows of `lane`, `code` and `count`. Run as the service."""
    return (await connection.execute(COUNT_BY_CODE)).mappings().all()


async def dismiss(connection: AsyncConnection, letter: UUID, subject: Subject) -> bool:
    """It is a dead letter no more; what it was about stays failed. False if it was none. Run as the service."""
    return (await connection.execute(DISMISS, {"id": letter, "subject": subject})).first() is not None


async def requeue(connection: AsyncConnection, letter: UUID) -> bool:
    """Try the task itself again, not its render. False if it has not failed. Run as the service."""
    if (await connection.execute(REQUEUE, {"id": letter})).first() is None:
        return False
    await queue.wake_workers(connection)
    return True
