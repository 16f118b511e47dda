"""What happens to a render after submission: start, cancel, retry, replan, fail, complete, and the webhooks about
it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, bindparam, insert, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import RenderId, Subject, TaskId
from service.jobs import queue
from service.plan.render_plan import FrameRef, RenderOptions, SegmentPlan, content_keys
from service.store.cache import eviction
from service.store.catalog.experiments import translate_integrity_errors
from service.store.tables import datasets, idempotency_keys, renders, segments, tasks

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


SELECT_STATUSES = text("""
    SELECT r.*, d.name AS dataset_name, (coalesce(t.done, 0) + coalesce(s.reused_frames, 0))::bigint AS frames_done,
        coalesce(t.done, 0)::bigint AS frames_fresh, coalesce(t.attempts, 0) AS attempts, t.problem
    FROM renders r JOIN datasets d ON d.id = r.dataset_id
    LEFT JOIN LATERAL (
        SELECT sum(progress) FILTER (WHERE kind = 'segment') AS done, max(starts) AS attempts,
            (array_agg(error ORDER BY heartbeat_at DESC) FILTER (WHERE error IS NOT NULL))[1] AS problem
        FROM tasks WHERE render_id = r.id) t ON true
    LEFT JOIN LATERAL (
        SELECT sum(outputs) FILTER (WHERE reused) AS reused_frames FROM (
            SELECT reused, lead(first_output, 1, r.frames_total) OVER (ORDER BY number) - first_output AS outputs
            FROM segments WHERE render_id = r.id) planned) s ON true
    WHERE r.id = ANY(:ids) ORDER BY r.created_at DESC, r.id DESC
""")
MARK_REUSED = text("""
    WITH hit AS (
        UPDATE segment_cache c SET used_at = now() FROM segments s
        WHERE s.render_id = :render AND c.content_key = s.content_key RETURNING c.content_key)
    UPDATE segments SET reused = true WHERE render_id = :render AND content_key IN (SELECT content_key FROM hit)
""")
INSERT_SEGMENT_TASKS = text("""
    INSERT INTO tasks (id, kind, render_id, number)
    SELECT gen_random_uuid(), 'segment', render_id, number FROM segments WHERE render_id = :render AND NOT reused
    RETURNING id, number
""")
COUNT_UNCACHED_OUTPUTS = text("""
    SELECT coalesce(sum(outputs) FILTER (WHERE NOT reused), 0)::bigint FROM (
        SELECT s.reused, lead(s.first_output, 1, r.frames_total) OVER (ORDER BY s.number) - s.first_output AS outputs
        FROM segments s JOIN renders r ON r.id = s.render_id WHERE s.render_id = :render) planned
""")
SELECT_ESTIMATE_RATIO = text("""
    SELECT extract(epoch FROM finished_at - started_at)::float8 / (estimate ->> 'seconds')::float8 AS ratio
    FROM renders WHERE id = :render AND status = 'succeeded' AND (estimate ->> 'seconds')::float8 > 0
""")
CANCEL_TASKS = text("""
    UPDATE tasks SET cancel_requested = true,
        state = CASE WHEN state = 'queued' THEN 'cancelled' ELSE state END,
        finished_at = CASE WHEN state = 'queued' THEN now() ELSE finished_at END
    WHERE render_id = :render AND state IN ('queued', 'running')
""")
# Also those whose slots have not yet heard that they are cancelled: the new lease fences them.
REQUEUE_TASKS = text("""
    UPDATE tasks SET state = 'queued', starts = 0, progress = 0, cancel_requested = false, error = NULL,
        finished_at = NULL, lease = lease + 1
    WHERE render_id = :render AND (state IN ('failed', 'cancelled') OR (state = 'running' AND cancel_requested))
    RETURNING id, kind, number
