"""The levels of a dataset, from decoded frames spread over the sequence: one window serves all of it."""

import asyncio
from collections.abc import Callable
from typing import Any

from sqlalchemy import RowMapping

from service.pipeline.decode import ImageDecoder
from service.pipeline.frames import Unreadable
from service.pipeline.levels import LevelSampler
from service.pipeline.samples import Samples
from service.pipeline.stack import Stack
from service.plan.formats import BLACK
from service.plan.render_plan import ObjectRef
from service.store.objects import ObjectMissing, ObjectStore
from service.worker.ranged_file import RangedFile

FRAMES = 64
LARGEST = 256 * 1024 * 1024
"""Objects above this size, and pictures above MAX_PIXELS, are not sampled."""

MAX_PIXELS = 100_000_000


class LevelScan:
    """Decodes one frame after the other, each on a thread; memory is that of one frame."""

    def __init__(self, objects: ObjectStore, bucket: str, tick: Callable[[], None]) -> None:
        self._objects, self._bucket, self._tick = objects, bucket, tick
        self._decoder = ImageDecoder(MAX_PIXELS)

    async def levels(self, rows: list[RowMapping]) -> dict[str, Any] | None:
        """Facts for the `levels` column; None when no frame has any. Raises ObjectStoreError."""
        sampler = LevelSampler()
        for row in rows:
            samples = await self._samples(row)
            if samples is not None:
                await asyncio.to_thread(sampler.add, samples, row["bits"])
            self._tick()
        found = sampler.levels()
        return found.to_json() if found else None

    async def _samples(self, row: RowMapping) -> Samples | None:
        ref = ObjectRef(self._bucket, row["key"])
        try:
            if row["page"] is not None:
                return await self._page(ref, row)
            if row["size"] > LARGEST:
                return None
            return await asyncio.to_thread(self._decoder.samples, await self._objects.get(ref))
        except (Unreadable, ObjectMissing):  # the render will say so of each such frame
            return None

    async def _page(self, ref: ObjectRef, row: RowMapping) -> Samples:
        file = RangedFile(self._objects, ref, row["size"])

        def read(stream: Any) -> Samples:
            page, _ = Stack(stream).page(row["page_offset"], (MAX_PIXELS, BLACK))
            return page.samples

        return await file.on_thread(read, self._tick)
