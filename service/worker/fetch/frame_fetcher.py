"""Reads frames ahead of the decoder, within a window of bytes. A hot path."""

import builtins
import io
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import structlog

from service.pipeline.frames import FrameMissing, FrameUnreadable
from service.plan.render_plan import FrameRef, ObjectRef
from service.store.objects.files import FileObjectStore
from service.store.objects.object_store import ObjectNotFound, ObjectTooLarge, ReadResult
from service.store.settings import ObjectSettings
from service.worker.fetch.ranged_files import SOURCE_BLOCK_BYTES, SourceVideoFile
from service.worker.fetch.readers import ByteRange, FetchStats, FileReader, ObjectReader, SignedUrlReader

MIB = 1024 * 1024
PREFETCH_BYTES, MAX_CONCURRENT_READS = 64 * MIB, 16
MAX_FRAME_BYTES = 512 * MIB
# What a frame of unknown size counts in the window, and the most of it that is read ahead.
UNKNOWN_SIZE_BYTES = 4 * MIB
# Frames read ahead for each read under way, however small they are.
MAX_PENDING_PER_READ = 8

log = structlog.get_logger("worker")


class FrameFetcher:
    """All that one slot reads of frames and source videos, and the tally of it. Refuses frames above `max_object`."""

    def __init__(self, settings: ObjectSettings, home: Path, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self.max_frame_bytes, self._tally = max_frame_bytes, FetchStats()
        self._reads = self._open_reader(settings, home)

    def _open_reader(self, settings: ObjectSettings, home: Path) -> ObjectReader:
        if settings.endpoint is None:
            return FileReader(FileObjectStore(home / "objects", settings.bucket), self._tally)
        from service.store.objects.s3_http import SignedReader

        return SignedUrlReader(SignedReader(settings), self._tally)

    @property
    def objects(self) -> int:
        return self._tally.objects

    @property
    def bytes(self) -> int:
        return self._tally.bytes

    @property
    def seconds(self) -> float:
        return self._tally.seconds

    def prefetch(
        self,
        bucket: str,
        refs: Iterable[FrameRef],
        window_bytes: int = PREFETCH_BYTES,
        concurrency: int = MAX_CONCURRENT_READS,
    ) -> "PrefetchReader":
        """A reader that has the next frames of `refs` under way: `window_bytes` of them at most, or one larger one."""
        return PrefetchReader(self, bucket, refs, (window_bytes, concurrency))

    def source_opener(self, bucket: str) -> "SourceOpener":
        return SourceOpener(self, bucket)

    def submit(self, ref: ObjectRef, span: ByteRange | None, limit: int) -> "Future[ReadResult]":
        return self._reads.submit(ref, span, limit)

    def fetch(self, bucket: str, ref: FrameRef) -> builtins.bytes:
        """The frame, now. Raises FrameMissing, FrameUnreadable; ObjectStoreError when the store is away."""
        if ref.key is None:
            raise FrameMissing("the numbering has a hole here")
        try:
            if ref.size > self.max_frame_bytes:
                raise ObjectTooLarge(ref.size, self.max_frame_bytes)
            return self.submit(ObjectRef(bucket, ref.key), None, self.max_frame_bytes).result().data
        except ObjectNotFound as error:
            raise FrameMissing from error
        except ObjectTooLarge as error:
            raise FrameUnreadable(str(error)) from error

    def open_source(self, bucket: str, ref: FrameRef) -> BinaryIO:
        """The source video as a seekable file. Raises FrameMissing; its reads raise ObjectStoreError."""
        if ref.key is None:
            raise FrameMissing("the source has no object")
        where = ObjectRef(bucket, ref.key)
        try:
            first = self.submit(where, (0, SOURCE_BLOCK_BYTES), SOURCE_BLOCK_BYTES).result()
        except ObjectNotFound as error:
            raise FrameMissing from error
        return io.BufferedReader(SourceVideoFile(self, where, first), 64 * 1024)

    def close(self) -> None:
        self._reads.close()


class PrefetchReader:
    """The pipeline's FrameReader: frames in order from the window, any other frame on demand."""

    def __init__(self, fetcher: FrameFetcher, bucket: str, refs: Iterable[FrameRef], bounds: tuple[int, int]) -> None:
        self._fetcher, self._bucket, (self._window, self._concurrency) = fetcher, bucket, bounds
        self._ahead = deque(ref for ref in refs if _is_read_whole(ref) and ref.size <= fetcher.max_frame_bytes)
        self._pending: OrderedDict[FrameRef, Future[ReadResult]] = OrderedDict()
        self._held = self._running = 0
        self._lock, self._filling = threading.RLock(), False
        self._fill()

    def read(self, ref: FrameRef) -> bytes:
        """Raises FrameMissing, FrameUnreadable; ObjectStoreError when the store is away."""
        future = self._take_pending(ref)
        if future is None:
            return self._warn_if_changed(ref, self._fetcher.fetch(self._bucket, ref))
        try:
            return self._warn_if_changed(ref, future.result().data)
        except ObjectNotFound as error:
            raise FrameMissing from error
        except ObjectTooLarge:  # than planned, so not read ahead: now it is the only one
            return self._warn_if_changed(ref, self._fetcher.fetch(self._bucket, ref))
        finally:
            self._release(ref)

    def _take_pending(self, ref: FrameRef) -> "Future[ReadResult] | None":
        """The read under way of this frame; frames before it are wanted no more."""
        with self._lock:
            while ref in self._pending:
                first, future = self._pending.popitem(last=False)
                if first == ref:
                    return future
                future.cancel()
                self._held -= _window_bytes(first)
        return None

    def _warn_if_changed(self, ref: FrameRef, data: bytes) -> bytes:
        if ref.size not in (0, len(data)):
            log.warning("frame changed since the scan", index=ref.index, key=ref.key, planned=ref.size, found=len(data))
        return data

    def _release(self, ref: FrameRef) -> None:
        with self._lock:
            self._held -= _window_bytes(ref)
            self._fill()

    def _fill(self) -> None:
        with self._lock:
            if self._filling:
                return
            self._filling = True
            try:
                while self._ahead and self._has_room(_window_bytes(self._ahead[0])):
                    self._start_read(self._ahead.popleft())
            finally:
                self._filling = False

    def _has_room(self, charge: int) -> bool:
        within = self._held + charge <= self._window and len(self._pending) < MAX_PENDING_PER_READ * self._concurrency
        return self._running < self._concurrency and (within or self._held == 0)

    def _start_read(self, ref: FrameRef) -> None:
        if ref in self._pending or ref.key is None:
            return
        self._held += _window_bytes(ref)
        self._running += 1
        limit = min(_window_bytes(ref), self._fetcher.max_frame_bytes)
        future = self._fetcher.submit(ObjectRef(self._bucket, ref.key), None, limit)
        self._pending[ref] = future
        future.add_done_callback(self._on_read_done)

    def _on_read_done(self, future: "Future[ReadResult]") -> None:
        with self._lock:
            self._running -= 1
            if not future.cancelled():
                self._fill()

    def close(self) -> None:
        """What is under way is cancelled; frames can still be read one by one."""
        with self._lock:
            self._ahead.clear()
            pending = [*self._pending.values()]
            self._pending.clear()
        for future in pending:
            future.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _is_read_whole(ref: FrameRef) -> bool:
    """Pages of a stack are read by ranges, as they are decoded."""
    return ref.key is not None and ref.page is None


def _window_bytes(ref: FrameRef) -> int:
    """Bytes that a frame takes of the window; more than that is never read ahead."""
    return ref.size or UNKNOWN_SIZE_BYTES


class SourceOpener:
    """The pipeline's SourceReader: source videos as seekable files."""

    def __init__(self, fetcher: FrameFetcher, bucket: str) -> None:
        self._fetcher, self._bucket = fetcher, bucket

    def open(self, ref: FrameRef) -> BinaryIO:
        """Raises FrameMissing when there is no object; ObjectStoreError, also in its reads, when the store is away."""
        return self._fetcher.open_source(self._bucket, ref)