""")


async def find_duplicate(connection: AsyncConnection, key: str, dataset: UUID) -> RenderId | None:
    """The newest render of the same pictures with the same options that is done or under way; it is not deleted before
    the transaction ends."""
    query = select(renders.c.id).where(
        renders.c.render_key == key,
        renders.c.dataset_id == dataset,
        renders.c.status.in_(("succeeded", "queued", "running")),
    )
    query = query.order_by(renders.c.status.desc(), renders.c.created_at.desc()).limit(1)
    found = await connection.scalar(query.with_for_update(read=True, key_share=True))
    return RenderId(found) if found else None


async def count_active(connection: AsyncConnection, owner: Subject) -> int:
    query = text("SELECT count(*) FROM renders WHERE owner = :owner AND status IN ('queued', 'running')")
    return int(await connection.scalar(query, {"owner": owner}) or 0)


async def insert_render(connection: AsyncConnection, row: dict[str, Any]) -> None:
    """Raises NotFound when the experiment or the dataset was deleted meanwhile."""
    async with translate_integrity_errors("there is such a render already"):
        await connection.execute(insert(renders).values(**row))


async def insert_segments(connection: AsyncConnection, render: RenderId, plans: Sequence[SegmentPlan]) -> None:
    rows = [
        {
            "render_id": render,
            "number": plan.number,
            "first_output": plan.first_output,
            "planned": str(plan.seconds()),
            "content_key": key,
            "frames": [_pack_frame(frame) for frame in plan.frames],
            "lead": [_pack_frame(frame) for frame in plan.lead],
        }
        for plan, key in zip(plans, content_keys(plans), strict=True)
    ]
    await connection.execute(insert(segments), rows)


def _pack_frame(frame: FrameRef) -> list[Any]:
    """Positional arguments of FrameRef; those without a capture time are packed without times."""
    packed = [frame.index, frame.key, frame.etag, frame.size, frame.pts, frame.page, frame.page_offset]
    times = [frame.captured, frame.shown_for, frame.clock, frame.elapsed]
    return packed if times == [None] * 4 else packed + times


async def create_segment_tasks(connection: AsyncConnection, render: RenderId) -> list[TaskId]:
    """Mark what the cache already holds; a task, in order, for each segment that it does not."""
    await connection.execute(MARK_REUSED, {"render": render})
    await eviction.cancel_removals(connection, render)
    rows = (await connection.execute(INSERT_SEGMENT_TASKS, {"render": render})).all()
    return [TaskId(row.id) for row in sorted(rows, key=lambda row: row.number)]


async def count_uncached_outputs(connection: AsyncConnection, render: RenderId) -> int:
    """Output frames of the segments that are not in the cache."""
    return int(await connection.scalar(COUNT_UNCACHED_OUTPUTS, {"render": render}) or 0)


async def set_estimate(connection: AsyncConnection, render: RenderId, estimate: dict[str, Any]) -> None:
    await connection.execute(update(renders).where(renders.c.id == render).values(estimate=estimate))


async def estimate_ratio(connection: AsyncConnection, render: UUID) -> float | None:
    """Seconds from its first task to its end, as a multiple of those that were foretold."""
    ratio = await connection.scalar(SELECT_ESTIMATE_RATIO, {"render": render})
    return None if ratio is None else float(ratio)


async def create_assembly_task(connection: AsyncConnection, render: RenderId) -> TaskId:
    query = text("INSERT INTO tasks (id, kind, render_id) VALUES (gen_random_uuid(), 'assemble', :render) RETURNING id")
    return TaskId((await connection.execute(query, {"render": render})).scalar_one())


async def enqueue_assembly(connection: AsyncConnection, render: RenderId, priority: int) -> None:
    """All segments are there: the assembly is queued in the same transaction."""
    task = await create_assembly_task(connection, render)
    await queue.enqueue(connection, "assemble", [task], priority)
    await connection.execute(update(renders).where(renders.c.id == render).values(phase="assembling"))


async def load_segment_plan(connection: AsyncConnection, render: UUID, number: int) -> tuple[SegmentPlan, str]:
    """The frozen plan of one segment, and its content key."""
    query = (
        select(segments, renders.c.options, datasets.c.bucket)
        .join(renders, renders.c.id == segments.c.render_id)
        .join(datasets, datasets.c.id == renders.c.dataset_id)
        .where(segments.c.render_id == render, segments.c.number == number)
    )
    row = (await connection.execute(query)).mappings().one()
    options = RenderOptions.from_json(row["options"])
    frames, lead = (tuple(FrameRef(*packed) for packed in row[name]) for name in ("frames", "lead"))
    return SegmentPlan(number, row["first_output"], row["bucket"], options, frames, lead), row["content_key"]


def parse_options(row: RowMapping) -> RenderOptions:
    return RenderOptions.from_json(row["options"])


async def list_statuses(connection: AsyncConnection, ids: Sequence[UUID]) -> Sequence[RowMapping]:
    """Everything the API tells about these renders, progress included; read as the service, after a caller's check."""
    return (await connection.execute(SELECT_STATUSES, {"ids": list(ids)})).mappings().all()


async def get_render(connection: AsyncConnection, render: UUID) -> RowMapping | None:
    return (await connection.execute(select(renders).where(renders.c.id == render))).mappings().first()


async def cancel_render(connection: AsyncConnection, render: UUID) -> bool:
    """End the render now; tasks under way learn it at their next heartbeat. False when it had ended already."""
    query = (
        update(renders)
        .where(renders.c.id == render, renders.c.status.in_(("queued", "running")))
        .values(status="cancelled", phase="cancelled", cancel_requested=True, finished_at=text("now()"))
    )
    if (await connection.execute(query)).rowcount == 0:
        return False
    await connection.execute(CANCEL_TASKS, {"render": render})
    await enqueue_webhooks(connection, render)
    return True


