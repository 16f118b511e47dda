"""Create a backup: the tables as of one moment first, then the objects that they name, which are never overwritten."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from service import __version__
from service.store.backup.archive import ArchiveWriter, BackupError, Manifest
from service.store.backup.objects import LeftOut, NamedObjects, ObjectArchiver, Selection
from service.store.backup.tables import dump_tables, open_snapshot, table_names
from service.store.database import Database
from service.store.objects.object_store import ObjectStore
from service.store.schema import is_current


@dataclass(frozen=True, slots=True)
class CreatedBackup:
    """What a backup has, and the objects that are named in the database and are not in it."""

    manifest: Manifest
    left_out: LeftOut


async def create_backup(
    database: Database, store: ObjectStore, path: Path, selection: Selection, on_progress: Callable[[str, int], None]
) -> CreatedBackup:
    """Write a backup to `path`, which must not exist. Raises BackupError, ObjectStoreError; then there is no file.

    `selection`: the bytes of `own` objects, of `all` (caches, too), or of `none`, which are then only listed. The
    service may run meanwhile; the snapshot of its rows ends before objects are read.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    if not await is_current(database.url):
        raise BackupError(
            "the database has not the tables of this version: back it up with the version that runs, or upgrade it "
            "first (`reelmill migrate`)"
        )
    manifest = Manifest(version=__version__, schema="", created_at=now, bucket=store.bucket, objects=selection)
    with ArchiveWriter(path) as archive:
        async with open_snapshot(database) as snapshot:
            await dump_tables(snapshot, archive, manifest, table_names(caches=selection != "own"))
            named = await NamedObjects.read(snapshot, store.bucket)
        archiver = ObjectArchiver(store, archive, manifest, with_bytes=selection != "none")
        await archiver.add_all(named.wanted(store, selection), lambda count: on_progress("objects", count))
        archive.finish(manifest)
    return CreatedBackup(manifest, archiver.left_out)
