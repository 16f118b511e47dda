"""What each listed object is as a frame, from its first bytes; many at once, nothing decoded."""

import asyncio
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import PurePosixPath

from service.pipeline.frames import MediaUnreadable
from service.pipeline.image_header import TIFF_MAGICS, HeaderIncomplete
from service.pipeline.probe import ImageFacts, probe_image
from service.plan.render_plan import ObjectRef
from service.store.frame_scan import ScannedFrame
from service.store.objects import ObjectInfo, ObjectNotFound, ObjectStore
from service.worker.ranged_file import RangedFile
from service.worker.scan_rows import frame_row, unreadable_row
from service.worker.scan_tiffs import DIRECTORY_READ_BYTES, TiffPages, read_pages, tiff_rows

HEADER_BYTES = 64 * 1024
MAX_HEADER_READS, MAX_WHOLE_READS = 16, 2
MAX_WHOLE_BYTES = 256 * 1024 * 1024
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


ROWS_PER_BATCH = 1000
FrameRows = Iterable[ScannedFrame]


class ImageScanner:
    """Reads heads from one bucket with bounded concurrency."""

    def __init__(self, objects: ObjectStore, bucket: str, on_progress: Callable[[], None]) -> None:
        self._objects, self._bucket, self._tick = objects, bucket, on_progress
        self._wholes = asyncio.Semaphore(MAX_WHOLE_READS)

    async def scan_page(self, page: Sequence[ObjectInfo]) -> list[FrameRows | None]:
        """The frames of each object, None for those that are no images. Raises ObjectStoreError."""
        answers: list[FrameRows | None] = [None] * len(page)
        waiting = iter(enumerate(page))

        async def some() -> None:
            for place, info in waiting:
                answers[place] = await self._scan_object(info)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(MAX_HEADER_READS):
                    group.create_task(some())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        return answers

    async def _scan_object(self, info: ObjectInfo) -> FrameRows | None:
        base = info.key.rpartition("/")[2]
        if not base or base.startswith("."):  # a folder's marker, or a hidden file such as AppleDouble's ._img.jpg
            return None
        ref = ObjectRef(self._bucket, info.key)
        try:
            head = (
                await self._objects.get(ref, 0, HEADER_BYTES) if info.size else b""
            )  # S3 refuses ranges of empty objects
            if head.startswith(TIFF_MAGICS):
                return tiff_rows(info, await self._read_tiff_pages(ref, head, info.size))
            return (frame_row(info, await self._read_facts(ref, head, info.size)),)
        except ObjectNotFound:  # deleted since it was listed
            return None
        except MediaUnreadable as error:
            return (unreadable_row(info, error.reason),) if has_image_suffix(base) else None

    async def _read_facts(self, ref: ObjectRef, head: bytes, size: int) -> ImageFacts:
        try:
            return _probe_header(head, size)
        except HeaderIncomplete:
            if size > MAX_WHOLE_BYTES:
                raise
        async with self._wholes:
            return _probe_header(await self._objects.get(ref), size)

    async def _read_tiff_pages(self, ref: ObjectRef, head: bytes, size: int) -> TiffPages:
        """From the head when it holds all directories, else by ranged reads. Raises Unreadable."""
        found = read_pages(io.BytesIO(head))
        if not found.problem or len(head) == size:
            return found.require_pages()
        file = RangedFile(self._objects, ref, size)
        return (await file.run_in_thread(read_pages, self._tick, DIRECTORY_READ_BYTES)).require_pages()


def batch_rows(page_rows: Iterable[FrameRows | None]) -> Iterator[Sequence[ScannedFrame]]:
    """A stack's frames are made as they are written."""
    frames = chain.from_iterable(frames for frames in page_rows if frames is not None)
    while batch := tuple(islice(frames, ROWS_PER_BATCH)):
        yield batch


def _probe_header(data: bytes, size: int) -> ImageFacts:
    """One hostile header costs one frame, not the scan."""
    try:
        return probe_image(data, size)
    except MediaUnreadable:
        raise
    except Exception as error:
        raise MediaUnreadable(f"its header makes no sense ({type(error).__name__})") from error


def has_image_suffix(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
