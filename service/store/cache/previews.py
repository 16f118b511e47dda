"""Previews: their digests, and tasks that render them: one per preview, however many callers ask for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import TooManyRequests
from service.ids import Subject, TaskId, new_uuid
from service.jobs import queue
from service.jobs.throughput import retry_after
from service.plan.needs import needs_of_preview
from service.plan.preview import Preview
from service.store.database import acquire_advisory_lock
from service.store.objects.digests import WrittenObject

# Of one caller, and of all together. Callers take turns, so that many previews of others cost one no more than a few.
MAX_QUEUED_OF_CALLER, MAX_QUEUED = 20, 2000
# Errors after which a preview of the same object is not attempted again: a store may be wrong for a moment.
PERMANENT_ERROR_CODES = ("unreadable", "poison")

SELECT_LATEST_TASK = text("""
    SELECT id, state, error FROM tasks WHERE kind = 'preview' AND payload ->> 'key' = :key
    ORDER BY created_at DESC LIMIT 1
""")
COUNT_QUEUED = text("""
    SELECT count(*) FILTER (WHERE owner = :owner) AS of_caller, count(*) AS of_all
    FROM tasks WHERE kind = 'preview' AND lane = 'urgent' AND state = 'queued'
""")
SELECT_TASK_STATE = text("SELECT state, error FROM tasks WHERE id = :task")
INSERT_TASK = text("""
    INSERT INTO tasks (id, kind, dataset_id, payload, owner, needs, frames)
    VALUES (:id, 'preview', :dataset, :payload, :owner, :needs, :frames)
""").bindparams(bindparam("payload", type_=JSONB))
SELECT_FORMATS = text("SELECT DISTINCT unnest(formats) FROM datasets WHERE id = ANY(:datasets)")
# A render may be deleted while a frame of its video is made.
UPSERT_PREVIEW = text("""
    INSERT INTO previews (key, dataset_id, render_id, sha256, bytes, transient)
    SELECT CAST(:key AS text), CAST(:dataset AS uuid), CAST(:render AS uuid), CAST(:sha256 AS text),
        CAST(:bytes AS bigint), CAST(:transient AS boolean)
    WHERE CAST(:render AS uuid) IS NULL
        OR EXISTS (SELECT FROM renders WHERE id = CAST(:render AS uuid) FOR KEY SHARE)
    ON CONFLICT (key) DO UPDATE SET
        sha256 = excluded.sha256, bytes = excluded.bytes, transient = excluded.transient, created_at = now()
""")
# What may be different the next time is shown to those who wait for it.
TRANSIENT_S = 10
SELECT_PREVIEW = text(f"""
    SELECT sha256, transient, bytes FROM previews
    WHERE key = :key AND (NOT transient OR created_at > now() - interval '{TRANSIENT_S} seconds')
""")
DELETE_PREVIEW = text("DELETE FROM previews WHERE key = :key AND sha256 = :sha256")
DELETE_OLD_PREVIEWS = text("DELETE FROM previews WHERE created_at < now() - make_interval(secs => :seconds)")


@dataclass(frozen=True, slots=True)
class StoredPreview:
    """The object of a preview, of `size` bytes; of a `transient` one, another attempt may show something else."""

    written: WrittenObject
    transient: bool
    size: int


async def find_preview(connection: AsyncConnection, preview: Preview) -> StoredPreview | None:
    """None if it was not made yet, by a version that kept no digests, or is out of date."""
    row = (await connection.execute(SELECT_PREVIEW, {"key": preview.key})).one_or_none()
    return StoredPreview(WrittenObject(preview.key, row.sha256), row.transient, row.bytes) if row else None


async def record_preview(connection: AsyncConnection, payload: Mapping[str, Any], stored: StoredPreview) -> None:
    """Note that the preview of a task's payload is stored."""
    values = {"key": payload["key"], "dataset": payload["dataset"], "render": payload.get("render")}
    values |= {"sha256": stored.written.sha256, "bytes": stored.size, "transient": stored.transient}
    await connection.execute(UPSERT_PREVIEW, values)


async def forget_preview(connection: AsyncConnection, written: WrittenObject) -> None:
    """Its object is lost: it is made again when somebody asks."""
    await connection.execute(DELETE_PREVIEW, {"key": written.key, "sha256": written.sha256})


async def forget_old_previews(connection: AsyncConnection, max_age_days: float) -> None:
    """Delete the rows of previews that are older than the eviction lets them be."""
    await connection.execute(DELETE_OLD_PREVIEWS, {"seconds": max_age_days * 86_400})


async def find_task(connection: AsyncConnection, preview: Preview) -> RowMapping | None:
    """The task that renders the preview or has failed for good; None if there is none."""
    row: RowMapping | None = (await connection.execute(SELECT_LATEST_TASK, {"key": preview.key})).mappings().first()
    if row is None or row["state"] in ("queued", "running"):
        return row
    return row if row["state"] == "failed" and row["error"]["code"] in PERMANENT_ERROR_CODES else None


async def enqueue_preview(connection: AsyncConnection, preview: Preview, owner: Subject) -> TaskId:
    """The task that renders the preview, queued for this caller if there is none. Raises TooManyRequests."""
    await acquire_advisory_lock(connection, preview.key)
    found = await find_task(connection, preview)
    if found is not None:
        return TaskId(found["id"])
    await require_room(connection, owner)
    task = TaskId(new_uuid())
    formats = preview.formats or list(await connection.scalars(SELECT_FORMATS, {"datasets": list(preview.datasets)}))
    values = {"id": task, "dataset": preview.dataset, "payload": preview.to_json(), "owner": owner}
    needs = sorted({*needs_of_preview(preview.picture, formats), *preview.needs})
    values |= {"needs": needs, "frames": preview.frame_count}
    await connection.execute(INSERT_TASK, values)
    await queue.wake_workers(connection)
    return task


async def require_room(connection: AsyncConnection, owner: Subject) -> None:
    """Raises TooManyRequests if so many previews are queued that the caller may have none more."""
    await acquire_advisory_lock(connection, f"previews of {owner}")
    queued = (await connection.execute(COUNT_QUEUED, {"owner": owner})).one()
    if queued.of_caller >= MAX_QUEUED_OF_CALLER or queued.of_all >= MAX_QUEUED:
        whose = "of yours" if queued.of_caller >= MAX_QUEUED_OF_CALLER else "of all callers"
        detail = f"many previews {whose} are waiting: try again in a moment"
        raise TooManyRequests(detail, headers=await retry_after(connection, "preview", owner))


async def get_task_state(connection: AsyncConnection, task: TaskId) -> RowMapping | None:
    """`state` and `error` of the task; None if its dataset was deleted."""
    return (await connection.execute(SELECT_TASK_STATE, {"task": task})).mappings().first()
