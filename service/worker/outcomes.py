"""What follows from the outcome of a task.

The final write is one transaction, fenced by the lease; the render row is locked before the task row."""

from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import RenderId
from service.jobs import leases, queue
from service.jobs.leases import AssembleLease, Lease, PreviewLease, RenderLease, ScanLease, SegmentLease
from service.jobs.retries import retry_class
from service.store.cache import previews, segments
from service.store.cache.previews import StoredPreview
from service.store.cache.segments import CacheEntry
from service.store.catalog import datasets, follows, scan
from service.store.objects.digests import WrittenObject
from service.store.objects.keys import segment_key
from service.store.renders import lifecycle, queries
from service.telemetry import metrics
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

log = structlog.get_logger("worker")
LOCK_RENDER = text(
    f"SELECT status FROM renders, {leases.IDLE_IN_TRANSACTION_TIMEOUT} WHERE id = :render FOR UPDATE OF renders"
)
# Of these segments the one that this render has had written again most often, and how often.
SELECT_WRITTEN_AGAIN = text("""
    SELECT content_key, count(*) AS times
    FROM tasks, jsonb_array_elements_text(error -> 'segments') AS content_key
    WHERE render_id = :render AND kind = 'assemble' AND state = 'cancelled' AND content_key = ANY(:keys)
    GROUP BY content_key ORDER BY times DESC LIMIT 1
""")
HAS_EARLIER_MISMATCH = text("SELECT 1 FROM tasks WHERE render_id = :render AND error ->> 'code' = 'segments_differ'")


async def record_outcome(connection: AsyncConnection, lease: Lease, outcome: Outcome) -> None:
    """Write how the task ended, and queue the tasks that follow. Raises LeaseLost: then nothing is written."""
    status = await _lock_render(connection, lease.render_id) if isinstance(lease, RenderLease) else ""
    match lease, outcome:
        case SegmentLease(), SegmentDone():
            await _complete_segment(connection, lease, outcome)
            await _queue_assembly_if_complete(connection, lease.render_id, status)
        case SegmentLease(), EncoderUnavailable():
            await _replan_on_cpu(connection, lease, status, outcome.reason)
        case AssembleLease(), AssemblyDone():
            await _complete_assembly(connection, lease, outcome)
        case AssembleLease(), SegmentsMissing():
            await _rerender_missing_segments(connection, lease, outcome)
        case AssembleLease(), TaskFailed(code="segments_differ") if not await connection.scalar(
            HAS_EARLIER_MISMATCH, {"render": lease.render_id}
        ):
            await _rerender_all_segments(connection, lease, outcome)
        case ScanLease(), ScanDone():
            await leases.finish(connection, lease, "succeeded", progress=outcome.frames)
        case PreviewLease(), PreviewDone():
            await leases.finish(connection, lease, "succeeded", progress=1)
            written = WrittenObject(lease.payload["key"], outcome.sha256)
            stored = StoredPreview(written, outcome.transient, outcome.size)
            await previews.record_preview(connection, lease.payload, stored)
        case _, TaskFailed():
            await fail_task(connection, lease, outcome.code, outcome.reason)
        case _, TaskCancelled():
            await leases.finish(connection, lease, "cancelled")
        case _:
            raise TypeError(f"{outcome} does not end a task of kind {lease.kind}")


async def fail_task(connection: AsyncConnection, lease: Lease, code: str, reason: str) -> None:
    """End the task as failed, and with it its render or scan. Raises LeaseLost."""
    number = lease.number if isinstance(lease, SegmentLease) else None
    error = {"code": code, "reason": reason, "task": lease.kind, "segment": number}
    if isinstance(lease, RenderLease):
        await connection.execute(LOCK_RENDER, {"render": lease.render_id})
    await leases.finish(connection, lease, "failed", error=error)
    if isinstance(lease, RenderLease):
        await lifecycle.fail_render(connection, lease.render_id, error)
    if isinstance(lease, ScanLease):
        await _fail_scan(connection, lease, reason)


async def _fail_scan(connection: AsyncConnection, lease: ScanLease, reason: str) -> None:
    """A followed dataset keeps what it has, unless somebody waits for the scan."""
    row = await datasets.lock(connection, lease.dataset_id)
    if row is not None and (not lease.known or row.state == "scanning"):
        await scan.update_dataset(connection, lease.dataset_id, {"state": "failed", "error": reason})
    await follows.record_failed_scan(connection, lease.dataset_id, reason)


async def complete_cached_segment(
    connection: AsyncConnection, lease: SegmentLease, content_key: str, frames: int
) -> None:
    """End a task whose segment is in the cache: it succeeds without work. Raises LeaseLost."""
    status = await _lock_render(connection, lease.render_id)
    await leases.finish(connection, lease, "succeeded", progress=frames)
    await segments.set_result(connection, lease.render_id, lease.number, content_key)
    await _queue_assembly_if_complete(connection, lease.render_id, status)


async def _lock_render(connection: AsyncConnection, render_id: RenderId) -> str:
    """The status of the render, which nobody else can change until this transaction ends; empty if it is deleted."""
    return str(await connection.scalar(LOCK_RENDER, {"render": render_id}) or "")


async def _queue_assembly_if_complete(connection: AsyncConnection, render_id: RenderId, status: str) -> None:
    """Queue the assembly of an unfinished render if all segments have ended."""
    if status in ("queued", "running"):
        await lifecycle.enqueue_assembly_if_complete(connection, render_id)


async def _complete_segment(connection: AsyncConnection, lease: SegmentLease, done: SegmentDone) -> None:
    await leases.finish(connection, lease, "succeeded", progress=done.frames)
    await segments.set_result(connection, lease.render_id, lease.number, done.content_key, transient=done.transient)
    entry = CacheEntry(
        done.content_key,
        segment_key(done.content_key),
        done.size,
        done.frames,
        done.encoder,
        done.stage_seconds,
        done.duration,
        done.digests,
    )
    await segments.insert_entry(connection, entry)


