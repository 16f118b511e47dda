"""How a slot reads objects without waiting: plain files on a few threads, or signed URLs on an event loop.

CPU of the client for a 210 KB frame, measured on the reference machine: from a folder 0.1 ms; from an S3 server 0.5 ms
(aioboto3's get_object: 1.5 ms).
"""

import asyncio
import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Protocol

from service.plan.render_plan import ObjectRef
from service.store.objects import ObjectPart, ObjectStoreError, ObjectTooLarge
from service.store.objects_files import FileObjectStore

if TYPE_CHECKING:
    from service.store.signed_reads import SignedReads

FILE_THREADS = 4

Span = tuple[int, int]
"""Bytes [start, stop)."""


class Tally:
    """What has been fetched: `objects`, `bytes`, and `seconds` from request to last byte, summed over reads."""

    def __init__(self) -> None:
        self.objects, self.bytes, self.seconds = 0, 0, 0.0
        self._lock = threading.Lock()

    def add(self, span: Span | None, size: int, began: float) -> None:
        """A source video counts as an object with its first range."""
        with self._lock:
            self.objects += span is None or span[0] == 0
            self.bytes += size
            self.seconds += time.perf_counter() - began


class Reads(Protocol):
    """Starts whole or ranged reads; they fail with ObjectMissing, ObjectTooLarge, or else ObjectStoreError."""

    def submit(self, ref: ObjectRef, span: Span | None, limit: int) -> "Future[ObjectPart]": ...

    def close(self) -> None: ...


class FileReads:
    """Plain file reads on a few threads, so that a slow disk is waited for ahead of the decoder."""

    def __init__(self, store: FileObjectStore, tally: Tally) -> None:
        self._store, self._tally = store, tally
        self._threads = ThreadPoolExecutor(FILE_THREADS, thread_name_prefix="frame-fetch")

    def submit(self, ref: ObjectRef, span: Span | None, limit: int) -> "Future[ObjectPart]":
        return self._threads.submit(self._read, ref, span, limit)

    def _read(self, ref: ObjectRef, span: Span | None, limit: int) -> ObjectPart:
        began = time.perf_counter()
        with self._store.open(ref) as file:
            try:
                part = _part_of(file, span, limit)
            except OSError as error:
                raise ObjectStoreError(f"REELMILL_HOME: an object cannot be read ({error.strerror})") from error
        self._tally.add(span, len(part.data), began)
        return part

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)


def _part_of(file: BinaryIO, span: Span | None, limit: int) -> ObjectPart:
    status = os.fstat(file.fileno())
    if span is None and status.st_size > limit:
        raise ObjectTooLarge(status.st_size, limit)
    start, stop = span or (0, status.st_size)
    file.seek(start)
    return ObjectPart(file.read(stop - start), status.st_size, f"{status.st_mtime_ns:x}")


class LoopReads:
    """Signed reads on an event loop in a thread of its own."""

    def __init__(self, reads: "SignedReads", tally: Tally) -> None:
        self._reads, self._tally = reads, tally
        self._loop = _new_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="frame-fetch", daemon=True)
        self._thread.start()

    def submit(self, ref: ObjectRef, span: Span | None, limit: int) -> "Future[ObjectPart]":
        return asyncio.run_coroutine_threadsafe(self._read(ref, span, limit), self._loop)

    async def _read(self, ref: ObjectRef, span: Span | None, limit: int) -> ObjectPart:
        began = time.perf_counter()
        part = await self._reads.read(ref, span, limit)
        self._tally.add(span, len(part.data), began)
        return part

    def close(self) -> None:
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._finish(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        if not self._loop.is_running():
            self._loop.close()

    async def _finish(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._reads.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
