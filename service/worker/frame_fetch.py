"""The slot's frame reader: objects are read ahead of the decoder, within a window of bytes. A hot path.

Measured on the reference machine for a 210 KB frame: aioboto3's get_object costs 1.5 ms of CPU, a URL signed by
botocore and read with aiohttp well under 1 ms; so frames take the second way and everything else the first.
"""

import asyncio
import io
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Coroutine, Iterable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, TypeVar

from service.pipeline.frames import FrameMissing, FrameUnreadable
from service.plan.render_plan import FrameRef, ObjectRef
from service.store.object_settings import ObjectSettings
from service.store.objects import ObjectMissing, ObjectStoreError
from service.store.objects_files import FileObjectStore
from service.store.signed_reads import SignedReads

MAX_OBJECT = 512 * 1024 * 1024
CONCURRENCY = 16
BLOCK, BLOCKS = 2 * 1024 * 1024, 4
T = TypeVar("T")


class Reads(Protocol):
    """Whole or ranged reads; raises ObjectMissing or, after its own retries, ObjectStoreError."""

    async def read(self, ref: ObjectRef, start: int, stop: int | None) -> bytes: ...

    async def close(self) -> None: ...


class FileReads:
    """Plain file reads: so short that a thread of their own would cost more."""

    def __init__(self, store: FileObjectStore) -> None:
        self._store = store

    async def read(self, ref: ObjectRef, start: int, stop: int | None) -> bytes:
        return self._store.read(ref, start, stop)

    async def close(self) -> None: ...


class FrameFetcher:
    """An event loop in a thread of its own, and what it has fetched: `objects`, `bytes`, `seconds` of reading."""

    def __init__(self, settings: ObjectSettings, home: Path) -> None:
        self.objects, self.bytes, self.seconds = 0, 0, 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="frame-fetch", daemon=True)
        self._thread.start()
        if settings.endpoint is None:
            self._reads: Reads = FileReads(FileObjectStore(home / "objects", settings.bucket))
        else:
            self._reads = SignedReads(settings)

    def prefetch(self, bucket: str, refs: Iterable[FrameRef], window_bytes: int) -> "PrefetchReader":
        """A reader that has the next frames of `refs` under way, `window_bytes` of them at most."""
        return PrefetchReader(self, bucket, refs, window_bytes)

    def sources(self, bucket: str) -> "Sources":
        return Sources(self, bucket)

    def submit(self, bucket: str, ref: FrameRef) -> "Future[bytes]":
        return asyncio.run_coroutine_threadsafe(self._frame(bucket, ref), self._loop)

    async def _frame(self, bucket: str, ref: FrameRef) -> bytes:
        assert ref.key is not None
        if ref.size > MAX_OBJECT:
            raise FrameUnreadable(f"the object has {ref.size} bytes, more than the limit of {MAX_OBJECT}")
        began = time.perf_counter()
        try:
            data = await self._reads.read(ObjectRef(bucket, ref.key), 0, None)
        except ObjectMissing as error:
            raise FrameMissing from error
        self.objects += 1
        self.bytes += len(data)
        self.seconds += time.perf_counter() - began
        return data

    def read_range(self, ref: ObjectRef, start: int, stop: int) -> bytes:
        """Bytes [start, stop), now. Raises ObjectMissing, ObjectStoreError."""
        data = self._call(self._reads.read(ref, start, stop))
        self.bytes += len(data)
        return data

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        with suppress(ObjectStoreError):
            self._call(self._reads.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)


class PrefetchReader:
    """The pipeline's FrameReader: frames in order from the window, any other frame on demand."""

    def __init__(self, fetcher: FrameFetcher, bucket: str, refs: Iterable[FrameRef], window_bytes: int) -> None:
        self._fetcher, self._bucket, self._window = fetcher, bucket, window_bytes
        self._ahead = deque(ref for ref in refs if ref.key is not None)
        self._pending: deque[tuple[FrameRef, Future[bytes]]] = deque()
        self._held = 0
        self._fill()

    def read(self, ref: FrameRef) -> bytes:
        """Raises FrameMissing, FrameUnreadable; ObjectStoreError when the store is away."""
        if ref.key is None:
            raise FrameMissing("the numbering has a hole here")
        if not self._pending or self._pending[0][0] != ref:
            return self._fetcher.submit(self._bucket, ref).result()
        expected, future = self._pending.popleft()
        try:
            return future.result()
        finally:
            self._held -= expected.size
            self._fill()

    def _fill(self) -> None:
        while self._ahead and len(self._pending) < CONCURRENCY and (self._held < self._window or not self._pending):
            ref = self._ahead.popleft()
            self._held += ref.size
            self._pending.append((ref, self._fetcher.submit(self._bucket, ref)))

    def __enter__(self) -> "PrefetchReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _, future in self._pending:
            future.cancel()


class Sources:
    """The pipeline's SourceReader: source videos as seekable files."""

    def __init__(self, fetcher: FrameFetcher, bucket: str) -> None:
        self._fetcher, self._bucket = fetcher, bucket

    def open(self, ref: FrameRef) -> BinaryIO:
        """Raises FrameMissing when there is no object; read errors surface as OSError."""
        if ref.key is None:
            raise FrameMissing("the source has no object")
        return io.BufferedReader(RangedFile(self._fetcher, ObjectRef(self._bucket, ref.key), ref.size), 64 * 1024)


class RangedFile(io.RawIOBase):
    """A read-only file over ranged reads, with a few blocks of 2 MiB kept."""

    def __init__(self, fetcher: FrameFetcher, ref: ObjectRef, size: int) -> None:
        super().__init__()
        self._fetcher, self._ref, self._size = fetcher, ref, size
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        if self._position >= self._size:
            return 0
        number, offset = divmod(self._position, BLOCK)
        part = self._block(number)[offset : offset + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def _block(self, number: int) -> bytes:
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        start = number * BLOCK
        data = self._fetcher.read_range(self._ref, start, min(start + BLOCK, self._size))
        self._blocks[number] = data
        if len(self._blocks) > BLOCKS:
            self._blocks.popitem(last=False)
        return data
