"""The levels of a dataset, from decoded frames spread over the sequence: one window serves all of it."""

import asyncio
from collections.abc import Callable
from typing import Any

from sqlalchemy import RowMapping

from service.pipeline.decode import ImageDecoder
from service.pipeline.frames import MediaUnreadable
from service.pipeline.levels import LevelSampler
from service.pipeline.samples import Samples
from service.pipeline.stack import TiffStack
from service.plan.formats import BLACK
from service.plan.render_plan import ObjectRef
from service.store.objects import ObjectNotFound, ObjectStore
from service.worker.ranged_file import RangedFile

MAX_SAMPLED_FRAMES = 64
MAX_OBJECT_BYTES = 256 * 1024 * 1024
"""Objects above this size, and pictures above MAX_PIXELS, are not sampled."""

MAX_PIXELS = 100_000_000


class LevelScanner:
    """Decodes one frame after the other, each on a thread; memory is that of one frame."""

    def __init__(self, objects: ObjectStore, bucket: str, on_progress: Callable[[], None]) -> None:
        self._objects, self._bucket, self._tick = objects, bucket, on_progress
        self._decoder = ImageDecoder(MAX_PIXELS)

    async def scan(self, rows: list[RowMapping]) -> dict[str, Any] | None:
        """Facts for the `levels` column; None when no frame has any. Raises ObjectStoreError."""
        sampler = LevelSampler()
        for row in rows:
            samples = await self._decode_frame(row)
            if samples is not None:
                await asyncio.to_thread(sampler.add, samples, row["bits"])
            self._tick()
        found = sampler.levels()
        return found.to_json() if found else None

    async def _decode_frame(self, row: RowMapping) -> Samples | None:
        ref = ObjectRef(self._bucket, row["key"])
        try:
            if row["page"] is not None:
                return await self._decode_page(ref, row)
            if row["size"] > MAX_OBJECT_BYTES:
                return None
            return await asyncio.to_thread(self._decoder.decode_samples, await self._objects.get(ref))
        except (MediaUnreadable, ObjectNotFound):  # the render will say so of each such frame
            return None

    async def _decode_page(self, ref: ObjectRef, row: RowMapping) -> Samples:
        file = RangedFile(self._objects, ref, row["size"])

        def read(stream: Any) -> Samples:
            page, _ = TiffStack(stream).decode_page(row["page_offset"], (MAX_PIXELS, BLACK))
            return page.samples

        return await file.run_in_thread(read, self._tick)