async def change_priority(connection: AsyncConnection, render: UUID, priority: int) -> bool:
    """Move a render that has not begun to another place in the queue. False when it has begun, or ended."""
    query = update(renders).where(renders.c.id == render, renders.c.status == "queued").values(priority=priority)
    if (await connection.execute(query)).rowcount == 0:
        return False
    waiting = await connection.execute(select(tasks.c.id).where(tasks.c.render_id == render))
    await queue.change_priority(connection, [TaskId(row.id) for row in waiting], priority)
    return True


async def retry_render(connection: AsyncConnection, render: UUID, priority: int) -> bool:
    """Give a failed or cancelled render another life: its unfinished tasks are queued again. False otherwise."""
    query = update(renders).where(renders.c.id == render, renders.c.status.in_(("failed", "cancelled")))
    values = {"status": "queued", "phase": "queued", "cancel_requested": False, "error": None, "finished_at": None}
    if (await connection.execute(query.values(**values))).rowcount == 0:
        return False
    await eviction.cancel_removals(connection, render)
    revived = (await connection.execute(REQUEUE_TASKS, {"render": render})).all()
    for kind in ("segment", "assemble"):
        again = sorted((row for row in revived if row.kind == kind), key=lambda row: row.number or 0)
        await queue.enqueue(connection, kind, [TaskId(row.id) for row in again], priority)
    return True


async def fail_render(connection: AsyncConnection, render: UUID, error: dict[str, Any]) -> None:
    """The render ends as failed with its reason; what is left of its work is called off."""
    query = text("""
        UPDATE renders SET status = 'failed', phase = 'failed', error = :error, finished_at = now()
        WHERE id = :render AND status IN ('queued', 'running')""").bindparams(bindparam("error", type_=JSONB))
    ended = (await connection.execute(query, {"render": render, "error": error})).rowcount
    await connection.execute(CANCEL_TASKS, {"render": render})
    if ended:
        await enqueue_webhooks(connection, render)


async def complete_render(connection: AsyncConnection, render: UUID, outcome: dict[str, Any]) -> None:
    query = update(renders).where(renders.c.id == render, renders.c.status == "running")
    query = query.values(status="succeeded", phase="done", finished_at=text("now()"), **outcome)
    if (await connection.execute(query)).rowcount:
        await enqueue_webhooks(connection, render)


async def mark_running(connection: AsyncConnection, render: UUID) -> None:
    """The first task of a render was started."""
    query = update(renders).where(renders.c.id == render, renders.c.status == "queued")
    await connection.execute(query.values(status="running", phase="rendering", started_at=text("now()")))


async def find_idempotency_key(connection: AsyncConnection, owner: Subject, key: str) -> RowMapping | None:
    query = select(idempotency_keys).where(
        idempotency_keys.c.subject == owner,
        idempotency_keys.c.key == key,
        idempotency_keys.c.created_at > text("now() - interval '24 hours'"),
    )
    return (await connection.execute(query)).mappings().first()


async def save_idempotency_key(
    connection: AsyncConnection, owner: Subject, key: str, body_sha256: str, render: RenderId
) -> None:
    query = text("""
        INSERT INTO idempotency_keys (subject, key, body_sha256, render_id) VALUES (:owner, :key, :body, :render)
        ON CONFLICT (subject, key) DO UPDATE SET body_sha256 = :body, render_id = :render, created_at = now()""")
    await connection.execute(query, {"owner": owner, "key": key, "body": body_sha256, "render": render})


DELETE_SEGMENT_TASKS = text("DELETE FROM tasks WHERE render_id = :render AND kind = 'segment'")


async def replan_on_cpu_encoder(connection: AsyncConnection, render: RenderId, reason: str) -> list[TaskId]:
    """The tasks of the new plan, for what the cache does not hold; none when it was planned anew already.

    What the GPU's encoder has made stays in the cache, under keys of its own. The caller holds the render row's lock.
    """
    row = await get_render(connection, render)
    assert row is not None
    options = parse_options(row)
    if options.family.encoder == "cpu":
        return []
    options = replace(options, family=replace(options.family, encoder="cpu"))
    stages = row["stages"] | {"encode": {"device": "cpu", "reason": f"planned anew: {reason}"}}
    changed = update(renders).where(renders.c.id == render)
    await connection.execute(changed.values(options=options.to_json(), stages=stages))
    numbers = select(segments.c.number).where(segments.c.render_id == render).order_by(segments.c.number)
    for number in (await connection.scalars(numbers)).all():
        await _rekey_segment(connection, render, number)
    await connection.execute(DELETE_SEGMENT_TASKS, {"render": render})
    return await create_segment_tasks(connection, render)


async def _rekey_segment(connection: AsyncConnection, render: RenderId, number: int) -> None:
    """The segment under the content key of the render's options as they are now."""
    plan, _ = await load_segment_plan(connection, render, number)
    this = (segments.c.render_id == render, segments.c.number == number)
    await connection.execute(update(segments).where(*this).values(content_key=plan.content_key(), reused=False))
