"""Which objects belong to a backup, and their way into its archive."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import Any, BinaryIO, Literal, TypeVar

import asyncpg

from service.plan.render_plan import ObjectRef
from service.store.backup.archive import ArchiveWriter, Manifest, Span
from service.store.backup.tables import copy_query
from service.store.objects.object_store import (
    ObjectChanged,
    ObjectDamaged,
    ObjectInfo,
    ObjectNotFound,
    ObjectStore,
    ObjectStoreError,
)

Selection = Literal["own", "all", "none"]
Item = TypeVar("Item")
UPLOADS, CACHES = "frames/", ("segments/", "previews/")
# Objects of up to INLINE_BYTES are read ahead, PARALLEL at a time.
PARALLEL, INLINE_BYTES, INDEX_ENTRIES = 16, 1024 * 1024, 1000
RETRY_DELAYS_S = (0.0, 1.0, 5.0, 20.0)

# Lines in hexadecimal, as COPY has escapes of its own. "C" is the order of a listing.
SELECT_UPLOADS = f"""
    SELECT encode(convert_to(key, 'UTF8'), 'hex') FROM (
        SELECT DISTINCT key COLLATE "C" AS key FROM (
            SELECT f.key FROM frames f JOIN datasets d ON d.id = f.dataset_id WHERE d.bucket = $1
            UNION ALL SELECT s.key FROM sources s JOIN datasets d ON d.id = s.dataset_id WHERE d.bucket = $1) used
        WHERE starts_with(key, '{UPLOADS}') ORDER BY 1) ordered
"""
SELECT_RENDER_FILES = """
    SELECT encode(convert_to(json_build_array(key, max(sha256))::text, 'UTF8'), 'hex')
    FROM renders r CROSS JOIN LATERAL (
        VALUES (r.video_key, r.video_sha256), (r.poster_key, NULL), (r.receipt_key, NULL)
        UNION ALL SELECT 'renders/' || r.id || '/' || d.key, d.value FROM jsonb_each_text(r.digests) d
            WHERE r.video_key IS NOT NULL) AS file(key, sha256)
    WHERE key IS NOT NULL GROUP BY key
