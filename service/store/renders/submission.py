"""Submit a planned render: deduplicate it, or insert its rows and queue its tasks, in the caller's transaction."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import FieldProblem, InvalidRequest
from service.ids import RenderId, Subject, new_uuid
from service.jobs import queue
from service.plan.estimate import Estimate, Workload, estimate
from service.plan.facts import RenderLimits
from service.plan.needs import needs_of_segments
from service.plan.render_plan import PIPELINE_VERSION, FrameRef, SegmentPlan, content_keys
from service.plan.requests.planning import RenderPlan
from service.plan.segments import split_into_segments
from service.plan.timing import retime, with_elapsed_time
from service.store import workers
from service.store.cache import segments as segment_cache
from service.store.catalog.frames import stream_frames
from service.store.database import Caller, acquire_advisory_lock, translate_integrity_errors
from service.store.renders.lifecycle import create_segment_tasks, enqueue_assembly, mark_running, register_webhook
from service.store.renders.panels import with_panels
from service.store.renders.queries import get_render
from service.store.renders.queue_bounds import confirm_place, reserve_place
from service.store.renders.requesters import (
    NamedPreset,
    add_requester,
    apply_priority,
    is_requester,
    lock_visible_experiment,
    record_preset,
)
from service.store.tables import idempotency_keys, render_panels, renders, segments
from service.store.usage import require_room
from service.telemetry.metrics import RENDERS_SUBMITTED

# A batch of inserted rows ends at this many segments or frames: a segment of bins may have thousands of frames.
SEGMENTS_A_WRITE, FRAMES_A_WRITE = 200, 5_000

COUNT_UNCACHED_OUTPUTS = text("""
    SELECT coalesce(sum(outputs) FILTER (WHERE NOT reused), 0)::bigint FROM (
        SELECT s.reused, lead(s.first_output, 1, r.frames_total) OVER (ORDER BY s.number) - s.first_output AS outputs
        FROM segments s JOIN renders r ON r.id = s.render_id WHERE s.render_id = :render) planned
""")
UPSERT_IDEMPOTENCY_KEY = text("""
    INSERT INTO idempotency_keys (subject, key, body_sha256, render_id) VALUES (:owner, :key, :body, :render)
    ON CONFLICT (subject, key) DO UPDATE SET body_sha256 = :body, render_id = :render, created_at = now()
