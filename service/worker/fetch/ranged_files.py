"""Objects as seekable files for codecs, read in ranges."""

import asyncio
import io
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

from service.store.objects.object_store import ObjectAccess, ObjectStoreError, ObjectVersion, ReadResult
from service.worker.fetch.faults import frame_faults
from service.worker.fetch.readers import ObjectReader

if TYPE_CHECKING:
    from typing_extensions import Buffer

BUFFER_BYTES = 1024 * 1024
SOURCE_BLOCK_BYTES, MAX_CACHED_BLOCKS = 2 * 1024 * 1024, 4
PROGRESS_INTERVAL_S = 1.0
T = TypeVar("T")


class _SeekableFile(io.RawIOBase):
    """A read-only file of known size; subclasses read at `_position`."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size, self._position = size, 0

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


class RangedFile(_SeekableFile):
    """Created on the event loop, read on a thread. `fetched_bytes` counts what has been read.

    All reads are of this version. Codecs turn errors of the store into errors of their own; `run` raises the store's.
    """

    def __init__(self, objects: ObjectAccess, version: ObjectVersion) -> None:
        super().__init__(version.size)
        self._objects, self._version = objects, version
        self._loop = asyncio.get_running_loop()
        self._stopped = False
        self._failure: BaseException | None = None
        self.fetched_bytes = 0

    async def run_in_thread(
        self, reader: Callable[[BinaryIO], T], on_progress: Callable[[], None], buffer_bytes: int = BUFFER_BYTES
    ) -> T:
        """`run` on a thread. `on_progress` is called only while bytes arrive, so that a hang is not taken for work."""
        working = asyncio.create_task(asyncio.to_thread(self.run, reader, buffer_bytes))
        try:
            reported_bytes = -1
            while not (await asyncio.wait((working,), timeout=PROGRESS_INTERVAL_S))[0]:
                if self.fetched_bytes != reported_bytes:
                    reported_bytes = self.fetched_bytes
                    on_progress()
            return await working
        finally:
            self.stop()

    def run(self, reader: Callable[[BinaryIO], T], buffer_bytes: int = BUFFER_BYTES) -> T:
        """Call `reader` with a buffered view of the file. Raises ObjectStoreError, and what `reader` raises."""
        try:
            return reader(cast(BinaryIO, io.BufferedReader(self, buffer_bytes)))
        finally:
            if self._failure is not None:
                raise self._failure

    def stop(self) -> None:
        """Make every later read fail, so that the thread ends."""
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
            read = self._objects.get(self._version.ref, start, stop, self._version.etag)
            data = asyncio.run_coroutine_threadsafe(read, self._loop).result()
            if len(data) != stop - start:
                raise ObjectStoreError(f"the object {self._version.ref.key} has fewer bytes than it was listed with")
            return data
        except Exception as error:
            self._failure = error
            raise OSError("the object store failed") from error


class SourceVideoFile(_SeekableFile):
    """A source video over ranged reads, all of one version. It caches a few blocks, and fetches the next one ahead.

    Reading raises FrameMissing or FrameChanged if the object is not the same any more, ObjectStoreError.
    """

    def __init__(self, reader: ObjectReader, version: ObjectVersion, first_part: ReadResult) -> None:
        super().__init__(first_part.size)
        self._reader = reader
        self._version = ObjectVersion(version.ref, version.etag or first_part.etag, first_part.size)
        self._blocks: OrderedDict[int, Future[ReadResult]] = OrderedDict()
        self._blocks[0] = Future()
        self._blocks[0].set_result(first_part)

    def readinto(self, buffer: "Buffer") -> int:
        if self._position >= self._size:
            return 0
        view = memoryview(buffer).cast("B")
        number, offset = divmod(self._position, SOURCE_BLOCK_BYTES)
        part = memoryview(self._read_block(number))[offset : offset + len(view)]
        view[: len(part)] = part
        self._position += len(part)
        return len(part)

    def _read_block(self, number: int) -> bytes:
        reads_forward = number - 1 in self._blocks
        future = self._start_block(number)
        if reads_forward and (number + 1) * SOURCE_BLOCK_BYTES < self._size:
            self._start_block(number + 1)
        with frame_faults(self._version.ref.key):
            try:
                part = future.result()
            except ObjectStoreError:
                self._blocks.pop(number, None)
                raise
        if len(part.data) != min(SOURCE_BLOCK_BYTES, self._size - number * SOURCE_BLOCK_BYTES):
            raise ObjectStoreError("a part of a source video is incomplete")
        return part.data

    def _start_block(self, number: int) -> "Future[ReadResult]":
        if number not in self._blocks:
            start = number * SOURCE_BLOCK_BYTES
            span = (start, min(start + SOURCE_BLOCK_BYTES, self._size))
            self._blocks[number] = self._reader.submit(self._version, span, SOURCE_BLOCK_BYTES)
        self._blocks.move_to_end(number)
        if len(self._blocks) > MAX_CACHED_BLOCKS:
            self._blocks.popitem(last=False)[1].cancel()
        return self._blocks[number]

    def close(self) -> None:
        for future in self._blocks.values():
            future.cancel()
        self._blocks.clear()
        super().close()
