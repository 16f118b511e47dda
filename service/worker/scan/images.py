"""Probes objects as images by their headers, without decoding. Each page of a TIFF stack is a frame."""

import asyncio
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, islice
from typing import BinaryIO

from service.pipeline.frames import MediaUnreadable
from service.pipeline.images.chunk_exif import late_exif, late_span
from service.pipeline.images.header import TIFF_MAGICS, HeaderIncomplete
from service.pipeline.images.tiff_directory import TiffDirectory, read_directories
from service.pipeline.probe import ImageFacts, probe_image, probe_tiff_page
from service.plan.names.media_names import is_media_name
from service.plan.names.natural_sort import natural_key, trailing_number
from service.plan.render_plan import ObjectRef
from service.store.catalog.scanned import ScannedFrame, time_columns
from service.store.objects.object_store import ObjectAccess, ObjectInfo, ObjectNotFound, ObjectVersion
from service.worker.fetch.ranged_files import RangedFile
from service.worker.scan.unchanged import ObjectUnreadable, scan_unchanged
from service.worker.scan.watch import ObjectWatch

MAX_REASON_LENGTH = 500


def frame_row(info: ObjectInfo, facts: ImageFacts) -> ScannedFrame:
    return ScannedFrame(
        natural_key(info.key),
        info.key,
        trailing_number(info.key),
        info.size,
        info.etag,
        facts.format,
        facts.width,
        facts.height,
        as_utc(facts.captured_at),
        bits=facts.bit_depth,
        gray=facts.gray,
        form=facts.pixel_format,
        **time_columns(info.key),
    )


def unreadable_row(info: ObjectInfo, reason: str) -> ScannedFrame:
    return ScannedFrame(
        natural_key(info.key),
        info.key,
        trailing_number(info.key),
        info.size,
        info.etag,
        problem=clean_reason(reason),
        **time_columns(info.key),
    )


def clean_reason(reason: str) -> str:
    """A reason that a text column accepts: file contents may be quoted in it."""
    return reason.replace("\0", "")[:MAX_REASON_LENGTH]


def as_utc(moment: datetime | None) -> datetime | None:
    """A camera that records no time zone is assumed to run on UTC. A time out of the years 1 to 9999 in UTC is none."""
    try:
        return moment and moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except OverflowError:
        return None


# Size of the reads when the directories are scattered over the file.
DIRECTORY_READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class TiffPages:
    """The pages of a file, up to its end or up to `problem`. `first_offset` is that of the first directory."""

    pages: tuple[TiffDirectory, ...]
    first_offset: int
    problem: str | None

    def require_pages(self) -> "TiffPages":
        """Raises MediaUnreadable if there is no page."""
        if not self.pages:
            raise MediaUnreadable(self.problem or "the TIFF has no picture in it")
        return self

    @property
    def is_single_frame(self) -> bool:
        """Whether the file is one frame: its first page, as any viewer would show it."""
        return len(self.pages) == 1 and self.problem is None and self.pages[0].offset == self.first_offset


def read_pages(file: BinaryIO, size: int | None = None) -> TiffPages:
    """Read all directories. Thumbnails, pyramid levels and masks are left out, unless there is nothing else.

    `file` may be the beginning of one of `size` bytes.
    """
    found: list[TiffDirectory] = []
    problem = None
    try:
        found.extend(read_directories(file, size))
    except MediaUnreadable as error:
        problem = error.reason
    except (ValueError, OverflowError) as error:  # an offset that no file can have
        problem = f"its directories are invalid ({type(error).__name__})"
    pictures = tuple(page for page in found if page.is_picture) or tuple(found[:1])
    return TiffPages(pictures, found[0].offset if found else 0, problem)


def tiff_rows(info: ObjectInfo, tiff: TiffPages) -> Iterator[ScannedFrame]:
    """One row for each page, and one for the damaged page where reading ended. Pages have no frame number."""
    if tiff.is_single_frame:
        yield _page_row(info, tiff.pages[0])
        return
    for index, page in enumerate(tiff.pages):
        yield replace(_page_row(info, page), number=None, page=index, page_offset=page.offset)
    if tiff.problem:
        reason = f"{tiff.problem}: this page and those after it are lost"
        yield replace(unreadable_row(info, reason), number=None, page=len(tiff.pages))


def _page_row(info: ObjectInfo, page: TiffDirectory) -> ScannedFrame:
    try:
        return frame_row(info, probe_tiff_page(page))
    except MediaUnreadable as error:
        return unreadable_row(info, error.reason)