async def _complete_assembly(connection: AsyncConnection, lease: AssembleLease, done: AssemblyDone) -> None:
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
            "digests": done.digests,
            "video_etag": done.etag,
            "stored_bytes": done.stored_bytes,
        },
    )


async def _replan_on_cpu(connection: AsyncConnection, lease: SegmentLease, status: str, reason: str) -> None:
    """Replan every segment on the CPU encoder. That fences the segments still running.

    A finished render has its video: that keeps its encoder, also if a segment of it cannot be rendered again.
    """
    if status not in ("queued", "running"):
        await fail_task(connection, lease, "encoder_gone", reason)
        return
    await leases.finish(connection, lease, "cancelled", error={"code": "encoder_gone", "reason": reason})
    await lifecycle.replan_on_cpu_encoder(connection, lease.render_id, reason)
    await queue.wake_workers(connection)
    await _queue_assembly_if_complete(connection, lease.render_id, status)


async def _rerender_all_segments(connection: AsyncConnection, lease: AssembleLease, failure: TaskFailed) -> None:
    """Render all segments again, once: some came from the cache, made by an encoder that is no longer installed."""
    content_keys = [each.content_key for each in await segments.list_render_segments(connection, lease.render_id)]
    await _rerender_segments(connection, lease, {"code": failure.code, "reason": failure.reason}, content_keys)


async def rerender_outdated_segments(connection: AsyncConnection, lease: AssembleLease) -> bool:
    """Put an assembly off until the segments that an earlier version made are rendered again; whether there are such.

    They may show what this version would refuse: their keys say less about their frames.
    """
    await connection.execute(LOCK_RENDER, {"render": lease.render_id})
    if not await segments.replace_outdated_tasks(connection, lease.render_id):
        return False
    error = {"code": "segments_outdated", "reason": "an earlier version of Reelmill made them"}
    await leases.finish(connection, lease, "cancelled", error=error)
    await queue.wake_workers(connection)
    return True


async def _rerender_missing_segments(
    connection: AsyncConnection, lease: AssembleLease, missing: SegmentsMissing
) -> None:
    """Render these segments again, each time after a longer gap; fail the render if the object store has lost one each
    time. Other renders that have read the same damaged object may drop a segment, too."""
    content_keys = missing.damaged + missing.evicted
    values = {"render": lease.render_id, "keys": list(content_keys)}
    worst = (await connection.execute(SELECT_WRITTEN_AGAIN, values)).first()
    gap_s = retry_class("store_loses_objects").gap_s(worst.times + 1 if worst else 1)
    if worst and gap_s is None:
        reason = f"segment {worst.content_key} was written again {worst.times} times and is gone or damaged again"
        await fail_task(connection, lease, "store_loses_objects", f"{reason}: check the object store")
        return
    if missing.damaged:
        log.warning("damaged segments are rendered again", render=str(lease.render_id), segments=missing.damaged)
        metrics.SEGMENTS_DAMAGED.inc(len(missing.damaged))
    error = {"code": "segments_missing", "reason": "objects of segments are gone or damaged", "segments": content_keys}
    await _rerender_segments(connection, lease, error, content_keys, gap_s or 0.0)


async def _rerender_segments(
    connection: AsyncConnection,
    lease: AssembleLease,
    error: dict[str, Any],
    content_keys: Sequence[str],
    gap_s: float = 0.0,
) -> None:
    """Cancel the assembly; the last of these segments will queue another. They are begun after `gap_s` seconds."""
    await leases.finish(connection, lease, "cancelled", error=error)
    await segments.invalidate_entries(connection, lease.render_id, content_keys, gap_s=gap_s)
    await queue.wake_workers(connection)


def count_segment(done: SegmentDone) -> None:
    """Add the segment to this worker's counters."""
    metrics.FRAMES_RENDERED.inc(done.frames)
    metrics.OBJECTS_FETCHED.inc(done.fetched_objects)
    metrics.BYTES_FETCHED.inc(done.fetched_bytes)
    metrics.BYTES_ENCODED.inc(done.size)
    for reason, frames in done.frame_outcomes.items():
        metrics.FALLBACKS.labels("decode", reason).inc(frames)
    for (stage, code), frames in done.device_fallbacks.items():
        metrics.FALLBACKS.labels(stage, code).inc(frames)
    for stage, seconds in done.stage_seconds.items():
        metrics.STAGE_SECONDS.labels(stage).inc(seconds)


def count_attempt(lease: Lease, outcome: Outcome, *, retried: bool) -> None:
    """Add the attempt to this worker's counters."""
    match outcome:
        case TaskFailed(code=code):
            metrics.ATTEMPTS.labels(lease.kind, code, "retried" if retried else "failed").inc()
        case TaskCancelled():
            metrics.ATTEMPTS.labels(lease.kind, "cancelled", "cancelled").inc()
        case SegmentsMissing():
            metrics.ATTEMPTS.labels(lease.kind, "segments_missing", "retried").inc()
        case EncoderUnavailable():
            metrics.ATTEMPTS.labels(lease.kind, "encoder_gone", "retried").inc()
        case _:
            metrics.ATTEMPTS.labels(lease.kind, "ok", "succeeded").inc()


async def observe_estimate_error(connection: AsyncConnection, render_id: RenderId) -> None:
    """Record how the render's real duration compares with its estimate."""
    ratio = await queries.estimate_ratio(connection, render_id)
    if ratio is not None:
        metrics.ESTIMATE_RATIO.observe(ratio)
