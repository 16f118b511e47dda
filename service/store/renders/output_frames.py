"""Plan one output frame of a render, without the rest of it."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import invalid_field
from service.plan.render_plan import FrameRef, RenderOptions, SegmentPlan
from service.plan.requests.planning import RenderPlan
from service.plan.segments import Selection, first_output_of_segment, lead_outputs, output_at
from service.plan.timing import NOMINAL_RATE, with_elapsed_time
from service.store.catalog.frames import stream_frames
from service.store.renders.submission import plan_segments

# Source frames of one preview and of those that may be held in its place: a task names them all, and a slot reads them.
MAX_FRAMES = 2000


async def plan_output_frame(connection: AsyncConnection, plan: RenderPlan, position: int) -> SegmentPlan:
    """The output frame that shows this position of the dataset; `lead` are the frames before it that the render would
    hold in its place: of its segment, and of those before as many as a segment may look back.

    A render that is paced by capture times is planned from its beginning, because its segments depend on all times, and
    so is a grid, whose panels may hold frames of long before.
    Raises InvalidRequest, for the parameter `index`, if the position is not rendered, and for bins that are too large.
    """
    output = output_at(plan.selection, position)
    size = plan.options.sources_per_output
    if size > MAX_FRAMES:
        detail = f"a preview combines at most {MAX_FRAMES} frames: look at it with a smaller decimation_factor"
        raise invalid_field("#/decimation_factor", detail, "too_many_frames")
    if plan.options.timing or plan.beside:
        before, shown = await _find_in_segments(connection, plan, output, size)
    else:
        first = _first_needed(plan, output)
        frames = [frame async for frame in _stream_part(connection, plan, first, output)]
        place = (output - first) * size
        before, shown = frames[:place], frames[place:]
    room = (MAX_FRAMES - len(shown)) // size * size if may_hold(plan.options) else 0
    before = before[max(len(before) - room, 0) :]
    return SegmentPlan(0, 0, plan.dataset.bucket, _without_rest(plan.options), tuple(shown), tuple(before))


def may_hold(options: RenderOptions) -> bool:
    """Whether an earlier frame may be shown instead of a faulty one."""
    return "hold" in (options.missing, options.changed, options.corrupt)


def _without_rest(options: RenderOptions) -> RenderOptions:
    """The same picture of a render that differs in other things gives the same preview."""
    return replace(options, fps=NOMINAL_RATE, quality=0, effort="balanced", timing=None, outputs=(), container="mp4")


def _first_needed(plan: RenderPlan, output: int) -> int:
    """The first output frame that may be held instead of this one."""
    if not may_hold(plan.options):
        return output
    begin = first_output_of_segment(plan.options, plan.selection, output)
    return max(begin - lead_outputs(plan.options), 0)


async def _find_in_segments(
    connection: AsyncConnection, plan: RenderPlan, output: int, size: int
) -> tuple[list[FrameRef], list[FrameRef]]:
    """(frames before it, frames of it)."""
    async for segment in plan_segments(connection, plan):
        place = (output - segment.first_output) * size
        if place < len(segment.frames):
            untimed = [replace(frame, shown_for=None, clock=None) for frame in (*segment.lead, *segment.frames)]
            place += len(segment.lead)
            return untimed[:place], untimed[place : place + size]
    raise LookupError(f"no segment has output frame {output}")


def _stream_part(connection: AsyncConnection, plan: RenderPlan, first: int, last: int) -> AsyncIterator[FrameRef]:
    """The source frames of these output frames, the last one included."""
    whole = plan.selection
    begin = whole.start + first * whole.step
    stop = min(whole.start + (last + 1) * whole.step, whole.stop)
    part = Selection(begin, stop, whole.step, whole.binned)
    frames = stream_frames(connection, plan.dataset, part, plan.gaps, plan.options.deinterlace)
    if plan.options.overlay and plan.options.overlay.elapsed:
        return _with_elapsed_time(connection, frames, plan, first)
    return frames


async def _with_elapsed_time(
    connection: AsyncConnection, frames: AsyncIterator[FrameRef], plan: RenderPlan, first: int
) -> AsyncIterator[FrameRef]:
    timed, begin = plan.dataset.has_capture_times, None
    if timed:
        async with aclosing(_capture_times(connection, plan)) as times:
            begin = await anext(times, None)
    place = first * (plan.options.bins.size if plan.options.bins else 1)
    async for frame in with_elapsed_time(frames, plan.options, timed, begin, place):
        yield frame


async def _capture_times(connection: AsyncConnection, plan: RenderPlan) -> AsyncGenerator[int, None]:
    async for frame in stream_frames(connection, plan.dataset, plan.selection, plan.gaps):
        if frame.captured is not None:
            yield frame.captured
