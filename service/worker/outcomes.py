"""The final write of a task: one transaction, fenced by the lease; the render row is locked before the task row."""

from collections.abc import Sequence
from typing import assert_never

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import RenderId, TaskId
from service.jobs import leases, queue
from service.jobs.leases import Lease
from service.store.cache import segments
from service.store.cache.segments import CacheEntry
from service.store.renders import lifecycle
from service.worker.slots.messages import (
    AssemblyDone,
    EncoderUnavailable,
    Outcome,
    PreviewDone,
    ScanDone,
    SegmentDone,
    SegmentsMissing,
    TaskCancelled,
    TaskFailed,
)

LOCK_RENDER = text(
    f"SELECT status, priority FROM renders, {leases.IDLE_IN_TRANSACTION_TIMEOUT}"
    " WHERE id = :render FOR UPDATE OF renders"
)
COUNT_UNFINISHED_SEGMENTS = text(
    "SELECT count(*) FROM tasks WHERE render_id = :render AND kind = 'segment' AND state <> 'succeeded'"
)
HAS_EARLIER_MISMATCH = text("SELECT 1 FROM tasks WHERE render_id = :render AND error ->> 'code' = 'segments_differ'")


async def record_outcome(connection: AsyncConnection, lease: Lease, outcome: Outcome) -> None:
    """Write how the task ended and what follows from it. Raises leases.Fenced: then nothing is written."""
    if lease.render_id is not None:
        await connection.execute(LOCK_RENDER, {"render": lease.render_id})
    match outcome:
        case SegmentDone():
            await _complete_segment(connection, lease, outcome)
        case AssemblyDone():
            await _complete_assembly(connection, lease, outcome)
        case ScanDone():
            await leases.finish(connection, lease, "succeeded", progress=outcome.frames)
        case PreviewDone():
            await leases.finish(connection, lease, "succeeded", progress=1)
        case EncoderUnavailable():
            await _replan_on_cpu(connection, lease, outcome.reason)
        case SegmentsMissing():
            await _rerender_missing_segments(connection, lease, outcome)
        case TaskFailed(code="segments_differ") if not await connection.scalar(
            HAS_EARLIER_MISMATCH, {"render": lease.render_id}
        ):
            await _rerender_all_segments(connection, lease, outcome)
        case TaskFailed():
            await fail_task(connection, lease, outcome.code, outcome.reason)
        case TaskCancelled():
            await leases.finish(connection, lease, "cancelled")
        case _:
            assert_never(outcome)


async def fail_task(connection: AsyncConnection, lease: Lease, code: str, reason: str) -> None:
    """The task ends as failed, and with it the render or the scan it belongs to."""
    error = {"code": code, "reason": reason, "task": lease.kind, "segment": lease.number}
    await connection.execute(LOCK_RENDER, {"render": lease.render_id})
    await leases.finish(connection, lease, "failed", error=error)
    if lease.render_id is not None:
        await lifecycle.fail_render(connection, lease.render_id, error)
    if lease.kind == "scan":
        query = text("UPDATE datasets SET state = 'failed', error = :reason, updated_at = now() WHERE id = :dataset")
        await connection.execute(query, {"dataset": lease.dataset_id, "reason": reason})


async def complete_cached_segment(connection: AsyncConnection, lease: Lease, frames: int) -> None:
    """The segment lies in the cache already: the task succeeds without work."""
    assert lease.render_id is not None
    await connection.execute(LOCK_RENDER, {"render": lease.render_id})
    await leases.finish(connection, lease, "succeeded", progress=frames)
    await queue_assembly_if_complete(connection, RenderId(lease.render_id))


async def queue_assembly_if_complete(connection: AsyncConnection, render_id: RenderId) -> None:
    """The transaction that ends the last segment queues the assembly; the lock on the render row makes it one."""
    row = (await connection.execute(LOCK_RENDER, {"render": render_id})).one()
    if row.status not in ("queued", "running") or await connection.scalar(
        COUNT_UNFINISHED_SEGMENTS, {"render": render_id}
    ):
        return
    await lifecycle.enqueue_assembly(connection, render_id, row.priority)


async def _complete_segment(connection: AsyncConnection, lease: Lease, done: SegmentDone) -> None:
    assert lease.render_id is not None and lease.number is not None
    await leases.finish(connection, lease, "succeeded", progress=done.frames)
    key = await segments.get_content_key(connection, lease.render_id, lease.number)
    lasts = None if done.duration is None else str(done.duration)
    entry = CacheEntry(key, done.key, done.size, done.frames, done.encoder, done.stage_seconds, lasts)
    await segments.insert_entry(connection, entry)
    await queue_assembly_if_complete(connection, RenderId(lease.render_id))


async def _complete_assembly(connection: AsyncConnection, lease: Lease, done: AssemblyDone) -> None:
    assert lease.render_id is not None
    await leases.finish(connection, lease, "succeeded", progress=done.frames)
    await lifecycle.complete_render(
        connection,
        lease.render_id,
        {
            "video_key": done.video_key,
            "video_bytes": done.size,
            "video_sha256": done.sha256,
            "video_frames": done.frames,
            "poster_key": done.poster_key,
            "receipt_key": done.receipt_key,
            "summary": done.summary,
        },
    )


async def _replan_on_cpu(connection: AsyncConnection, lease: Lease, reason: str) -> None:
    """On the CPU's encoder, every segment: whatever its other segments are doing is fenced by that."""
    assert lease.render_id is not None
    error = {"code": "encoder_gone", "reason": reason}
    await leases.finish(connection, lease, "cancelled", error=error)
    render = RenderId(lease.render_id)
    tasks = await lifecycle.replan_on_cpu_encoder(connection, render, reason)
    priority = (await connection.execute(LOCK_RENDER, {"render": render})).one().priority
    await queue.enqueue(connection, "segment", tasks, priority)
    await queue_assembly_if_complete(connection, render)


async def _rerender_all_segments(connection: AsyncConnection, lease: Lease, failure: TaskFailed) -> None:
    """Once: some came from the cache, of an encoder that is no longer here; those of today's fit together."""
    assert lease.render_id is not None
    keys = [key for key, _ in await segments.list_render_segments(connection, lease.render_id)]
    await _rerender_segments(connection, lease, {"code": failure.code, "reason": failure.reason}, keys)


async def _rerender_missing_segments(connection: AsyncConnection, lease: Lease, missing: SegmentsMissing) -> None:
    error = {"code": "segments_missing", "reason": "cache entry lost"}
    await _rerender_segments(connection, lease, error, missing.content_keys)


async def _rerender_segments(
    connection: AsyncConnection, lease: Lease, error: dict[str, str], content_keys: Sequence[str]
) -> None:
    """The assembly is called off; the last of these segments will queue another."""
    assert lease.render_id is not None
    await leases.finish(connection, lease, "cancelled", error=error)
    tasks: list[TaskId] = await segments.invalidate_entries(connection, lease.render_id, content_keys)
    await queue.enqueue(connection, "segment", tasks)
