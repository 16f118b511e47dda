"""The time that has passed at each frame, for the overlay."""

from collections.abc import AsyncIterator
from dataclasses import replace

from service.plan.render_plan import FrameRef, RenderOptions


async def stamped(frames: AsyncIterator[FrameRef], options: RenderOptions, timed: bool) -> AsyncIterator[FrameRef]:
    """The frames with `elapsed`: capture time since the first that has one or, without `timed`, time in the video."""
    size = options.bins.size if options.bins else 1
    first: int | None = None
    place = 0
    async for frame in frames:
        first = frame.captured if first is None else first
        if not timed:
            yield replace(frame, elapsed=round(place // size * 1_000_000 / options.fps))
        elif frame.captured is None or first is None:
            yield frame
        else:
            yield replace(frame, elapsed=frame.captured - first)
        place += 1
