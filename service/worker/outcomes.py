"""The final writes of tasks: each one transaction, fenced by the lease, the render row locked before the task row."""

from collections.abc import Sequence
from typing import assert_never

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import RenderId, TaskId
from service.jobs import leases, queue
from service.jobs.leases import Lease
from service.store import renders, replan, segment_cache
from service.store.segment_cache import Entry
from service.worker.messages import (
    AssemblyDone,
    EncoderGone,
    Outcome,
    PreviewDone,
    ScanDone,
    SegmentDone,
    SegmentsMissing,
    TaskCancelled,
    TaskFailed,
)

LOCK_RENDER = text(f"SELECT status, priority FROM renders, {leases.BOUNDED} WHERE id = :render FOR UPDATE OF renders")
LEFT = text("SELECT count(*) FROM tasks WHERE render_id = :render AND kind = 'segment' AND state <> 'succeeded'")
DIFFERED = text("SELECT 1 FROM tasks WHERE render_id = :render AND error ->> 'code' = 'segments_differ'")


async def record(connection: AsyncConnection, lease: Lease, outcome: Outcome) -> None:
    """Write how the task ended and what follows from it. Raises leases.Fenced: then nothing is written."""
    if lease.render_id is not None:
        await connection.execute(LOCK_RENDER, {"render": lease.render_id})
    match outcome:
        case SegmentDone():
            await _segment_done(connection, lease, outcome)
        case AssemblyDone():
            await _assembly_done(connection, lease, outcome)
        case ScanDone():
            await leases.finish(connection, lease, "succeeded", progress=outcome.frames)
        case PreviewDone():
            await leases.finish(connection, lease, "succeeded", progress=1)
        case EncoderGone():
            await _planned_anew(connection, lease, outcome.reason)
        case SegmentsMissing():
            await _segments_missing(connection, lease, outcome)
        case TaskFailed(code="segments_differ") if not await connection.scalar(DIFFERED, {"render": lease.render_id}):
            await _all_anew(connection, lease, outcome)
        case TaskFailed():
            await fail(connection, lease, outcome.code, outcome.reason)
        case TaskCancelled():
            await leases.finish(connection, lease, "cancelled")
        case _:
            assert_never(outcome)


async def fail(connection: AsyncConnection, lease: Lease, code: str, reason: str) -> None:
    """The task ends as failed, and with it the render or the scan it belongs to."""
    error = {"code": code, "reason": reason, "task": lease.kind, "segment": lease.number}
    await connection.execute(LOCK_RENDER, {"render": lease.render_id})
    await leases.finish(connection, lease, "failed", error=error)
    if lease.render_id is not None:
        await renders.fail(connection, lease.render_id, error)
    if lease.kind == "scan":
        query = text("UPDATE datasets SET state = 'failed', error = :reason, updated_at = now() WHERE id = :dataset")
        await connection.execute(query, {"dataset": lease.dataset_id, "reason": reason})


async def segment_done_before(connection: AsyncConnection, lease: Lease, frames: int) -> None:
    """The segment lies in the cache already: the task succeeds without work."""
    assert lease.render_id is not None
    await connection.execute(LOCK_RENDER, {"render": lease.render_id})
    await leases.finish(connection, lease, "succeeded", progress=frames)
    await join(connection, RenderId(lease.render_id))


async def join(connection: AsyncConnection, render: RenderId) -> None:
    """The transaction that ends the last segment queues the assembly; the lock on the render row makes it one."""
    row = (await connection.execute(LOCK_RENDER, {"render": render})).one()
    if row.status not in ("queued", "running") or await connection.scalar(LEFT, {"render": render}):
        return
    await renders.queue_assembly(connection, render, row.priority)


async def _segment_done(connection: AsyncConnection, lease: Lease, done: SegmentDone) -> None:
    assert lease.render_id is not None and lease.number is not None
    await leases.finish(connection, lease, "succeeded", progress=done.frames)
    key = await segment_cache.key_of(connection, lease.render_id, lease.number)
    lasts = None if done.duration is None else str(done.duration)
    entry = Entry(key, done.key, done.size, done.frames, done.encoder, done.seconds, lasts)
    await segment_cache.keep(connection, entry)
    await join(connection, RenderId(lease.render_id))


async def _assembly_done(connection: AsyncConnection, lease: Lease, done: AssemblyDone) -> None:
    assert lease.render_id is not None
    await leases.finish(connection, lease, "succeeded", progress=done.frames)
    await renders.succeed(
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


async def _planned_anew(connection: AsyncConnection, lease: Lease, reason: str) -> None:
    """On the CPU's encoder, every segment: whatever its other segments are doing is fenced by that."""
    assert lease.render_id is not None
    error = {"code": "encoder_gone", "reason": reason}
    await leases.finish(connection, lease, "cancelled", error=error)
    render = RenderId(lease.render_id)
    tasks = await replan.by_cpu_encoder(connection, render, reason)
    priority = (await connection.execute(LOCK_RENDER, {"render": render})).one().priority
    await queue.enqueue(connection, "segment", tasks, priority)
    await join(connection, render)


async def _all_anew(connection: AsyncConnection, lease: Lease, differ: TaskFailed) -> None:
    """Once: some came from the cache, of an encoder that is no longer here; those of today's fit together."""
    assert lease.render_id is not None
    keys = [key for key, _ in await segment_cache.of_render(connection, lease.render_id)]
    await _made_again(connection, lease, {"code": differ.code, "reason": differ.reason}, keys)


async def _segments_missing(connection: AsyncConnection, lease: Lease, missing: SegmentsMissing) -> None:
    error = {"code": "segments_missing", "reason": "cache entry lost"}
    await _made_again(connection, lease, error, missing.content_keys)


async def _made_again(connection: AsyncConnection, lease: Lease, error: dict[str, str], keys: Sequence[str]) -> None:
    """The assembly is called off; the last of these segments will queue another."""
    assert lease.render_id is not None
    await leases.finish(connection, lease, "cancelled", error=error)
    tasks: list[TaskId] = await segment_cache.forget(connection, lease.render_id, keys)
    await queue.enqueue(connection, "segment", tasks)
