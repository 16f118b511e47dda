"""What each listed object is as a frame, from its first bytes; many at once, nothing decoded."""

import asyncio
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import PurePosixPath

from service.pipeline.frames import Unreadable
from service.pipeline.image_header import TIFF_MAGICS, NeedMore
from service.pipeline.probe import ImageFacts, probe_image
from service.plan.render_plan import ObjectRef
from service.store.frame_scan import ScannedFrame
from service.store.objects import ObjectInfo, ObjectMissing, ObjectStore
from service.worker.ranged_file import RangedFile
from service.worker.scan_rows import readable, unreadable
from service.worker.scan_tiffs import DIRECTORY_BLOCK, Chain, frames_of, read_chain

HEAD = 64 * 1024
CONCURRENCY, WHOLE_CONCURRENCY = 16, 2
WHOLE_LIMIT = 256 * 1024 * 1024
"""Objects up to this size are read whole when their header goes on past HEAD."""

IMAGE_SUFFIXES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".tif",
        ".tiff",
        ".bmp",
        ".gif",
        ".webp",
        ".heic",
        ".heif",
        ".avif",
        ".jp2",
        ".dng",
        ".raw",
        ".exr",
        ".pgm",
        ".ppm",
    )
)
"""Names that claim to be images: such an object is a frame even when it cannot be read. Others must prove it."""


BATCH = 1000
Found = Iterable[ScannedFrame]


class ImageProbe:
    """Reads heads from one bucket with bounded concurrency."""

    def __init__(self, objects: ObjectStore, bucket: str, tick: Callable[[], None]) -> None:
        self._objects, self._bucket, self._tick = objects, bucket, tick
        self._wholes = asyncio.Semaphore(WHOLE_CONCURRENCY)

    async def all(self, page: Sequence[ObjectInfo]) -> list[Found | None]:
        """The frames of each object, None for those that are no images. Raises ObjectStoreError."""
        answers: list[Found | None] = [None] * len(page)
        waiting = iter(enumerate(page))

        async def some() -> None:
            for place, info in waiting:
                answers[place] = await self._frames(info)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(CONCURRENCY):
                    group.create_task(some())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        return answers

    async def _frames(self, info: ObjectInfo) -> Found | None:
        base = info.key.rpartition("/")[2]
        if not base or base.startswith("."):  # a folder's marker, or a hidden file such as AppleDouble's ._img.jpg
            return None
        ref = ObjectRef(self._bucket, info.key)
        try:
            head = await self._objects.get(ref, 0, HEAD) if info.size else b""  # S3 refuses ranges of empty objects
            if head.startswith(TIFF_MAGICS):
                return frames_of(info, await self._chain(ref, head, info.size))
            return (readable(info, await self._facts(ref, head, info.size)),)
        except ObjectMissing:  # deleted since it was listed
            return None
        except Unreadable as error:
            return (unreadable(info, error.reason),) if claims_to_be_an_image(base) else None

    async def _facts(self, ref: ObjectRef, head: bytes, size: int) -> ImageFacts:
        try:
            return _probed(head, size)
        except NeedMore:
            if size > WHOLE_LIMIT:
                raise
        async with self._wholes:
            return _probed(await self._objects.get(ref), size)

    async def _chain(self, ref: ObjectRef, head: bytes, size: int) -> Chain:
        """From the head when it holds all directories, else by ranged reads. Raises Unreadable."""
        found = read_chain(io.BytesIO(head))
        if not found.problem or len(head) == size:
            return found.checked()
        file = RangedFile(self._objects, ref, size)
        return (await file.on_thread(read_chain, self._tick, DIRECTORY_BLOCK)).checked()


def batches(found: Iterable[Found | None]) -> Iterator[Sequence[ScannedFrame]]:
    """A stack's frames are made as they are written."""
    frames = chain.from_iterable(frames for frames in found if frames is not None)
    while batch := tuple(islice(frames, BATCH)):
        yield batch


def _probed(data: bytes, size: int) -> ImageFacts:
    """One hostile header costs one frame, not the scan."""
    try:
        return probe_image(data, size)
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(f"its header makes no sense ({type(error).__name__})") from error


def claims_to_be_an_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
