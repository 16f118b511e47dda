"""Reads frames ahead of the decoder, within a window of bytes. This is a hot path."""

import io
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable
from concurrent.futures import Future
from types import TracebackType
from typing import BinaryIO, Self

from service.plan.render_plan import FrameRef
from service.store.objects.object_store import ObjectTooLarge, ObjectVersion, ReadResult
from service.worker.fetch.faults import frame_faults, planned_version
from service.worker.fetch.ranged_files import SOURCE_BLOCK_BYTES, SourceVideoFile
from service.worker.fetch.readers import ByteRange, ObjectReader

MIB = 1024 * 1024
PREFETCH_BYTES, MAX_CONCURRENT_READS = 64 * MIB, 16
MAX_FRAME_BYTES = 512 * MIB
# A frame of unknown size takes this much of the window, and is read ahead only if it is not larger.
UNKNOWN_SIZE_BYTES = 4 * MIB
# Frames read ahead for each concurrent read, however small they are.
MAX_PENDING_PER_READ = 8


class FrameFetcher:
    """Reads all frames and source videos of one slot, and counts them in `stats`."""

    def __init__(self, reader: ObjectReader, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self.max_frame_bytes, self.stats = max_frame_bytes, reader.stats
        self._reader = reader

    def prefetch(
        self,
        bucket: str,
        refs: Iterable[FrameRef],
        window_bytes: int = PREFETCH_BYTES,
        concurrency: int = MAX_CONCURRENT_READS,
    ) -> "PrefetchReader":
        """A reader that fetches the next frames of `refs` ahead: at most `window_bytes`, or one larger frame."""
        return PrefetchReader(self, bucket, refs, window_bytes, concurrency)

    def source_opener(self, bucket: str) -> "SourceOpener":
        return SourceOpener(self, bucket)

    def submit(self, version: ObjectVersion, span: ByteRange | None, limit: int) -> "Future[ReadResult]":
        return self._reader.submit(version, span, limit)

    def fetch(self, bucket: str, ref: FrameRef) -> bytes:
        """Read the frame now.

        Raises FrameMissing, FrameChanged, FrameUnreadable, or ObjectStoreError if the store is unavailable.
        """
        with frame_faults(ref.key):
            if ref.size > self.max_frame_bytes:
                raise ObjectTooLarge(ref.size, self.max_frame_bytes)
            return self.submit(planned_version(bucket, ref), None, self.max_frame_bytes).result().data

    def close(self) -> None:
        self._reader.close()


class SourceOpener:
    """The pipeline's SourceReader: opens source videos as seekable files."""

    def __init__(self, fetcher: FrameFetcher, bucket: str) -> None:
        self._fetcher, self._bucket = fetcher, bucket

    def open(self, ref: FrameRef) -> BinaryIO:
        """Raises FrameMissing if there is no object, FrameChanged if it is another one than the scan found, and
        ObjectStoreError if the store is unavailable. Reads do, too."""
        version = planned_version(self._bucket, ref)
        with frame_faults(ref.key):
            first = self._fetcher.submit(version, (0, SOURCE_BLOCK_BYTES), SOURCE_BLOCK_BYTES).result()
        return io.BufferedReader(SourceVideoFile(self._fetcher, version, first), 64 * 1024)


class PrefetchReader:
    """The pipeline's FrameReader: fetches frames in order within a window of bytes, any other frame on demand."""

    def __init__(
        self, fetcher: FrameFetcher, bucket: str, refs: Iterable[FrameRef], window_bytes: int, concurrency: int
    ) -> None:
        self._fetcher, self._bucket = fetcher, bucket
        self._window_bytes, self._concurrency = window_bytes, concurrency
        # Pages of a stack are not read whole: their ranges are read as they are decoded.
        whole = (ref for ref in refs if ref.key is not None and ref.page is None)
        self._ahead = deque(ref for ref in whole if ref.size <= fetcher.max_frame_bytes)
        self._pending: OrderedDict[FrameRef, Future[ReadResult]] = OrderedDict()
        self._pending_bytes = self._running = 0
        self._lock, self._filling = threading.RLock(), False
        self._fill()

    def read(self, ref: FrameRef) -> bytes:
        """Raises FrameMissing, FrameChanged, FrameUnreadable, or ObjectStoreError if the store is unavailable."""
        future = self._take_pending(ref)
        if future is None:
            return self._fetcher.fetch(self._bucket, ref)
        try:
            with frame_faults(ref.key):
                return self._result_or_alone(ref, future)
        finally:
            with self._lock:
                self._pending_bytes -= _window_share(ref)
                self._fill()

    def _result_or_alone(self, ref: FrameRef, future: "Future[ReadResult]") -> bytes:
        try:
            return future.result().data
        except ObjectTooLarge:  # of unknown size, and more than its share of the window
            return self._fetcher.fetch(self._bucket, ref)

    def _take_pending(self, ref: FrameRef) -> "Future[ReadResult] | None":
        """The pending read of this frame. Frames before it are not needed any more: their reads are cancelled."""
        with self._lock:
            while ref in self._pending:
                first, future = self._pending.popitem(last=False)
                if first == ref:
                    return future
                future.cancel()
                self._pending_bytes -= _window_share(first)
        return None

    def _fill(self) -> None:
        with self._lock:
            if self._filling:
                return
            self._filling = True
            try:
                while self._ahead and self._has_room(_window_share(self._ahead[0])):
                    self._start_read(self._ahead.popleft())
            finally:
                self._filling = False

    def _has_room(self, share: int) -> bool:
        fits = self._pending_bytes + share <= self._window_bytes
        fits = fits and len(self._pending) < MAX_PENDING_PER_READ * self._concurrency
        return self._running < self._concurrency and (fits or self._pending_bytes == 0)

    def _start_read(self, ref: FrameRef) -> None:
        if ref in self._pending:
            return
        self._pending_bytes += _window_share(ref)
        self._running += 1
        limit = min(_window_share(ref), self._fetcher.max_frame_bytes)
        future = self._fetcher.submit(planned_version(self._bucket, ref), None, limit)
        self._pending[ref] = future
        future.add_done_callback(self._on_read_done)

    def _on_read_done(self, future: "Future[ReadResult]") -> None:
        with self._lock:
            self._running -= 1
            if not future.cancelled():
                self._fill()

    def close(self) -> None:
        """Cancel the pending reads. Frames can still be read one by one."""
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


def _window_share(ref: FrameRef) -> int:
    """Bytes that a frame takes of the window. A larger frame is not read ahead."""
    return ref.size or UNKNOWN_SIZE_BYTES
