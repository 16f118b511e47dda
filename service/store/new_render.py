"""Write a whole render, rows and jobs, in the caller's one transaction."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import RenderId, Subject, new_uuid
from service.jobs import queue
from service.plan.elapsed import stamped
from service.plan.estimate import Estimate, Load, estimate
from service.plan.pacing import paced
from service.plan.planner import Selection, cut
from service.plan.render_plan import FrameRef, RenderOptions, SegmentPlan, content_keys
from service.plan.stages import Stages
from service.store import renders, segment_cache, worker_rows
from service.store.selection import frame_refs

SEGMENTS_A_WRITE, FRAMES_A_WRITE = 200, 5_000
"""A batch is written when it has so many of either: a segment of bins may have thousands of frames."""


@dataclass(frozen=True, slots=True)
class NewRender:
    """What has been decided about a render before it is written."""

    dataset: dict[str, Any]
    options: RenderOptions
    chosen: Selection
    key: str
    request: dict[str, Any]
    stages: Stages


async def foretell(connection: AsyncConnection, new: NewRender) -> Estimate:
    """The estimate of a render that is not written: it is planned to the end, to see what the cache holds of it."""
    fresh = segments = 0
    async for batch in _batches(_plans(connection, new)):
        keys = content_keys(batch)
        held = await segment_cache.known(connection, keys)
        missing = [plan for plan, key in zip(batch, keys, strict=True) if key not in held]
        fresh, segments = fresh + sum(len(plan.outputs()) for plan in missing), segments + len(missing)
    return await _estimate(connection, new, fresh, segments)


async def _estimate(connection: AsyncConnection, new: NewRender, fresh: int, segments: int) -> Estimate:
    """From what segments took lately, and the slots that are alive."""
    load = Load(new.chosen.count(), fresh, segments, await worker_rows.live_slots(connection))
    return estimate(new.options, load, await segment_cache.lately(connection, new.options))


async def write(connection: AsyncConnection, owner: Subject, new: NewRender) -> RenderId:
    """Insert the render, its segments and their tasks, its estimate, and queue them; all or nothing."""
    render = RenderId(new_uuid())
    await renders.insert_render(connection, _row(render, owner, new))
    async for batch in _batches(_plans(connection, new)):
        await renders.insert_segments(connection, render, batch)
    tasks = await renders.new_tasks(connection, render)
    fresh = await renders.fresh_outputs(connection, render)
    await renders.set_estimate(connection, render, (await _estimate(connection, new, fresh, len(tasks))).to_json())
    priority = int(new.request["priority"])
    if tasks:
        await queue.enqueue(connection, "segment", tasks, priority)
    else:
        await renders.mark_running(connection, render)
        await renders.queue_assembly(connection, render, priority)
    return render


def _plans(connection: AsyncConnection, new: NewRender) -> AsyncIterator[SegmentPlan]:
    return cut(_frames(connection, new), new.dataset["bucket"], new.options, new.chosen)


def _frames(connection: AsyncConnection, new: NewRender) -> AsyncIterator[FrameRef]:
    """The source frames with what the options need to know of their times."""
    options = new.options
    overlay = options.overlay
    frames = frame_refs(connection, new.dataset, new.chosen, options.missing)
    if options.timing:
        frames = paced(frames, options.timing, options)
    if overlay and overlay.elapsed:
        frames = stamped(frames, options, new.dataset["captured_from"] is not None and new.dataset["kind"] != "video")
    return frames


async def _batches(plans: AsyncIterator[SegmentPlan]) -> AsyncIterator[list[SegmentPlan]]:
    waiting: list[SegmentPlan] = []
    frames = 0
    async for plan in plans:
        waiting.append(plan)
        frames += len(plan.frames)
        if len(waiting) >= SEGMENTS_A_WRITE or frames >= FRAMES_A_WRITE:
            yield waiting
            waiting, frames = [], 0
    if waiting:
        yield waiting


def _row(render: RenderId, owner: Subject, new: NewRender) -> dict[str, Any]:
    return {
        "id": render,
        "owner": owner,
        "experiment_id": new.dataset["experiment_id"],
        "dataset_id": new.dataset["id"],
        "render_key": new.key,
        "request": new.request,
        "options": new.options.to_json(),
        "stages": new.stages,
        "priority": int(new.request["priority"]),
        "frames_total": new.chosen.count(),
    }
