"""Reads several objects at the same time, within a limit of bytes, to hide the latency of an S3 server."""

import asyncio
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from typing import TypeVar

from service.store.objects.digests import StoredSegment, WrittenObject, read_checked
from service.store.objects.object_store import ObjectAccess

T = TypeVar("T")
# Limits of a batch. An object above the limit of bytes has a batch of its own.
MAX_BATCH_BYTES, MAX_BATCH_OBJECTS = 16 * 2**20, 16


class BatchReader:
    """Reads objects that the service wrote, and checks them."""

    def __init__(self, objects: ObjectAccess, runner: asyncio.Runner) -> None:
        self._objects, self._runner = objects, runner

    def read_all(self, files: Sequence[WrittenObject]) -> list[bytes]:
        """Read all at the same time; returns them in order. Raises ObjectLost, ObjectNotFound, ObjectStoreError."""
        return self._runner.run(gather_all([read_checked(self._objects, file) for file in files]))

    def iter_objects(self, files: Sequence[WrittenObject]) -> Iterator[bytes]:
        """Read small objects in batches, in order. Raises ObjectLost, ObjectNotFound, ObjectStoreError."""
        for start in range(0, len(files), MAX_BATCH_OBJECTS):
            yield from self.read_all(files[start : start + MAX_BATCH_OBJECTS])


async def gather_all(awaitables: Sequence[Awaitable[T]]) -> list[T]:
    """Await all at the same time, each to its end. Then raises the first exception, if there was one."""
    results: list[T] = []
    for result in await asyncio.gather(*awaitables, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
        results.append(result)
    return results


def batches(segments: Iterable[StoredSegment]) -> Iterator[list[StoredSegment]]:
    """Split segments into batches within the limits, in order."""
    batch: list[StoredSegment] = []
    total = 0
    for segment in segments:
        if batch and (total + segment.size > MAX_BATCH_BYTES or len(batch) == MAX_BATCH_OBJECTS):
            yield batch
            batch, total = [], 0
        batch.append(segment)
        total += segment.size
    if batch:
        yield batch
