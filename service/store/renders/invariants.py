"""What holds between renders and their tasks at every moment, and how it is repaired where it does not.

- An unfinished render has a task that is queued or running.
- A render that has ended has no queued task of its own, and its running tasks are asked to stop. Only players may have
  one of its segments rendered again.

Nothing that this service does breaks them: every transaction that changes a render changes its tasks. A repair is
counted and logged as an error."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import RenderId
from service.store.renders.lifecycle import requeue_unfinished

SELECT_WITHOUT_TASK = text("""
    SELECT r.id FROM renders r
    WHERE r.status IN ('queued', 'running') AND NOT EXISTS (
        SELECT FROM tasks t WHERE t.render_id = r.id AND t.state IN ('queued', 'running'))
    ORDER BY r.id FOR UPDATE OF r SKIP LOCKED LIMIT 100
""")
# A task that is running and asked to stop is about to end.
SELECT_LEFT_TASKS = text("""
    SELECT t.id FROM tasks t JOIN renders r ON r.id = t.render_id
    WHERE r.status IN ('succeeded', 'failed', 'cancelled') AND t.lane = 'render'
        AND (t.state = 'queued' OR (t.state = 'running' AND NOT t.cancel_requested))
""")
CANCEL_LEFT_TASKS = text(f"""
    UPDATE tasks SET cancel_requested = true, state = CASE state WHEN 'queued' THEN 'cancelled' ELSE state END,
        finished_at = CASE state WHEN 'queued' THEN now() ELSE finished_at END
    WHERE id IN ({SELECT_LEFT_TASKS.text} ORDER BY t.id FOR UPDATE OF t SKIP LOCKED LIMIT 100)
""")


async def broken(connection: AsyncConnection) -> dict[str, int]:
    """How many renders and tasks break each invariant; empty if all hold."""
    found = {
        "render_without_task": len((await connection.execute(SELECT_WITHOUT_TASK)).all()),
        "task_of_ended_render": len((await connection.execute(SELECT_LEFT_TASKS)).all()),
    }
    return {name: count for name, count in found.items() if count}


async def repair(connection: AsyncConnection) -> dict[str, int]:
    """Restore the invariants. Returns how many renders and tasks were repaired, by invariant."""
    renders = (await connection.execute(SELECT_WITHOUT_TASK)).all()
    for row in renders:
        await requeue_unfinished(connection, RenderId(row.id))
    tasks = (await connection.execute(CANCEL_LEFT_TASKS)).rowcount
    repaired = {"render_without_task": len(renders), "task_of_ended_render": tasks}
    return {name: count for name, count in repaired.items() if count}
