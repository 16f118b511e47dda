"""Who wants to hear how a render ended, and the messages, queued in the transaction that ends it."""

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import Subject, TaskId
from service.jobs import queue

INSERT_WEBHOOK = text("""
    INSERT INTO webhooks (render_id, url, owner) VALUES (:render, :url, :owner) ON CONFLICT DO NOTHING RETURNING url
""")
INSERT_WEBHOOK_TASKS = text("""
    INSERT INTO tasks (id, kind, payload)
    SELECT gen_random_uuid(), 'webhook', jsonb_build_object('url', w.url, 'body', jsonb_build_object(
        'type', 'render.' || r.status,
        'timestamp', to_char(coalesce(r.finished_at, now()) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'data', jsonb_build_object(
            'job_id', r.id, 'status', r.status, 'experiment_id', r.experiment_id, 'dataset_id', r.dataset_id,
            'status_url', '/api/videos/' || r.id,
            'video_url', CASE WHEN r.status = 'succeeded' THEN '/api/videos/' || r.id || '/video' END,
            'video_sha256', r.video_sha256, 'video_bytes', r.video_bytes, 'frames', r.video_frames, 'error', r.error)))
    FROM webhooks w JOIN renders r ON r.id = w.render_id
    WHERE w.render_id = :render AND (CAST(:url AS text) IS NULL OR w.url = :url)
        AND r.status IN ('succeeded', 'failed', 'cancelled')
    RETURNING id
""")


async def register_webhook(connection: AsyncConnection, render: UUID, owner: Subject, url: str) -> None:
    """`url` will hear of the render's end, at once when that has come already."""
    made = await connection.execute(INSERT_WEBHOOK, {"render": render, "owner": owner, "url": url})
    if made.first() is not None:
        await _enqueue_webhook_tasks(connection, render, url)


async def enqueue_webhooks(connection: AsyncConnection, render: UUID) -> None:
    """The render has ended: a message to each who asked, if and only if the transaction commits."""
    await _enqueue_webhook_tasks(connection, render, None)


async def _enqueue_webhook_tasks(connection: AsyncConnection, render: UUID, url: str | None) -> None:
    rows = await connection.execute(INSERT_WEBHOOK_TASKS, {"render": render, "url": url})
    await queue.enqueue(connection, "webhook", [TaskId(row.id) for row in rows])