""")


@dataclass(frozen=True, slots=True)
class RenderSubmission:
    """A planned render that a caller submits.

    `document` is the request as it was sent, without the webhook's address: it is stored with the render, which others
    may read. `limits` has how many may be unfinished. `admin`: the owner may see everything. `keep_days` is that of
    `add_requester`, `quota` how many bytes the owner may store (None: any number). `preset` is the one that the request
    names; `as_sent` then is the request before the preset's options came into it.
    """

    plan: RenderPlan
    document: dict[str, Any]
    owner: Subject
    limits: RenderLimits
    idempotency_key: str | None = None
    webhook_url: str | None = None
    admin: bool = False
    keep_days: int | None = None
    quota: int | None = None
    preset: NamedPreset | None = None
    as_sent: dict[str, Any] | None = None

    def caller(self) -> Caller:
        return Caller(self.owner, admin=self.admin)

    def body_sha256(self) -> str:
        """Identifies the body; the same idempotency key must be sent with the same body."""
        sent = self.document if self.as_sent is None else self.as_sent
        return hashlib.sha256(repr((sorted(sent.items()), self.webhook_url)).encode()).hexdigest()


async def submit_render(connection: AsyncConnection, submission: RenderSubmission) -> RowMapping:
    """The row of the render: that of the same idempotency key, else one of the same video, else a new one.

    The owner is one of its requesters then. Raises InvalidRequest if the idempotency key was used with another body,
    TooManyRequests or QueueFull if there is no place in the queue, QuotaExceeded if he stores too much, and NotFound if
    the owner may not see the experiment any more or the dataset has been deleted.
    """
    plan, owner = submission.plan, submission.owner
    await lock_visible_experiment(connection, submission.caller(), plan.dataset.experiment_id)
    render = await _find_by_idempotency_key(connection, submission)
    if render is None:
        await acquire_advisory_lock(connection, plan.key)
        render = await _find_duplicate(connection, plan.key, plan.dataset.id)
    is_new = render is None
    if render is None:
        await reserve_place(connection, owner, submission.limits)
        await require_room(connection, owner, submission.quota)
        render = await write_render(connection, owner, plan, submission.document, admin=submission.admin)
        if submission.keep_days is not None:
            await add_requester(connection, render, submission.caller(), plan.priority, submission.keep_days)
        RENDERS_SUBMITTED.labels("new").inc()
    else:
        await _join(connection, render, submission)
        RENDERS_SUBMITTED.labels("known").inc()
    if submission.preset is not None:
        await record_preset(connection, render, owner, submission.preset)
    if submission.webhook_url is not None:
        await register_webhook(connection, render, owner, submission.webhook_url)
    if submission.idempotency_key:
        values = {"owner": owner, "key": submission.idempotency_key, "body": submission.body_sha256(), "render": render}
        await connection.execute(UPSERT_IDEMPOTENCY_KEY, values)
    row = await get_render(connection, render)
    assert row is not None
    if is_new:
        await confirm_place(connection, owner, submission.limits)
    return row


async def _find_by_idempotency_key(connection: AsyncConnection, submission: RenderSubmission) -> RenderId | None:
    """The render that the key named before, locked against deletion until the transaction ends."""
    if not submission.idempotency_key:
        return None
    await acquire_advisory_lock(connection, f"{submission.owner} {submission.idempotency_key}")
    query = select(idempotency_keys).where(
        idempotency_keys.c.subject == submission.owner,
        idempotency_keys.c.key == submission.idempotency_key,
        idempotency_keys.c.created_at > text("now() - interval '24 hours'"),
    )
    row = (await connection.execute(query)).mappings().first()
    if row is None:
        return None
    if row["body_sha256"] != submission.body_sha256():
        detail = "this Idempotency-Key was used with another body: use a new key"
        raise InvalidRequest(detail, errors=(FieldProblem(detail, "idempotency_key_reused", header="Idempotency-Key"),))
    locked = select(renders.c.id).where(renders.c.id == row["render_id"])
    found = await connection.scalar(locked.with_for_update(read=True, key_share=True))
    return RenderId(found) if found else None


async def _find_duplicate(connection: AsyncConnection, key: str, dataset: UUID) -> RenderId | None:
    """The newest finished or active render with this key, locked against deletion until the transaction ends.

    Not one with a transient segment, now or in the video that it has published: its frames may be there again.
    """
    published = func.coalesce(renders.c.summary["segments_transient"].as_string(), "0")
    transient = select(segments.c.number).where(segments.c.render_id == renders.c.id, segments.c.transient)
    query = select(renders.c.id).where(
        renders.c.render_key == key,
        renders.c.dataset_id == dataset,
        renders.c.status.in_(("succeeded", "queued", "running")),
        ~transient.exists(),
        published == "0",
    )
    query = query.order_by(renders.c.status.desc(), renders.c.created_at.desc()).limit(1)
    found = await connection.scalar(query.with_for_update(read=True, key_share=True))
    return RenderId(found) if found else None


async def _join(connection: AsyncConnection, render: RenderId, submission: RenderSubmission) -> None:
    """Make the owner one of the requesters of a known render. Raises what `submit_render` does."""
    caller = submission.caller()
    row = await get_render(connection, render)
    is_new = not await is_requester(connection, render, caller.subject)
    if is_new and row is not None and row["status"] in ("queued", "running"):
        await reserve_place(connection, caller.subject, submission.limits, joins=True)
    if is_new and row is not None:
        await require_room(connection, caller.subject, submission.quota, row["stored_bytes"] or 0)
    await add_requester(connection, render, caller, submission.plan.priority, submission.keep_days)
    await apply_priority(connection, render)


async def estimate_render(connection: AsyncConnection, plan: RenderPlan) -> Estimate:
    """Estimate a render without writing it. All segments are planned, to find those that are cached."""
    uncached = segment_count = 0
    async for batch in _batches(plan_segments(connection, plan)):
        keys = content_keys(batch)
        cached = await segment_cache.existing_keys(connection, keys)
        missing = [segment for segment, key in zip(batch, keys, strict=True) if key not in cached]
        uncached += sum(len(segment.outputs()) for segment in missing)
        segment_count += len(missing)
    return await _estimate(connection, plan, uncached, segment_count)


async def write_render(
    connection: AsyncConnection, owner: Subject, plan: RenderPlan, document: dict[str, Any], *, admin: bool = False
) -> RenderId:
    """Insert the render with its segments, tasks and estimate, and queue the tasks.

    Raises NotFound if the experiment or the dataset has been deleted.
    """
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
        "pipeline": int(PIPELINE_VERSION),
        "needs": needs_of_segments(plan.options, {name for each in plan.datasets for name in each.formats}),
    }
    async with translate_integrity_errors("there is such a render already"):
        await connection.execute(insert(renders).values(**row))
        if plan.beside:
            panels = [{"render_id": render, "dataset_id": each.facts.id} for each in plan.beside]
            await connection.execute(insert(render_panels), panels)
    await add_requester(connection, render, Caller(owner, admin=admin), plan.priority)
    async for batch in _batches(plan_segments(connection, plan)):
        await _insert_segments(connection, render, batch)
    tasks = await create_segment_tasks(connection, render)
    uncached = int(await connection.scalar(COUNT_UNCACHED_OUTPUTS, {"render": render}) or 0)
    cost = await _estimate(connection, plan, uncached, tasks)
    await connection.execute(update(renders).where(renders.c.id == render).values(estimate=cost.to_json()))
    if tasks:
        await queue.wake_workers(connection)
    else:
        await mark_running(connection, render)
        await enqueue_assembly(connection, render)
    return render


async def _insert_segments(connection: AsyncConnection, render: RenderId, plans: Sequence[SegmentPlan]) -> None:
    rows = [
        {
            "render_id": render,
            "number": plan.number,
            "first_output": plan.first_output,
            "planned": str(plan.seconds()),
            "content_key": key,
            "pipeline": PIPELINE_VERSION,
            "frames": [frame.pack() for frame in plan.frames],
            "lead": [frame.pack() for frame in plan.lead],
        }
        for plan, key in zip(plans, content_keys(plans), strict=True)
    ]
    await connection.execute(insert(segments), rows)


async def _estimate(connection: AsyncConnection, plan: RenderPlan, uncached: int, segment_count: int) -> Estimate:
    """From the times of recent segments and the number of live slots; `uncached` counts output frames."""
    slots = await workers.count_active_slots(connection)
    workload = Workload(plan.selection.output_count(), uncached, segment_count, slots)
    return estimate(plan.options, workload, await segment_cache.recent_stats(connection, plan.options))


def plan_segments(connection: AsyncConnection, plan: RenderPlan) -> AsyncIterator[SegmentPlan]:
    """The segments of the render, whose frames have the times that the options need."""
    options = plan.options
    frames: AsyncIterator[FrameRef] = stream_frames(
        connection, plan.dataset, plan.selection, plan.gaps, options.deinterlace
    )
    if options.timing:
        frames = retime(frames, options.timing, options)
    if options.overlay and options.overlay.elapsed:
        frames = with_elapsed_time(frames, options, plan.dataset.has_capture_times)
    if plan.beside:
        frames = with_panels(connection, frames, plan, plan.selection)
    return split_into_segments(frames, plan.dataset.bucket, options, plan.selection)


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