HEADER_BYTES = 64 * 1024
MAX_HEADER_READS, MAX_WHOLE_READS = 16, 2
# A header that is longer than what was read is read again with so many times as many bytes, up to the limit.
HEAD_GROWTH, MAX_WHOLE_BYTES = 16, 256 * 1024 * 1024

ROWS_PER_BATCH = 1000
FrameRows = Iterable[ScannedFrame]


class ImageScanner:
    """Reads image headers from one bucket with bounded concurrency."""

    def __init__(self, objects: ObjectAccess, bucket: str, on_progress: Callable[[], None], watch: ObjectWatch) -> None:
        self._objects, self._bucket, self._on_progress, self._watch = objects, bucket, on_progress, watch
        self._whole_reads = asyncio.Semaphore(MAX_WHOLE_READS)

    async def scan_page(self, page: Sequence[ObjectInfo]) -> list[FrameRows | None]:
        """The rows of each object: None if it is not an image, none if it was deleted. Raises ObjectStoreError."""
        rows: list[FrameRows | None] = [None] * len(page)
        remaining = iter(enumerate(page))

        async def scan_objects() -> None:
            for index, info in remaining:
                rows[index] = await self._scan_object(info)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(MAX_HEADER_READS):
                    group.create_task(scan_objects())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        return rows

    async def _scan_object(self, info: ObjectInfo) -> FrameRows | None:
        try:
            return await scan_unchanged(self._objects, self._bucket, info, self._probe_object)
        except ObjectNotFound:  # deleted since it was listed
            return ()
        except ObjectUnreadable as found:
            return _unreadable_rows(found.info, found.reason)

    async def _probe_object(self, info: ObjectInfo) -> FrameRows | None:
        version = ObjectVersion(ObjectRef(self._bucket, info.key), info.etag, info.size)
        try:
            # S3 refuses ranges of empty objects.
            head = await self._read_head(version, HEADER_BYTES) if info.size else b""
            self._watch.enter(info.key)
            if head.startswith(TIFF_MAGICS):
                return tiff_rows(info, await self._read_tiff_pages(version, head))
            return (frame_row(info, await self._read_facts(version, head)),)
        except MediaUnreadable as error:
            return _unreadable_rows(info, error.reason)

    async def _read_facts(self, version: ObjectVersion, head: bytes) -> ImageFacts:
        """From as much of the beginning as the header takes, and from the end if EXIF may be there."""
        size = version.size
        while True:
            try:
                facts = _probe_header(head, size)
                break
            except HeaderIncomplete:
                if len(head) >= min(size, MAX_WHOLE_BYTES):
                    raise
            head = await self._read_whole(version, HEAD_GROWTH * len(head))
        span = None if facts.has_exif else late_span(head, size)
        if span is None:
            return facts
        found = late_exif(head, await self._objects.get(version.ref, *span, version.etag))
        if found is None and size <= MAX_WHOLE_BYTES:  # parts of the image data are larger than what was read
            return _probe_header(await self._read_whole(version, size), size)
        return _probe_header(head, size, found) if found else facts

    async def _read_head(self, version: ObjectVersion, length: int) -> bytes:
        return await self._objects.get(version.ref, 0, length, version.etag)

    async def _read_whole(self, version: ObjectVersion, length: int) -> bytes:
        async with self._whole_reads:
            return await self._read_head(version, length)

    async def _read_tiff_pages(self, version: ObjectVersion, head: bytes) -> TiffPages:
        """From the header if it contains all directories, else by ranged reads. Raises MediaUnreadable."""
        tiff = read_pages(io.BytesIO(head), version.size)
        if not tiff.problem or len(head) == version.size:
            return tiff.require_pages()
        file = RangedFile(self._objects, version)
        return (await file.run_in_thread(read_pages, self._on_progress, DIRECTORY_READ_BYTES)).require_pages()


def _unreadable_rows(info: ObjectInfo, reason: str) -> FrameRows | None:
    return (unreadable_row(info, reason),) if is_media_name(info.key, "frames") else None


def batch_rows(page_rows: Iterable[FrameRows | None]) -> Iterator[Sequence[ScannedFrame]]:
    """Batches of at most ROWS_PER_BATCH rows. The rows of a stack are created as they are consumed."""
    frames = chain.from_iterable(frames for frames in page_rows if frames is not None)
    while batch := tuple(islice(frames, ROWS_PER_BATCH)):
        yield batch


def _probe_header(data: bytes, size: int, exif: bytes = b"") -> ImageFacts:
    """Probe a header. Any exception means that this frame is unreadable, so that it does not end the scan."""
    try:
        return probe_image(data, size, exif)
    except MediaUnreadable:
        raise
    except Exception as error:
        raise MediaUnreadable(f"its header is invalid ({type(error).__name__})") from error
