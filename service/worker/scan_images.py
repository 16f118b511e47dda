"""What each listed object is as a frame, from its first bytes; many at once, nothing decoded."""

import asyncio
from collections.abc import Sequence
from datetime import UTC
from pathlib import PurePosixPath

from service.pipeline.frames import Unreadable
from service.pipeline.image_header import NeedMore
from service.pipeline.probe import ImageFacts, probe_image
from service.plan.natural_sort import natural_key, trailing_number
from service.plan.render_plan import ObjectRef
from service.store.frame_scan import ScannedFrame
from service.store.objects import ObjectInfo, ObjectMissing, ObjectStore

HEAD = 64 * 1024
CONCURRENCY, WHOLE_CONCURRENCY = 16, 2
WHOLE_LIMIT = 256 * 1024 * 1024
"""Objects up to this size are read whole when their header is not at their beginning (TIFF)."""

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


class ImageProbe:
    """Reads heads from one bucket with bounded concurrency."""

    def __init__(self, objects: ObjectStore, bucket: str) -> None:
        self._objects, self._bucket = objects, bucket
        self._wholes = asyncio.Semaphore(WHOLE_CONCURRENCY)

    async def all(self, page: Sequence[ObjectInfo]) -> list[ScannedFrame | None]:
        """One answer for each object, None for those that are no frames. Raises ObjectStoreError."""
        answers: list[ScannedFrame | None] = [None] * len(page)
        waiting = iter(enumerate(page))

        async def some() -> None:
            for place, info in waiting:
                answers[place] = await self._frame(info)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(CONCURRENCY):
                    group.create_task(some())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        return answers

    async def _frame(self, info: ObjectInfo) -> ScannedFrame | None:
        base = info.key.rpartition("/")[2]
        if not base or base.startswith("."):  # a folder's marker, or a hidden file such as AppleDouble's ._img.jpg
            return None
        try:
            facts = await self._facts(ObjectRef(self._bucket, info.key), info.size)
        except ObjectMissing:  # deleted since it was listed
            return None
        except Unreadable as error:
            return _unreadable(info, error.reason) if claims_to_be_an_image(base) else None
        return _readable(info, facts)

    async def _facts(self, ref: ObjectRef, size: int) -> ImageFacts:
        head = await self._objects.get(ref, 0, HEAD) if size else b""  # S3 refuses any range of an empty object
        try:
            return _probed(head, size)
        except NeedMore:
            if size > WHOLE_LIMIT:
                raise
        async with self._wholes:
            return _probed(await self._objects.get(ref), size)


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


def _readable(info: ObjectInfo, facts: ImageFacts) -> ScannedFrame:
    captured = facts.captured_at
    return ScannedFrame(
        natural_key(info.key),
        info.key,
        trailing_number(info.key),
        info.size,
        info.etag,
        facts.format,
        facts.width,
        facts.height,
        captured.replace(tzinfo=UTC) if captured and captured.tzinfo is None else captured,
    )


def _unreadable(info: ObjectInfo, reason: str) -> ScannedFrame:
    problem = reason.replace("\0", "")[:500]
    return ScannedFrame(
        natural_key(info.key), info.key, trailing_number(info.key), info.size, info.etag, problem=problem
    )
