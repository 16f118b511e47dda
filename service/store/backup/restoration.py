"""Restore a backup into an empty database and an empty bucket: objects first, then all rows in one transaction."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from tempfile import TemporaryFile
from typing import Any, BinaryIO

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.render_plan import ObjectRef
from service.store.backup.archive import Archive, BackupError, Span
from service.store.backup.objects import CACHES, UPLOADS, LeftOut, in_batches
from service.store.backup.tables import driver_of, load_tables, require_empty_database, translate_database_errors
from service.store.database import Database
from service.store.objects.object_store import ObjectInfo, ObjectNotFound, ObjectStore, ObjectStoreError
from service.store.schema import migration_transaction

Entry = dict[str, Any]
PREFIXES = (UPLOADS, "renders/", *CACHES)

ADAPT_BUCKET = (
    text("UPDATE datasets SET bucket = :new WHERE bucket = :old"),
    text("UPDATE removals SET bucket = :new WHERE bucket = :old"),
    # These keep what is older than they are. In the bucket, everything may be new now.
    text("DELETE FROM removals WHERE modified_after IS NOT NULL"),
)
CREATE_ETAGS = text("CREATE TEMPORARY TABLE restored_etags (key text, before text, after text) ON COMMIT DROP")
_NEW_FRAMES = """(SELECT jsonb_agg(CASE WHEN e.after IS NULL THEN f.value
        ELSE jsonb_set(f.value, '{{2}}', to_jsonb(e.after)) END ORDER BY f.ordinality)
    FROM jsonb_array_elements(s.{column}) WITH ORDINALITY f
    LEFT JOIN restored_etags e ON e.key = f.value ->> 1 AND e.before = f.value ->> 2)"""
UPDATE_ETAGS = (
    text("CREATE INDEX ON restored_etags (key)"),
    text("ANALYZE restored_etags"),
    *(
        text(f"""UPDATE {table} t SET etag = e.after FROM restored_etags e, datasets d
            WHERE d.id = t.dataset_id AND d.bucket = :new AND e.key = t.key AND e.before = t.etag""")
        for table in ("frames", "sources")
    ),
    *(
        text(f"""UPDATE segments s SET {column} = {_NEW_FRAMES.format(column=column)}
            FROM renders r JOIN datasets d ON d.id = r.dataset_id
            WHERE r.id = s.render_id AND d.bucket = :new AND s.{column} <> '[]'""")
        for column in ("frames", "lead")
    ),
)


@dataclass(slots=True)
class Restored:
    """Objects that were to be there and are not, and how many have another etag than before."""

    left_out: LeftOut = field(default_factory=LeftOut)
    changed_etags: int = 0


async def restore_backup(
    database: Database, store: ObjectStore, archive: Archive, on_progress: Callable[[str, int], None]
) -> Restored:
    """Restore an archive that was verified. Raises BackupError, ObjectStoreError, StartupError; then the database is
    empty as before, and the objects are deleted again."""
    async with translate_database_errors(), database.separate_connection() as connection:
        await require_empty_database(connection)
    if archive.manifest.objects != "none":
        await require_empty_bucket(store)
    objects = _ObjectRestorer(store, archive, lambda count: on_progress("objects", count))
    try:
        await objects.restore_all()
        async with translate_database_errors(), migration_transaction(database.url) as connection:
            await require_empty_database(connection)
            await load_tables(connection, archive)
            await _adapt_rows(connection, archive.manifest.bucket, store.bucket, objects)
    except BaseException:
        await asyncio.shield(objects.delete_all())
        raise
    return objects.restored


async def require_empty_bucket(store: ObjectStore) -> None:
    """Raises BackupError if there are objects of ours."""
    for prefix in PREFIXES:
        async for page in store.list(store.bucket, prefix):
            raise BackupError(
                f"the bucket {store.bucket} has objects already, such as {page[0].key}, and a backup is restored into "
                "an empty one only: name another one in MINIO_BUCKET, or choose a new REELMILL_HOME"
            )


class _ObjectRestorer:
    """Stores the objects of an archive; of one without bytes, looks whether they are there."""

    def __init__(self, store: ObjectStore, archive: Archive, on_progress: Callable[[int], None]) -> None:
        self._store, self._archive, self._on_progress = store, archive, on_progress
        self._etags: BinaryIO = TemporaryFile()  # noqa: SIM115 (deleted when nobody has it open)
        self._count = 0
        self.restored = Restored()

    async def restore_all(self) -> None:
        async for batch in in_batches(self._entries()):
            stored = await asyncio.gather(*map(self._restore, batch))
            for entry, info in zip(batch, stored, strict=True):
                self._compare(entry, info)
            self._count += len(batch)
            self._on_progress(self._count)
        self._etags.seek(0)

    async def _entries(self) -> AsyncIterator[Entry]:
        for part in self._archive.index():
            for entry in part:
                yield entry

    async def _restore(self, entry: Entry) -> ObjectInfo | None:
        """None if it is not there."""
        if entry["start"] is not None:
            modified = datetime.fromisoformat(entry["modified"])
            info = ObjectInfo(entry["key"], entry["size"], entry["etag"], modified, entry["type"])
            return await self._store.restore(self._archive.open_part(Span(entry["start"], entry["size"])), info)
        try:
            return await self._store.head(ObjectRef(self._store.bucket, entry["key"]))
        except ObjectNotFound:
            return None

    def _compare(self, entry: Entry, info: ObjectInfo | None) -> None:
        if info is None:
            self.restored.left_out.add(entry["key"], "it is not in the bucket")
        elif info.size != entry["size"]:
            self.restored.left_out.add(entry["key"], f"it has {info.size} bytes instead of {entry['size']}")
        elif info.etag != entry["etag"]:
            self.restored.changed_etags += 1
            if entry["key"].startswith(UPLOADS):
                line = json.dumps([entry["key"], entry["etag"], info.etag])
                self._etags.write(line.encode() + b"\n")

    def changed_etags(self) -> Iterator[tuple[str, str, str]]:
        """Key, etag before and etag now of frames and source videos."""
        return (tuple(json.loads(line)) for line in self._etags)

    async def delete_all(self) -> None:
        """Delete what was stored, also what was only begun."""
        with suppress(ObjectStoreError):  # the error that led here says more
            async for batch in in_batches(self._entries()):
                refs = [ObjectRef(self._store.bucket, entry["key"]) for entry in batch if entry["start"] is not None]
                await asyncio.gather(*map(self._store.delete, refs))


async def _adapt_rows(connection: AsyncConnection, old: str, new: str, objects: _ObjectRestorer) -> None:
    """Rows name the bucket, and the etags of frames: a folder has others than S3."""
    names = {"old": old, "new": new}
    for statement in ADAPT_BUCKET:
        await connection.execute(statement, names)
    if objects.restored.changed_etags:
        await connection.execute(CREATE_ETAGS)
        driver = await driver_of(connection)
        await driver.copy_records_to_table("restored_etags", records=objects.changed_etags())
        for statement in UPDATE_ETAGS:
            await connection.execute(statement, names)
    await connection.execute(text("ANALYZE"))
