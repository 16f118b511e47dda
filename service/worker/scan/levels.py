"""Samples the value range of a dataset: decodes frames spread over the whole sequence."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from service.pipeline.frames import MediaUnreadable, media_faults
from service.pipeline.images.decoder import ImageDecoder
from service.pipeline.images.header import DecodeOptions
from service.pipeline.images.tiff_stack import TiffStack
from service.pipeline.memory_limit import may_have_room_when_new
from service.pipeline.picture import Samples
from service.pipeline.tone.levels import LevelSampler
from service.plan.render_plan import ObjectRef
from service.store.objects.object_store import (
    ObjectAccess,
    ObjectChanged,
    ObjectDamaged,
    ObjectNotFound,
    ObjectVersion,
)
from service.worker.fetch.ranged_files import RangedFile
from service.worker.scan.watch import ObjectWatch

# Objects above this size, and frames above MAX_PIXELS, are not sampled.
MAX_OBJECT_BYTES = 256 * 1024 * 1024
MAX_PIXELS = 100_000_000


class LevelScanner:
    """Decodes one frame after the other on a thread. Memory: one frame."""

    def __init__(self, objects: ObjectAccess, bucket: str, on_progress: Callable[[], None], watch: ObjectWatch) -> None:
        self._objects, self._bucket, self._on_progress, self._watch = objects, bucket, on_progress, watch
        self._decoder = ImageDecoder(DecodeOptions(MAX_PIXELS))

    async def scan(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
        """The value of the `levels` column; None if no frame has samples. Raises ObjectStoreError."""
        sampler = LevelSampler()
        for row in rows:
            samples = await self._decode_frame(row)
            if samples is not None:
                await asyncio.to_thread(sampler.add, samples, row["bits"])
            self._on_progress()
        levels = sampler.levels()
        return levels.to_json() if levels else None

    async def _decode_frame(self, row: Mapping[str, Any]) -> Samples | None:
        version = ObjectVersion(ObjectRef(self._bucket, row["key"]), row["etag"], row["size"])
        try:
            with media_faults("decoded"):
                self._watch.enter(row["key"])
                if row["page"] is not None:
                    return await self._decode_page(version, row["page_offset"])
                if row["size"] > MAX_OBJECT_BYTES:
                    return None
                data = await self._objects.get(version.ref, etag=version.etag)
                return await asyncio.to_thread(self._decoder.decode_samples, data)
        except (MediaUnreadable, ObjectNotFound, ObjectChanged, ObjectDamaged):  # the render reports each such frame
            return None
        except MemoryError:
            if may_have_room_when_new():
                raise
            return None

    async def _decode_page(self, version: ObjectVersion, page_offset: int) -> Samples:
        file = RangedFile(self._objects, version)

        def read(stream: Any) -> Samples:
            page, _ = TiffStack(stream).decode_page(page_offset, DecodeOptions(MAX_PIXELS))
            return page.samples

        return await file.run_in_thread(read, self._on_progress)
