"""The attempts of tasks that did not succeed: rows that say who, where, when, and how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import TaskId

# Of the rows of tasks in a common table expression `ended`; `counted` says whether it was the tasks' fault.
RECORD_ATTEMPTS = """
    INSERT INTO attempts (
        task_id, render_id, dataset_id, kind, number, worker, device, started_at, code, reason, item, counted)
    SELECT id, render_id, dataset_id, kind, number, worker, device, started_at,
        coalesce(error ->> 'code', 'unknown'), coalesce(error ->> 'reason', ''), coalesce(error ->> 'item', ''),
        {counted}
    FROM ended
"""
COUNT_BY_CODE = text("""
    SELECT count(*) FROM attempts WHERE task_id = :task AND code = :code
        AND id > (SELECT coalesce(max(id), 0) FROM attempts WHERE task_id = :task AND code = 'poison')
""")
# A frame or object that was worked on at so many deaths of slots is left alone. Of one task at most MAX_BARRED are, and
# MAX_HANGS of those for hanging, which takes long: a slot that dies of everything is not the fault of its input.
DEATHS_TO_BAR, MAX_BARRED, MAX_HANGS = 2, 60, 12
SELECT_DEATHS = text("""
    SELECT item, count(*) AS deaths, bool_or(code = 'hang') AS hangs, (array_agg(reason ORDER BY id DESC))[1] AS reason
    FROM attempts WHERE task_id = :task AND item <> '' AND code IN ('slot_died', 'hang') GROUP BY item
""")


async def count_by_code(connection: AsyncConnection, task: TaskId, code: str) -> int:
    """How many attempts of the task ended with this code since it last failed as poison."""
    return int(await connection.scalar(COUNT_BY_CODE, {"task": task, "code": code}) or 0)


@dataclass(frozen=True, slots=True)
class DeadlyItems:
    """Frames or objects at which slots ended: `barred` ones are left alone, item -> why; `suspects` are tried first."""

    barred: Mapping[str, str]
    suspects: tuple[str, ...]


async def deadly_items(connection: AsyncConnection, task: TaskId) -> DeadlyItems:
    """Those of the task's attempts so far."""
    rows = (await connection.execute(SELECT_DEATHS, {"task": task})).all()
    barred = {row.item: f"it ended {row.deaths} slots: {row.reason}" for row in rows if row.deaths >= DEATHS_TO_BAR}
    return DeadlyItems(barred, tuple(row.item for row in rows if row.deaths < DEATHS_TO_BAR))


async def is_barred_by(connection: AsyncConnection, task: TaskId, item: str) -> bool:
    """Whether one more death of a slot at this item bars it."""
    rows = (await connection.execute(SELECT_DEATHS, {"task": task})).all()
    barred = [row for row in rows if row.deaths >= DEATHS_TO_BAR]
    if len(barred) >= MAX_BARRED or sum(row.hangs for row in barred) >= MAX_HANGS:
        return False
    return any(row.item == item and row.deaths + 1 == DEATHS_TO_BAR for row in rows)
