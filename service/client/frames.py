"""The frames of a dataset: their facts, their pictures, and their samples as arrays."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from service.client.entity import Entity
from service.client.errors import NotFound
from service.client.fields import FrameFields
from service.client.requests import Request, require_object

if TYPE_CHECKING:
    import numpy as np

    from service.client.transport import Transport

PAGE = 200
# How many arrays are fetched ahead of the one that is used.
AHEAD = 4
# One answer has at most so many bytes of samples; larger pictures are fetched in strips.
MOST_BYTES, MOST_BYTES_A_SAMPLE = 64 << 20, 8


@dataclass(slots=True)
class _ReadAhead:
    """Arrays that are fetched while the one before is worked on, once somebody has asked for one."""

    is_wanted: bool = False
    tasks: dict[int, asyncio.Task[Any]] = field(default_factory=dict)

    def begin(self, frames: Sequence[AsyncFrame]) -> None:
        for frame in frames:
            if self.is_wanted and frame.index not in self.tasks and not frame.problem:
                self.tasks[frame.index] = task = asyncio.ensure_future(frame.fetch_array())
                task.add_done_callback(_take_note)

    def drop(self, frame: AsyncFrame) -> None:
        """The iteration has gone on: an array that nobody has taken is not kept."""
        if (task := self.tasks.pop(frame.index, None)) is not None:
            task.cancel()

    def cancel(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        self.tasks.clear()


def _take_note(task: asyncio.Task[Any]) -> None:
    """Of an error that nobody waits for: asyncio would log it."""
    if not task.cancelled():
        task.exception()


class AsyncFrame(Entity, FrameFields):
    """One frame. `array` is what the camera measured."""

    _key = "index"

    def __init__(
        self, transport: Transport, fields: dict[str, Any], dataset: str, ahead: _ReadAhead | None = None
    ) -> None:
        super().__init__(transport, fields)
        self._dataset, self._ahead = dataset, ahead

    @property
    def captured(self) -> datetime | None:
        """When it was captured, as far as that is known."""
        return datetime.fromisoformat(self.captured_at) if self.captured_at else None

    async def array(self) -> np.ndarray[Any, np.dtype[Any]]:
        """(height, width) or (height, width, 3), upright, in the file's own type: 16 bits stay 16 bits.

        Raises Invalid with the reason for a frame that cannot be read, and for frames of videos: see `image`.
        """
        if self._ahead is None:
            return await self.fetch_array()
        self._ahead.is_wanted = True
        begun = self._ahead.tasks.pop(self.index, None)
        return await (begun or self.fetch_array())

    async def fetch_array(self) -> np.ndarray[Any, np.dtype[Any]]:
        import numpy as np

        strips = [np.load(io.BytesIO(await self._window(*rows)), allow_pickle=False) for rows in self._strips()]
        return strips[0] if len(strips) == 1 else np.concatenate(strips)

    def _strips(self) -> list[tuple[int, int | None]]:
        """The rows (first, how many) of each request; None: all that there are."""
        width, height = self.width or 0, self.height or 0
        rows = max(1, MOST_BYTES // max(1, width * 3 * MOST_BYTES_A_SAMPLE))
        if not width or rows >= height:
            return [(0, None)]
        return [(top, min(rows, height - top)) for top in range(0, height, rows)]

    async def _window(self, top: int, rows: int | None) -> bytes:
        query = {"y": top, "height": rows} if rows is not None else None
        return (await self._transport.get(f"{self._path}/array", query)).content

    async def samples(self, x: int = 0, y: int = 0) -> dict[str, Any]:
        """The measured values of the 64 x 64 pixels among which (x, y) is, with their type and channels."""
        return require_object(
            await self._transport.call("frame_samples", dataset_id=self._dataset, index=self.index, x=x, y=y)
        )

    async def image(self, width: int | None = None) -> bytes:
        """The file as it is stored; with `width`, a JPEG of at most that width as it would be shown."""
        return (await self._transport.get(f"{self._path}/image", {"width": width})).content

    async def preview(self, **options: Any) -> bytes:
        """The PNG that a render with these options would show in place of this frame."""
        return (await self._transport.send(Request("POST", f"{self._path}/preview", body=options))).content

    @property
    def _path(self) -> str:
        return f"/api/datasets/{self._dataset}/frames/{self.index}"


class AsyncFrames:
    """Some consecutive frames of a dataset, which are looked up as they are iterated over."""

    def __init__(self, transport: Transport, dataset: str, indexes: range) -> None:
        self._transport, self._dataset, self.indexes = transport, dataset, indexes

    def __len__(self) -> int:
        return len(self.indexes)

    def part(self, places: slice) -> AsyncFrames:
        """Some of them, as a slice of a list."""
        return AsyncFrames(self._transport, self._dataset, self.indexes[places])

    async def frame(self, place: int) -> AsyncFrame:
        """The frame at this place among them; -1 is the last. Raises IndexError, NotFound."""
        index = self.indexes[place]
        async for row in self._rows(index, index):
            return AsyncFrame(self._transport, row, self._dataset)
        raise NotFound(404, {"detail": f"the dataset has no frame {index}"})

    async def each(self) -> AsyncIterator[AsyncFrame]:
        """The frames in order. Once the array of one was read, those of the next are fetched ahead."""
        ahead, waiting = _ReadAhead(), list[AsyncFrame]()
        try:
            async for frame in self._look_up(ahead):
                waiting.append(frame)
                if len(waiting) > AHEAD:
                    ahead.begin(waiting)
                    yield waiting[0]
                    ahead.drop(waiting.pop(0))
            while waiting:
                ahead.begin(waiting)
                yield waiting[0]
                ahead.drop(waiting.pop(0))
        finally:
            ahead.cancel()

    async def arrays(self) -> AsyncIterator[np.ndarray[Any, np.dtype[Any]]]:
        """The arrays in order, fetched ahead. Raises Invalid at a frame that cannot be read."""
        async for frame in self.each():
            yield await frame.array()

    async def _look_up(self, ahead: _ReadAhead) -> AsyncIterator[AsyncFrame]:
        for first in range(0, len(self.indexes), PAGE):
            part = self.indexes[first : first + PAGE]
            rows = {row["index"]: row async for row in self._rows(min(part[0], part[-1]), max(part[0], part[-1]))}
            for index in part:
                if index in rows:
                    yield AsyncFrame(self._transport, rows[index], self._dataset, ahead)

    async def _rows(self, first: int, last: int) -> AsyncIterator[dict[str, Any]]:
        query = {"start": first, "limit": min(PAGE, last - first + 1)}
        async for row in self._transport.rows(f"/api/datasets/{self._dataset}/frames", query):
            if row["index"] > last:
                return
            yield row
