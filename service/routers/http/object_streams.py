"""Stream an object of the store as a response body."""

from collections.abc import AsyncIterator

from service.plan.render_plan import ObjectRef
from service.store.objects.object_store import ObjectStore


async def open_stream(
    objects: ObjectStore, ref: ObjectRef, start: int = 0, stop: int | None = None
) -> AsyncIterator[bytes]:
    """Its chunks, the first of which is here already: a store that is away is told as such, not by an answer that
    breaks off. Raises ObjectStoreError."""
    chunks = objects.stream(ref, start, stop)
    first = await anext(chunks, b"")
    return _prepend(first, chunks)


async def _prepend(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk
