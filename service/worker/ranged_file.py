"""An object as a seekable file for a codec on another thread, fetched in ranges by the event loop."""

import asyncio
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

from service.plan.render_plan import ObjectRef
from service.store.objects import ObjectStore

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
