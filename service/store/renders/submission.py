"""Submit a planned render: deduplicate it, or write its rows and queue its tasks, in the caller's one transaction."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import FieldProblem, InvalidRequest, TooManyRequests
from service.ids import RenderId, Subject, new_uuid
from service.jobs import queue
from service.plan.estimate import Estimate, Workload, estimate
from service.plan.render_plan import FrameRef, SegmentPlan, content_keys
from service.plan.request import RenderPlan
from service.plan.segments import split_into_segments
from service.plan.timing import retime, with_elapsed_time
from service.store import workers
from service.store.cache import segments as segment_cache
from service.store.catalog.frames import stream_frames
from service.store.database import acquire_advisory_lock
from service.store.renders import lifecycle
from service.telemetry.metrics import RENDERS_SUBMITTED

# Segments are written in batches of so many segments or frames: a segment of bins may have thousands of frames.
SEGMENTS_A_WRITE, FRAMES_A_WRITE = 200, 5_000


@dataclass(frozen=True, slots=True)
class RenderSubmission:
    """A plan on its way into the queue.

    `document` is the request as it was sent, stored with the render. Others may read it, so the webhook's address is
    not part of it. `max_queued` is how many unfinished renders the owner may have.
    """

    plan: RenderPlan
    document: dict[str, Any]
    owner: Subject
    max_queued: int
    idempotency_key: str | None = None
    webhook_url: str | None = None

    def body_sha256(self) -> str:
        """What the same idempotency key must come with again."""
        return hashlib.sha256(repr((sorted(self.document.items()), self.webhook_url)).encode()).hexdigest()


async def submit_render(connection: AsyncConnection, submission: RenderSubmission) -> RowMapping:
    """The row of the render: that of the same idempotency key, else one of the same video, else a new one.

    Raises Invalid for an idempotency key that was used with another body, TooManyRequests when the owner's queue is
    full, and NotFound when the dataset was deleted meanwhile.
    """
    plan, owner = submission.plan, submission.owner
    render = await _find_by_idempotency_key(connection, submission)
    if render is None:
        await acquire_advisory_lock(connection, plan.key)
        render = await lifecycle.find_duplicate(connection, plan.key, plan.dataset.id)
    if render is None:
        await _check_queue(connection, owner, submission.max_queued)
        render = await write_render(connection, owner, plan, submission.document)
        RENDERS_SUBMITTED.labels("new").inc()
    else:
        RENDERS_SUBMITTED.labels("known").inc()
    if submission.webhook_url is not None:
        await lifecycle.register_webhook(connection, render, owner, submission.webhook_url)
    if submission.idempotency_key:
        body = submission.body_sha256()
        await lifecycle.save_idempotency_key(connection, owner, submission.idempotency_key, body, render)
    row = await lifecycle.get_render(connection, render)
    assert row is not None
    return row


async def _find_by_idempotency_key(connection: AsyncConnection, submission: RenderSubmission) -> RenderId | None:
    if not submission.idempotency_key:
        return None
    await acquire_advisory_lock(connection, f"{submission.owner} {submission.idempotency_key}")
    row = await lifecycle.find_idempotency_key(connection, submission.owner, submission.idempotency_key)
    if row is None:
        return None
    if row["body_sha256"] != submission.body_sha256():
        detail = "this Idempotency-Key was used with another body: use a new key"
        raise InvalidRequest(detail, errors=(FieldProblem(detail, "idempotency_key_reused", header="Idempotency-Key"),))
    return RenderId(row["render_id"])


async def _check_queue(connection: AsyncConnection, owner: Subject, max_queued: int) -> None:
    unfinished = await lifecycle.count_active(connection, owner)
    if unfinished >= max_queued:
        detail = f"you have {unfinished} unfinished renders, at most {max_queued} are allowed: let some end"
        raise TooManyRequests(detail, headers={"Retry-After": "10"})


async def estimate_render(connection: AsyncConnection, plan: RenderPlan) -> Estimate:
    """The estimate of a render that is not written. All its segments are planned, to find those that are cached."""
    uncached = segments = 0
    async for batch in _batches(_segments(connection, plan)):
        keys = content_keys(batch)
        cached = await segment_cache.existing_keys(connection, keys)
        missing = [segment for segment, key in zip(batch, keys, strict=True) if key not in cached]
        uncached += sum(len(segment.outputs()) for segment in missing)
        segments += len(missing)
    return await _estimate(connection, plan, uncached, segments)


async def write_render(
    connection: AsyncConnection, owner: Subject, plan: RenderPlan, document: dict[str, Any]
) -> RenderId:
    """Insert the render, its segments and their tasks, and its estimate, and queue the tasks; all or nothing."""
    render = RenderId(new_uuid())
    row = {
        "id": render,
        "owner": owner,
        "experiment_id": plan.dataset.experiment_id,
        "dataset_id": plan.dataset.id,
        "render_key": plan.key,
        "request": document,
        "options": plan.options.to_json(),
        "stages": plan.stages,
        "priority": plan.priority,
        "frames_total": plan.selection.output_count(),
    }
    await lifecycle.insert_render(connection, row)
    async for batch in _batches(_segments(connection, plan)):
        await lifecycle.insert_segments(connection, render, batch)
    tasks = await lifecycle.create_segment_tasks(connection, render)
    uncached = await lifecycle.count_uncached_outputs(connection, render)
    cost = await _estimate(connection, plan, uncached, len(tasks))
    await lifecycle.set_estimate(connection, render, cost.to_json())
    if tasks:
        await queue.enqueue(connection, "segment", tasks, plan.priority)
    else:
        await lifecycle.mark_running(connection, render)
        await lifecycle.enqueue_assembly(connection, render, plan.priority)
    return render


async def _estimate(connection: AsyncConnection, plan: RenderPlan, uncached: int, segments: int) -> Estimate:
    """From what recent segments took, and the slots that are live."""
    slots = await workers.count_live_slots(connection)
    workload = Workload(plan.selection.output_count(), uncached, segments, slots)
    return estimate(plan.options, workload, await segment_cache.recent_stats(connection, plan.options))


def _segments(connection: AsyncConnection, plan: RenderPlan) -> AsyncIterator[SegmentPlan]:
    return split_into_segments(_frames(connection, plan), plan.dataset.bucket, plan.options, plan.selection)


def _frames(connection: AsyncConnection, plan: RenderPlan) -> AsyncIterator[FrameRef]:
    """The source frames, with the times that the options need."""
    options = plan.options
    frames = stream_frames(connection, plan.dataset, plan.selection, options.missing)
    if options.timing:
        frames = retime(frames, options.timing, options)
    if options.overlay and options.overlay.elapsed:
        frames = with_elapsed_time(frames, options, plan.dataset.has_capture_times)
    return frames


async def _batches(segments: AsyncIterator[SegmentPlan]) -> AsyncIterator[list[SegmentPlan]]:
    batch: list[SegmentPlan] = []
    frames = 0
    async for segment in segments:
        batch.append(segment)
        frames += len(segment.frames)
        if len(batch) >= SEGMENTS_A_WRITE or frames >= FRAMES_A_WRITE:
            yield batch
            batch, frames = [], 0
    if batch:
        yield batch
