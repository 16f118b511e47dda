"""Reads several objects at the same time, within a limit of bytes, to hide the latency of an S3 server."""

import asyncio
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from typing import TypeVar

from service.plan.render_plan import ObjectRef
from service.store.objects.object_store import ObjectStore

T = TypeVar("T")
# Limits of a batch. An object above the limit of bytes has a batch of its own.
MAX_BATCH_BYTES, MAX_BATCH_OBJECTS = 16 * 2**20, 16


class BatchReader:
    """Reads objects of the service's own bucket."""

    def __init__(self, objects: ObjectStore, runner: asyncio.Runner) -> None:
        self._objects, self._runner = objects, runner

    def read_all(self, keys: Sequence[str]) -> list[bytes]:
        """Read all at the same time; returns them in order. Raises ObjectNotFound, ObjectStoreError."""
        reads = [self._objects.get(ObjectRef(self._objects.bucket, key)) for key in keys]
        return self._runner.run(gather_all(reads))

    def iter_objects(self, keys: Sequence[str]) -> Iterator[bytes]:
        """Read small objects in batches, in order. Raises ObjectNotFound, ObjectStoreError."""
        for start in range(0, len(keys), MAX_BATCH_OBJECTS):
            yield from self.read_all(keys[start : start + MAX_BATCH_OBJECTS])


async def gather_all(awaitables: Sequence[Awaitable[T]]) -> list[T]:
    """Await all at the same time, each to its end. Then raises the first exception, if there was one."""
    results: list[T] = []
    for result in await asyncio.gather(*awaitables, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
        results.append(result)
    return results


def batches(sized_names: Iterable[tuple[str, int]]) -> Iterator[list[str]]:
    """Split names with their sizes in bytes into batches within the limits, in order."""
    batch: list[str] = []
    total = 0
    for name, size in sized_names:
        if batch and (total + size > MAX_BATCH_BYTES or len(batch) == MAX_BATCH_OBJECTS):
            yield batch
            batch, total = [], 0
        batch.append(name)
        total += size
    if batch:
        yield batch
