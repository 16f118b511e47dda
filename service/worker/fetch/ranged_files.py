"""Objects as seekable files for codecs, read in ranges."""

import asyncio
import io
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeVar, cast

from service.plan.render_plan import ObjectRef
from service.store.objects.object_store import ObjectStore, ObjectStoreError, ReadResult
from service.worker.fetch.readers import ByteRange

if TYPE_CHECKING:
    from typing_extensions import Buffer

BUFFER_BYTES = 1024 * 1024
PROGRESS_INTERVAL_S = 1.0
T = TypeVar("T")


class RangedFile(io.RawIOBase):
    """Made on the event loop, read on a thread; `fetched` counts bytes. An error of the store outlives the codec's."""

    def __init__(self, objects: ObjectStore, ref: ObjectRef, size: int) -> None:
        self._objects, self._ref, self._size = objects, ref, size
        self._loop = asyncio.get_running_loop()
        self._position, self._stopped = 0, False
        self._failure: BaseException | None = None
        self.fetched_bytes = 0

    async def run_in_thread(
        self, reader: Callable[[BinaryIO], T], on_progress: Callable[[], None], buffer_bytes: int = BUFFER_BYTES
    ) -> T:
        """`used_by` on a thread; ticks only while bytes are flowing, so that a hang can be told from a large file."""
        working = asyncio.create_task(asyncio.to_thread(self.run, reader, buffer_bytes))
        try:
            told = -1
            while not (await asyncio.wait((working,), timeout=PROGRESS_INTERVAL_S))[0]:
                if self.fetched_bytes != told:
                    told = self.fetched_bytes
                    on_progress()
            return await working
        finally:
            self.stop()

    def run(self, reader: Callable[[BinaryIO], T], buffer_bytes: int = BUFFER_BYTES) -> T:
        """Run `work` with a buffered view of the file. Raises what the store raised, whatever the codec made of it."""
        try:
            return reader(cast(BinaryIO, io.BufferedReader(self, buffer_bytes)))
        finally:
            if self._failure is not None:
                raise self._failure

    def stop(self) -> None:
        """Every later read fails, so that the thread ends."""
        self._stopped = True

    def readinto(self, buffer: "Buffer") -> int:
        view = memoryview(buffer).cast("B")
        stop = min(self._position + len(view), self._size)
        if stop <= self._position:
            return 0
        data = self._fetch(self._position, stop)
        view[: len(data)] = data
        self._position += len(data)
        self.fetched_bytes += len(data)
        return len(data)

    def _fetch(self, start: int, stop: int) -> bytes:
        if self._stopped:
            raise OSError("the scan has ended")
        try:
            return asyncio.run_coroutine_threadsafe(self._objects.get(self._ref, start, stop), self._loop).result()
        except Exception as error:
            self._failure = error
            raise OSError("the object store failed") from error

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


SOURCE_BLOCK_BYTES, MAX_CACHED_BLOCKS = 2 * 1024 * 1024, 4


class RangeReader(Protocol):
    """Starts a ranged read."""

    def submit(self, ref: ObjectRef, span: ByteRange | None, limit: int) -> "Future[ReadResult]": ...


class SourceVideoFile(io.RawIOBase):
    """A read-only file over ranged reads; a few blocks are kept, and the next one is fetched ahead."""

    def __init__(self, fetcher: RangeReader, ref: ObjectRef, first_part: ReadResult) -> None:
        super().__init__()
        self._fetcher, self._ref, self._size, self._etag = fetcher, ref, first_part.size, first_part.etag
        self._position = 0
        self._blocks: OrderedDict[int, Future[ReadResult]] = OrderedDict()
        self._blocks[0] = Future()
        self._blocks[0].set_result(first_part)

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
        number, offset = divmod(self._position, SOURCE_BLOCK_BYTES)
        part = memoryview(self._read_block(number))[offset : offset + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def _read_block(self, number: int) -> bytes:
        forward = number - 1 in self._blocks
        future = self._start_block(number)
        if forward and (number + 1) * SOURCE_BLOCK_BYTES < self._size:
            self._start_block(number + 1)
        try:
            part = future.result()
        except ObjectStoreError:
            self._blocks.pop(number, None)
            raise
        if part.etag != self._etag or len(part.data) != min(
            SOURCE_BLOCK_BYTES, self._size - number * SOURCE_BLOCK_BYTES
        ):
            raise ObjectStoreError("the source video changed while it was read")
        return part.data

    def _start_block(self, number: int) -> "Future[ReadResult]":
        if number not in self._blocks:
            start = number * SOURCE_BLOCK_BYTES
            span = (start, min(start + SOURCE_BLOCK_BYTES, self._size))
            self._blocks[number] = self._fetcher.submit(self._ref, span, SOURCE_BLOCK_BYTES)
        self._blocks.move_to_end(number)
        if len(self._blocks) > MAX_CACHED_BLOCKS:
            self._blocks.popitem(last=False)[1].cancel()
        return self._blocks[number]

    def close(self) -> None:
        for future in self._blocks.values():
            future.cancel()
        self._blocks.clear()
        super().close()
