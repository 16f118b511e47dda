"""Reads several objects at once, in order and within a limit of bytes: each request to an S3 server has latency."""

import asyncio
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from typing import TypeVar

from service.plan.render_plan import ObjectRef
from service.store.objects.object_store import ObjectStore

T = TypeVar("T")
# Of what is read at once: a larger object comes alone.
MAX_BATCH_BYTES, MAX_BATCH_OBJECTS = 16 * 2**20, 16


class BatchReader:
    """Objects of the service's own bucket."""

    def __init__(self, objects: ObjectStore, runner: asyncio.Runner) -> None:
        self._objects, self._runner = objects, runner

    def read_all(self, keys: Sequence[str]) -> list[bytes]:
        """At once, in order. Raises ObjectMissing, ObjectStoreError."""
        return self._runner.run(self._read_all(keys))

    async def _read_all(self, keys: Sequence[str]) -> list[bytes]:
        return await gather_all([self._objects.get(ObjectRef(self._objects.bucket, key)) for key in keys])

    def iter_objects(self, keys: Sequence[str]) -> Iterator[bytes]:
        """In order, for small ones. Raises the same."""
        for start in range(0, len(keys), MAX_BATCH_OBJECTS):
            yield from self.read_all(keys[start : start + MAX_BATCH_OBJECTS])


async def gather_all(awaitables: Sequence[Awaitable[T]]) -> list[T]:
    """All at once, each to its end; then raises the first exception, if there was any."""
    found: list[T] = []
    for ended in await asyncio.gather(*awaitables, return_exceptions=True):
        if isinstance(ended, BaseException):
            raise ended
        found.append(ended)
    return found


def batches(sized_names: Iterable[tuple[str, int]]) -> Iterator[list[str]]:
    """Runs of names whose sizes (bytes) fit together."""
    run: list[str] = []
    held = 0
    for name, size in sized_names:
        if run and (held + size > MAX_BATCH_BYTES or len(run) == MAX_BATCH_OBJECTS):
            yield run
            run, held = [], 0
        run.append(name)
        held += size
    if run:
        yield run
