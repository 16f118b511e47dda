"""The frames of a grid: beside each frame of its first dataset, those of the others that are in step with it."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import replace
from typing import Protocol

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.grid import Grid
from service.plan.render_plan import FrameRef
from service.plan.requests.planning import PlannedDataset, RenderPlan
from service.plan.segments import Selection
from service.store.catalog.frames import ROWS_PER_READ, list_timed_frames, stream_frames

SELECT_CAPTURE_TIMES = text("""
    SELECT (extract(epoch FROM captured_at) * 1000000)::bigint AS captured, index AS position FROM frames
    WHERE dataset_id = :dataset AND captured_at IS NOT NULL ORDER BY captured_at, index
""")


class PanelFrames(Protocol):
    """The frames of one panel after the first."""

    async def frames_in_step(self, frames: Sequence[FrameRef]) -> Sequence[FrameRef]:
        """For each of these frames of the first dataset, which follow those of the last call, the one in step with it;
        without a `key` if there is none."""
        ...

    async def close(self) -> None: ...


async def with_panels(
    connection: AsyncConnection, frames: AsyncIterator[FrameRef], plan: RenderPlan, selection: Selection
) -> AsyncIterator[FrameRef]:
    """The frames of the first dataset, which are those of the selection, each followed by those of the other panels."""
    grid = plan.options.grid
    assert grid is not None
    panels = [_panel_frames(connection, dataset, plan, selection) for dataset in plan.beside]
    try:
        async for batch in _batches(frames):
            columns = [await panel.frames_in_step(batch) for panel in panels]
            for place, frame in enumerate(batch):
                yield frame
                for number, column in enumerate(columns, 1):
                    yield replace(column[place], panel=number)
    finally:
        for panel in panels:
            await panel.close()


def _panel_frames(
    connection: AsyncConnection, dataset: PlannedDataset, plan: RenderPlan, selection: Selection
) -> PanelFrames:
    assert plan.options.grid is not None
    if plan.options.grid.align == "captured":
        return FramesByCaptureTime(connection, dataset, plan.options.grid)
    facts = dataset.facts
    return FramesByPosition(stream_frames(connection, facts, selection, dataset.gaps, plan.options.deinterlace))


class FramesByPosition:
    """Those at the same position of their dataset."""

    def __init__(self, frames: AsyncGenerator[FrameRef]) -> None:
        self._frames = frames
        self._next: FrameRef | None = None

    async def close(self) -> None:
        await self._frames.aclose()

    async def frames_in_step(self, frames: Sequence[FrameRef]) -> Sequence[FrameRef]:
        return [await self._at(frame.index) for frame in frames]

    async def _at(self, position: int) -> FrameRef:
        while self._next is None or self._next.index < position:
            self._next = await anext(self._frames, None)
            if self._next is None:
                return FrameRef(position, None)
        return self._next if self._next.index == position else FrameRef(position, None)


class FramesByCaptureTime:
    """Those with the nearest capture time; of two that are as near, the earlier one.

    Cameras that count whole seconds give several frames the same time: the second of them is shown with the second.
    """

    def __init__(self, connection: AsyncConnection, dataset: PlannedDataset, grid: Grid) -> None:
        self._connection, self._dataset, self._within = connection, dataset.facts.id, grid.within_us
        self._times: array[int] | None = None
        self._indexes: array[int] = array("q")
        # The capture time of the last frame of the first dataset, and how many before it have the same.
        self._captured: int | None = None
        self._rank = 0

    async def close(self) -> None:
        self._times = None

    async def frames_in_step(self, frames: Sequence[FrameRef]) -> Sequence[FrameRef]:
        times = await self._capture_times()
        wanted = [self._nearest(times, frame.captured) for frame in frames]
        found = await list_timed_frames(
            self._connection, self._dataset, {index for index in wanted if index is not None}
        )
        return [
            FrameRef(frame.index, None) if index is None else found.get(index, FrameRef(index, None))
            for frame, index in zip(frames, wanted, strict=True)
        ]

    async def _capture_times(self) -> "array[int]":
        """Of all frames of the dataset, in order: 16 bytes each, with their indexes."""
        if self._times is None:
            self._times = array("q")
            async with self._connection.stream(SELECT_CAPTURE_TIMES, {"dataset": self._dataset}) as result:
                async for rows in result.partitions(ROWS_PER_READ):
                    self._times.extend(row.captured for row in rows)
                    self._indexes.extend(row.position for row in rows)
        return self._times

    def _nearest(self, times: "array[int]", captured: int | None) -> int | None:
        if captured is None:
            return None
        self._rank = self._rank + 1 if captured == self._captured else 0
        self._captured = captured
        place = bisect_left(times, captured)
        near = [each for each in (place - 1, place) if 0 <= each < len(times)]
        best = min(near, key=lambda each: abs(times[each] - captured), default=None)
        if best is None or (self._within is not None and abs(times[best] - captured) > self._within):
            return None
        first, stop = bisect_left(times, times[best]), bisect_right(times, times[best])
        return self._indexes[min(first + self._rank, stop - 1)]


async def _batches(frames: AsyncIterator[FrameRef]) -> AsyncIterator[list[FrameRef]]:
    batch: list[FrameRef] = []
    async for frame in frames:
        batch.append(frame)
        if len(batch) == ROWS_PER_READ:
            yield batch
            batch = []
    if batch:
        yield batch