"""


@dataclass(frozen=True, slots=True)
class WantedObject:
    """An object of the own bucket, and the digest that the database has of it, if it has one."""

    key: str
    sha256: str | None = None


@dataclass(slots=True)
class LeftOut:
    """Objects that could not be taken along: how many, why, and some of them."""

    MAX_EXAMPLES = 5
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, key: str, reason: str) -> None:
        self.count += 1
        if len(self.examples) < self.MAX_EXAMPLES:
            self.examples.append(f"{key}: {reason}")


class NamedObjects:
    """The objects that the rows of a snapshot name, kept in temporary files: there may be millions."""

    def __init__(self, uploads: BinaryIO, files: BinaryIO) -> None:
        self._uploads, self._files = uploads, files

    @classmethod
    async def read(cls, snapshot: asyncpg.Connection, bucket: str) -> "NamedObjects":
        named = cls(TemporaryFile(), TemporaryFile())  # noqa: SIM115 (deleted when nobody has them open)
        await copy_query(snapshot, named._uploads, SELECT_UPLOADS, bucket)
        await copy_query(snapshot, named._files, SELECT_RENDER_FILES)
        return named

    async def wanted(self, store: ObjectStore, selection: Selection) -> AsyncIterator[WantedObject]:
        """All uploads, those that no scan has seen yet included, the files of renders, and caches if they are asked
        for. Also those that are named and not in the bucket."""
        keys = (bytes.fromhex(line.decode()).decode() for line in self._uploads)
        async for key in _merge(keys, store, UPLOADS):
            yield WantedObject(key)
        for line in self._files:
            yield WantedObject(*json.loads(bytes.fromhex(line.decode())))
        for prefix in CACHES if selection == "all" else ():
            async for page in store.list(store.bucket, prefix):
                for info in page:
                    yield WantedObject(info.key)


async def _merge(keys: Iterator[str], store: ObjectStore, prefix: str) -> AsyncIterator[str]:
    """These keys and those that are stored under the prefix, each once; both are in order."""
    named = next(keys, None)
    async for page in store.list(store.bucket, prefix):
        for info in page:
            while named is not None and named < info.key:
                yield named
                named = next(keys, None)
            if named == info.key:
                named = next(keys, None)
            yield info.key
    if named is not None:
        yield named
    for key in keys:
        yield key


@dataclass(frozen=True, slots=True)
class _Fetched:
    """An object that was looked up; `data` if it is small and was read."""

    wanted: WantedObject
    info: ObjectInfo | None = None
    data: bytes | None = None


class _OtherBytes(Exception):
    """The object has not the bytes of which the database knows."""


class ObjectArchiver:
    """Writes objects into an archive, small ones in parallel, and an index of them. With `bytes` False, only that."""

    def __init__(self, store: ObjectStore, archive: ArchiveWriter, manifest: Manifest, *, with_bytes: bool) -> None:
        self._store, self._archive, self._manifest, self._with_bytes = store, archive, manifest, with_bytes
        self._lines: list[str] = []
        self.left_out = LeftOut()

    async def add_all(self, wanted: AsyncIterator[WantedObject], on_progress: Callable[[int], None]) -> None:
        """Raises ObjectStoreError, BackupError. What is not there, or changes all the time, is left out."""
        async for batch in in_batches(wanted):
            for fetched in await asyncio.gather(*map(self._fetch, batch)):
                await self._add(fetched)
            on_progress(self._manifest.object_count)
        self._write_index()

    async def _fetch(self, wanted: WantedObject) -> _Fetched:
        """What fails here is read again when its turn has come."""
        with suppress(ObjectStoreError):
            ref = self._ref(wanted.key)
            info = await self._store.head(ref)
            if not self._with_bytes or info.size > INLINE_BYTES:
                return _Fetched(wanted, info)
            return _Fetched(wanted, info, await self._store.get(ref, etag=info.etag))
        return _Fetched(wanted)

    async def _add(self, fetched: _Fetched) -> None:
        key = fetched.wanted.key
        try:
            await self._write_or_retry(fetched)
        except ObjectNotFound:
            self.left_out.add(key, "it is not in the bucket")
        except ObjectChanged:
            self.left_out.add(key, "it is overwritten all the time")
        except (ObjectDamaged, _OtherBytes):
            self.left_out.add(key, "it has other bytes than were written")

    async def _write_or_retry(self, fetched: _Fetched) -> None:
        """What changes or breaks off while it is read is read again."""
        wanted, info, data = fetched.wanted, fetched.info, fetched.data
        for delay_s in (*RETRY_DELAYS_S, None):
            try:
                await self._write(wanted, info or await self._store.head(self._ref(wanted.key)), data)
                return
            except (ObjectNotFound, ObjectDamaged):
                raise
            except ObjectStoreError:
                if delay_s is None:
                    raise
                info = data = None
                await asyncio.sleep(delay_s)

    async def _write(self, wanted: WantedObject, info: ObjectInfo, data: bytes | None) -> None:
        if not self._with_bytes:
            self._note(info, None, wanted.sha256)
            return
        digest = hashlib.sha256()

        async def iter_checked() -> AsyncIterator[bytes]:
            async for chunk in _once(data) if data is not None else self._stream(info):
                digest.update(chunk)
                yield chunk
            if wanted.sha256 not in (None, digest.hexdigest()):
                raise _OtherBytes

        try:
            span = await self._archive.add_stream(f"objects/{info.key}", info.size, iter_checked())
        except ValueError as error:
            raise ObjectChanged("another", info.etag) from error
        self._note(info, span, digest.hexdigest())

    def _stream(self, info: ObjectInfo) -> AsyncIterator[bytes]:
        return self._store.stream(self._ref(info.key), etag=info.etag)

    def _note(self, info: ObjectInfo, span: Span | None, sha256: str | None) -> None:
        entry: dict[str, Any] = {"key": info.key, "size": info.size, "etag": info.etag, "type": info.content_type}
        entry |= {"sha256": sha256, "start": span and span.start, "modified": info.modified.isoformat()}
        self._lines.append(json.dumps(entry))
        self._manifest.object_count += 1
        self._manifest.object_bytes += info.size
        if len(self._lines) >= INDEX_ENTRIES:
            self._write_index()

    def _write_index(self) -> None:
        if self._lines:
            self._manifest.index.append(self._archive.add_part("index", "\n".join(self._lines).encode()))
            self._lines.clear()

    def _ref(self, key: str) -> ObjectRef:
        return ObjectRef(self._store.bucket, key)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def in_batches(items: AsyncIterator[Item]) -> AsyncIterator[list[Item]]:
    """Lists of as many items as are handled at the same time."""
    batch: list[Item] = []
    async for item in items:
        batch.append(item)
        if len(batch) == PARALLEL:
            yield batch
            batch = []
    if batch:
        yield batch
