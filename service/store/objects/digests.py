"""Check the objects that the service wrote: the SHA-256 of each is kept where the object is looked up."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from service.plan.render_plan import ObjectRef
from service.store.objects.keys import artifact_key
from service.store.objects.object_store import ObjectAccess, ObjectNotFound, ObjectStore

# Up to this size hashing takes 0.2 ms, less than it costs to hand the bytes to a thread and wait for it.
INLINE_BYTES = 256 * 1024


class ObjectLost(ObjectNotFound):
    """What was written is lost: its object has other bytes. One that is gone is a plain ObjectNotFound."""


@dataclass(frozen=True, slots=True)
class WrittenObject:
    """An object that the service wrote, with the SHA-256 (hex) of its bytes.

    `sha256` is None for objects of versions that kept no digests: those cannot be checked.
    """

    key: str
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """The objects of one segment: `size` of its video in bytes, digests by name as in `artifact_key`.

    A segment without frames has an empty video. `cached` is False if the cache has no entry for it.
    """

    content_key: str
    size: int
    digests: Mapping[str, str] = field(default_factory=dict)
    cached: bool = True

    def file(self, name: str) -> WrittenObject:
        """The object that `artifact_key` names."""
        return WrittenObject(artifact_key(self.content_key, name), self.digests.get(name))


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def transient_key(content_key: str, digests: Mapping[str, str]) -> str:
    """The key of a segment of which another attempt may differ: of its plan and of its own files.

    So no render finds it by its plan, and no late attempt overwrites it by another result.
    """
    return sha256_hex(f"transient\0{content_key}\0{json.dumps(digests, sort_keys=True)}".encode())


async def read_checked(objects: ObjectAccess, written: WrittenObject) -> bytes:
    """The whole object, read again once if it has other bytes: those may have been damaged on the way.

    Raises ObjectLost if its bytes are not those that were written, ObjectStoreError.
    """
    try:
        return await _read_once(objects, written)
    except ObjectLost:
        return await _read_once(objects, written)


async def _read_once(objects: ObjectAccess, written: WrittenObject) -> bytes:
    data = await objects.get(ObjectRef(objects.bucket, written.key))
    if written.sha256 is not None:
        inline = len(data) <= INLINE_BYTES
        found = sha256_hex(data) if inline else await asyncio.to_thread(sha256_hex, data)
        _require_equal(written, found)
    return data


async def stream_checked(objects: ObjectStore, written: WrittenObject) -> AsyncIterator[bytes]:
    """The whole object in chunks. The last one is held back until all bytes are checked, so that a reader who knows
    the length never has all of a damaged object. Raises ObjectLost, ObjectStoreError."""
    digest, held = hashlib.sha256(), b""
    async for chunk in objects.stream(ObjectRef(objects.bucket, written.key)):
        if len(chunk) <= INLINE_BYTES:
            digest.update(chunk)
        else:
            await asyncio.to_thread(digest.update, chunk)
        if held:
            yield held
        held = chunk
    _require_equal(written, digest.hexdigest())
    yield held


async def check_object(objects: ObjectStore, written: WrittenObject) -> None:
    """Read the whole object, a chunk in memory at a time, and again once if it has other bytes.

    Raises ObjectLost, ObjectStoreError.
    """
    try:
        await _read_through(objects, written)
    except ObjectLost:
        await _read_through(objects, written)


async def _read_through(objects: ObjectStore, written: WrittenObject) -> None:
    async for _ in stream_checked(objects, written):
        pass


def _require_equal(written: WrittenObject, found: str) -> None:
    if written.sha256 not in (None, found):
        raise ObjectLost(f"{written.key} is damaged: it has other bytes than were written")
