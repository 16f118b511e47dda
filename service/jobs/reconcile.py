"""Find tasks that should be in the queue and are not, and put them back: no accepted job is ever lost."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import TaskId
from service.jobs.queue import INTERACTIVE_PRIORITY, enqueue

SELECT_LOST_TASKS = text(f"""
    SELECT t.id, t.kind,
        CASE t.kind WHEN 'preview' THEN {INTERACTIVE_PRIORITY} ELSE coalesce(r.priority, 0) END AS priority
    FROM tasks t LEFT JOIN renders r ON r.id = t.render_id
    WHERE t.state IN ('queued', 'running')
        AND greatest(t.created_at, t.started_at, t.heartbeat_at) < now() - interval '15 seconds'
        AND NOT EXISTS (SELECT 1 FROM queue.pgqueuer q WHERE q.payload = uuid_send(t.id))
    ORDER BY t.created_at FOR UPDATE OF t SKIP LOCKED LIMIT 500
""")
DELETE_OLD_LOG = text("DELETE FROM queue.pgqueuer_log WHERE created < now() - interval '1 day'")

DELETE_FINISHED_TASKS = text("""
    DELETE FROM tasks WHERE kind IN ('preview', 'webhook') AND finished_at < now() - interval '1 day'
""")


async def requeue_lost_tasks(connection: AsyncConnection) -> int:
    """Queue them again; safe beside other workers doing the same (a task id is in the queue at most once)."""
    rows = (await connection.execute(SELECT_LOST_TASKS)).all()
    for row in rows:
        await enqueue(connection, row.kind, [TaskId(row.id)], row.priority)
    await connection.execute(DELETE_OLD_LOG)
    await connection.execute(DELETE_FINISHED_TASKS)
    return len(rows)
