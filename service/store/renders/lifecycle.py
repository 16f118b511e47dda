"""Change a render after submission: queue its tasks, start, cancel, retry, replan, fail, complete, call webhooks."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, null, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import RenderId, Subject
from service.jobs import queue
from service.plan.needs import GPU_ENCODER, NEEDS_OF_OPTIONS, encoder_need
from service.plan.render_plan import PIPELINE_VERSION, RenderOptions
from service.store.cache.eviction import cancel_removals
from service.store.cache.segments import PLANNED_SEGMENTS, invalidate_entries, set_result
from service.store.renders.queries import VIDEO_FILE, get_render, load_segment_plan
from service.store.renders.webhook_limits import require_room
from service.store.tables import renders, segments

# While a webhook is hung on a render, nobody begins to make its files again: `created_at` says which came first.
LOCK_RENDER = text("SELECT 1 FROM renders WHERE id = :render FOR SHARE")
INSERT_WEBHOOK = text("""
    INSERT INTO webhooks (render_id, url, owner, created_at) VALUES (:render, :url, :owner, clock_timestamp())
    ON CONFLICT DO NOTHING RETURNING url
""")
INSERT_WEBHOOK_TASKS = text("""
    INSERT INTO tasks (id, kind, owner, payload)
    SELECT gen_random_uuid(), 'webhook', w.owner,
        jsonb_build_object('url', w.url, 'owner', w.owner, 'body', jsonb_build_object(
        'type', 'render.' || r.status,
        'timestamp', to_char(coalesce(r.finished_at, now()) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'data', jsonb_build_object(
            'job_id', r.id, 'status', r.status, 'experiment_id', r.experiment_id, 'dataset_id', r.dataset_id,
            'status_url', '/api/videos/' || r.id,
            'video_url', CASE WHEN r.status = 'succeeded' THEN '/api/videos/' || r.id || '/video' END,
            'video_sha256', r.video_sha256, 'video_bytes', r.video_bytes, 'frames', r.video_frames, 'error', r.error)))
    FROM webhooks w JOIN renders r ON r.id = w.render_id
    WHERE w.render_id = :render AND (CAST(:url AS text) IS NULL OR w.url = :url)
        AND (CAST(:owner AS text) IS NULL OR w.owner = :owner)
        AND (CAST(:since AS timestamptz) IS NULL OR w.created_at >= :since)
        AND r.status IN ('succeeded', 'failed', 'cancelled')
    RETURNING id
""")


async def register_webhook(connection: AsyncConnection, render: UUID, owner: Subject, url: str) -> None:
    """Call `url` when the render ends; at once if it has ended already. Raises what `require_room` raises."""
    await connection.execute(LOCK_RENDER, {"render": render})
    await require_room(connection, render, owner, url)
    inserted = await connection.execute(INSERT_WEBHOOK, {"render": render, "owner": owner, "url": url})
    if inserted.first() is not None:
        await _enqueue_webhooks(connection, render, owner=owner, url=url)


async def _enqueue_webhooks(
    connection: AsyncConnection,
    render: UUID,
    *,
    owner: Subject | None = None,
    url: str | None = None,
    since: datetime | None = None,
) -> None:
    """If the render has ended: queue a call of each of its webhooks, in the caller's transaction; only of this one if
    `owner` and `url` are given, only of those that were hung on it at `since` or later if that is."""
    values = {"render": render, "owner": owner, "url": url, "since": since}
    rows = await connection.execute(INSERT_WEBHOOK_TASKS, values)
    if rows.first() is not None:
        await queue.wake_workers(connection)


MARK_REUSED = text("""
    WITH hit AS (
        UPDATE segment_cache c SET used_at = now() FROM segments s
        WHERE s.render_id = :render AND c.content_key = s.content_key RETURNING c.content_key)
    UPDATE segments SET reused = true WHERE render_id = :render AND content_key IN (SELECT content_key FROM hit)
""")
INSERT_SEGMENT_TASKS = text(f"""
    INSERT INTO tasks (id, kind, render_id, number, needs, frames)
    SELECT gen_random_uuid(), 'segment', render_id, number, needs, frames
    FROM ({PLANNED_SEGMENTS}) planned WHERE NOT reused
""")
CANCEL_TASKS = text("""
    UPDATE tasks SET cancel_requested = true,
        state = CASE WHEN state = 'queued' THEN 'cancelled' ELSE state END,
        finished_at = CASE WHEN state = 'queued' THEN now() ELSE finished_at END
    WHERE render_id = :render AND state IN ('queued', 'running')
""")
# Includes running tasks that were asked to cancel but have not noticed yet (the new lease fences them), and transient
# segments: their frames may be there again.
REQUEUE_SEGMENTS = text("""
    UPDATE tasks SET state = 'queued', starts = 0, progress = 0, cancel_requested = false, error = NULL,
        finished_at = NULL, due_at = now(), lease = lease + 1
    WHERE render_id = :render AND kind = 'segment'
        AND (state IN ('failed', 'cancelled') OR (state = 'running' AND cancel_requested)
            OR number IN (SELECT number FROM segments WHERE render_id = :render AND transient))
""")
DELETE_ASSEMBLIES = text("DELETE FROM tasks WHERE render_id = :render AND kind = 'assemble'")
# Most often one waits or runs, which small indexes know; only then are all tasks of the render looked at.
HAS_UNFINISHED_SEGMENTS = text("""
    SELECT EXISTS (
            SELECT FROM tasks WHERE render_id = :render AND kind = 'segment' AND state = 'queued' AND lane = 'render')
        OR EXISTS (SELECT FROM tasks WHERE render_id = :render AND kind = 'segment' AND state <> 'succeeded')
""")


# Of what the segments need, an assembly needs to know what the options say.
INSERT_ASSEMBLY = text("""
    INSERT INTO tasks (id, kind, render_id, needs)
    SELECT gen_random_uuid(), 'assemble', id,
        ARRAY(SELECT unnest(needs) INTERSECT SELECT unnest(CAST(:known AS text[])))
    FROM renders WHERE id = :render
""")


async def create_segment_tasks(connection: AsyncConnection, render: RenderId) -> int:
    """Mark the segments that the cache holds as reused; queue a task for each other one. Returns how many."""
    await connection.execute(MARK_REUSED, {"render": render})
    await cancel_removals(connection, render)
    return (await connection.execute(INSERT_SEGMENT_TASKS, {"render": render})).rowcount


async def enqueue_assembly(connection: AsyncConnection, render: RenderId) -> None:
    """Queue the assembly of a render whose segments are all in the cache."""
    await connection.execute(INSERT_ASSEMBLY, {"render": render, "known": list(NEEDS_OF_OPTIONS)})
    await queue.wake_workers(connection)
    await connection.execute(update(renders).where(renders.c.id == render).values(phase="assembling"))


async def enqueue_assembly_if_complete(connection: AsyncConnection, render: RenderId) -> None:
    """Queue the assembly if all segments have ended. The caller has locked the render's row, so that only one does."""
    if not await connection.scalar(HAS_UNFINISHED_SEGMENTS, {"render": render}):
        await enqueue_assembly(connection, render)


async def cancel_render(connection: AsyncConnection, render: UUID) -> bool:
    """Cancel the render; its running tasks notice at their next heartbeat. False if it has ended already."""
    query = (
        update(renders)
        .where(renders.c.id == render, renders.c.status.in_(("queued", "running")))
        .values(status="cancelled", phase="cancelled", cancel_requested=True, finished_at=text("now()"))
    )
    if await _end_remake(connection, render, None):
        return True
    if (await connection.execute(query)).rowcount == 0:
        return False
    await connection.execute(CANCEL_TASKS, {"render": render})
    await _enqueue_webhooks(connection, render)
    return True


async def change_priority(connection: AsyncConnection, render: UUID, priority: int) -> bool:
    """Change the priority of a queued render. False if it has started or ended."""
    query = update(renders).where(renders.c.id == render, renders.c.status == "queued").values(priority=priority)
    if (await connection.execute(query)).rowcount == 0:
        return False
    await queue.wake_workers(connection)
    return True


# The receipt still tells which file was lost; see `complete_render` for the note.
NOTE_RETRY = text("remake || jsonb_build_object('retried', true)")


async def retry_render(connection: AsyncConnection, render: UUID) -> bool:
    """Queue a failed or cancelled render again, with what it has finished. False if it is neither."""
    query = update(renders).where(renders.c.id == render, renders.c.status.in_(("failed", "cancelled")))
    values = {"status": "queued", "phase": "queued", "cancel_requested": False, "error": None, "finished_at": None}
    if (await connection.execute(query.values(**values, remake=NOTE_RETRY))).rowcount == 0:
        return False
    await cancel_removals(connection, render)
    await requeue_unfinished(connection, RenderId(render))
    return True


async def requeue_unfinished(connection: AsyncConnection, render: RenderId) -> None:
    """Queue what the render still lacks: its unfinished segments or, if there are none, the assembly.

    An assembly that was called off may have finished all the same, after its render had ended: it does not count, and
    one that still runs has lost its lease. The caller has locked the render's row.
    """
    await connection.execute(DELETE_ASSEMBLIES, {"render": render})
    await connection.execute(REQUEUE_SEGMENTS, {"render": render})
    await enqueue_assembly_if_complete(connection, render)
    await queue.wake_workers(connection)


async def fail_render(connection: AsyncConnection, render: UUID, error: dict[str, Any]) -> None:
    """Mark the render as failed, with the reason, and cancel its remaining tasks."""
    query = text("""
        UPDATE renders SET status = 'failed', phase = 'failed', error = :error, finished_at = now()
        WHERE id = :render AND status IN ('queued', 'running')""").bindparams(bindparam("error", type_=JSONB))
    if await _end_remake(connection, render, error):
        return
    ended = (await connection.execute(query, {"render": render, "error": error})).rowcount
    await connection.execute(CANCEL_TASKS, {"render": render})
    if ended:
        await _enqueue_webhooks(connection, render)


async def complete_render(connection: AsyncConnection, render: UUID, outcome: dict[str, Any]) -> None:
    """Mark a running render as succeeded; `outcome` holds the columns about its files.

    If the same video was being made again and that was cancelled too late, the files beside it are the new ones: what
    is known of them is written. Webhooks that were called for the same video are not called again, unless they were
    told since that it is lost.
    """
    columns = (renders.c.video_sha256, renders.c.remake, renders.c.remade_at)
    before = (await connection.execute(select(*columns).where(renders.c.id == render))).one()
    query = update(renders).where(renders.c.id == render, renders.c.status == "running")
    values = {"status": "succeeded", "phase": "done", "finished_at": text("now()"), "remake": null(), "error": null()}
    completed = (await connection.execute(query.values(**values, **outcome))).rowcount
    known = before.remake is not None and before.video_sha256 == outcome["video_sha256"]
    if completed:
        since = before.remade_at if known and not before.remake.get("retried") else None
        await _enqueue_webhooks(connection, render, since=since)
    else:
        replaced = update(renders).where(renders.c.id == render, renders.c.status == "succeeded")
        await connection.execute(replaced.where(renders.c.video_sha256 == outcome["video_sha256"]).values(**outcome))


START_REMAKE = text("""
    UPDATE renders SET status = 'queued', phase = 'queued', cancel_requested = false, finished_at = NULL, error = NULL,
        remake = jsonb_build_object('file', CAST(:file AS text), 'reason', CAST(:reason AS text)), remade_at = now()
    WHERE id = :render AND status = 'succeeded'
        AND NOT EXISTS (SELECT FROM tasks t WHERE t.render_id = renders.id AND t.state = 'running')
        AND (remade_at IS NULL OR remade_at < now() - make_interval(secs => :pause))
    RETURNING id
""")
# After this the files of a render may be made again once more. An object store that loses what it is given would
# otherwise keep the workers busy for as long as somebody asks.
REMAKE_PAUSE_S = 60
DELETE_EARLIER_TASKS = text("""
    DELETE FROM tasks WHERE render_id = :render AND (kind = 'assemble' OR state <> 'succeeded')
""")
END_REMAKE = text(f"""
    UPDATE renders SET status = 'succeeded', phase = 'done', cancel_requested = false, finished_at = now(),
        remake = NULL, error = :error
    WHERE id = :render AND status IN ('queued', 'running') AND remake ->> 'file' <> '{VIDEO_FILE}'
    RETURNING remade_at
""").bindparams(bindparam("error", type_=JSONB(none_as_null=True)))


async def remake_render(connection: AsyncConnection, render: RenderId, file: str, reason: str) -> bool:
    """Make the files of a finished render again, because `file` (a name, or VIDEO_FILE) is gone or damaged.

    The video can be read meanwhile, if it is there. The assembly finds out which segments have to be rendered again:
    all, if another version of the pipeline rendered them. False if it is no finished render, was made again less
    than REMAKE_PAUSE_S ago, or still has its files written by an assembly that was cancelled too late.
    """
    values = {"render": render, "file": file, "reason": reason, "pause": REMAKE_PAUSE_S}
    row = (await connection.execute(START_REMAKE, values)).first()
    if row is None:
        return False
    await cancel_removals(connection, render)
    await connection.execute(DELETE_EARLIER_TASKS, {"render": render})
    await enqueue_assembly(connection, render)
    return True


async def _end_remake(connection: AsyncConnection, render: UUID, error: dict[str, Any] | None) -> bool:
    """If a file beside the video was to be made again, and was not: the render is again one that has succeeded."""
    ended = (await connection.execute(END_REMAKE, {"render": render, "error": error})).first()
    if ended is None:
        return False
    await connection.execute(CANCEL_TASKS, {"render": render})
    await _enqueue_webhooks(connection, render, since=ended.remade_at)
    return True


MARK_RUNNING = text("""
    UPDATE renders SET pipeline = greatest(pipeline, :version),
        phase = CASE status WHEN 'queued' THEN 'rendering' ELSE phase END,
        started_at = CASE status WHEN 'queued' THEN now() ELSE started_at END,
        status = CASE status WHEN 'queued' THEN 'running' ELSE status END
    WHERE id = :render AND (status = 'queued' OR pipeline < :version)
""")


async def mark_running(connection: AsyncConnection, render: UUID) -> None:
    """Mark a queued render as running: its first task has started. Older workers take no further task of it."""
    await connection.execute(MARK_RUNNING, {"render": render, "version": int(PIPELINE_VERSION)})


DELETE_SEGMENT_TASKS = text("DELETE FROM tasks WHERE render_id = :render AND kind = 'segment'")


async def replan_on_cpu_encoder(connection: AsyncConnection, render: RenderId, reason: str) -> int:
    """Replan a render on the CPU encoder, unless it was already, after its GPU encoder became unavailable. Returns how
    many segments have to be rendered.

    A file has one encoder, so every segment changes. Those that the GPU encoded stay in the cache if other renders use
    them. The caller has locked the render's row.
    """
    row = await get_render(connection, render)
    assert row is not None
    options = RenderOptions.from_json(row["options"])
    if options.family.encoder == "cpu":
        return 0
    options = replace(options, family=replace(options.family, encoder="cpu"))
    stages = row["stages"] | {"encode": {"device": "cpu", "reason": f"planned anew: {reason}"}}
    needs = [need for need in row["needs"] if not need.startswith(GPU_ENCODER)] + [encoder_need(options)]
    changed = update(renders).where(renders.c.id == render)
    await connection.execute(changed.values(options=options.to_json(), stages=stages, needs=needs))
    await _rekey_segments(connection, render)
    await connection.execute(DELETE_SEGMENT_TASKS, {"render": render})
    await queue.wake_workers(connection)
    return await create_segment_tasks(connection, render)


async def _rekey_segments(connection: AsyncConnection, render: RenderId) -> None:
    """Compute the content keys again, from the options of the render and the version of the pipeline."""
    numbers = select(segments.c.number).where(segments.c.render_id == render).order_by(segments.c.number)
    for number in (await connection.scalars(numbers)).all():
        plan, _ = await load_segment_plan(connection, render, number)
        await set_result(connection, render, number, plan.content_key())
    await connection.execute(update(segments).where(segments.c.render_id == render).values(reused=False))


SELECT_ENTRY_SETTLED = text("""
    SELECT c.created_at < now() - make_interval(secs => :pause)
    FROM segment_cache c, (SELECT 1 FROM renders WHERE id = :render FOR UPDATE) AS locked
    WHERE c.content_key = :key
""")


async def rerender_segment(connection: AsyncConnection, render: UUID, content_key: str) -> bool:
    """Render a segment again, of which an object is gone or damaged. False if that is not done, because its entry of
    the cache is younger than REMAKE_PAUSE_S. Without an entry another request has had it rendered already.

    A finished render stays finished.
    """
    values = {"render": render, "key": content_key, "pause": REMAKE_PAUSE_S}
    settled = await connection.scalar(SELECT_ENTRY_SETTLED, values)
    if settled:
        await invalidate_entries(connection, render, [content_key], urgent=True)
        await queue.wake_workers(connection)
    return settled is not False
