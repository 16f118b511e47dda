"""An empty database and an empty folder of objects, into which a backup is restored."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from service.store.backup.archive import Archive
from service.store.backup.restoration import Restored, restore_backup
from service.store.database import Database
from service.store.objects.files import FileObjectStore
from service.store.settings import DatabaseSettings
from tests.support.data.backups import ignore_progress
from tests.support.data.removable_objects import Store
from tests.support.servers.databases import empty_database

Restore = Callable[..., Awaitable[Restored]]


@pytest.fixture
async def target(postgres_url: str, tmp_path: Path) -> AsyncIterator[Store]:
    async with empty_database(postgres_url) as url:
        database, objects = Database(url, DatabaseSettings()), FileObjectStore(tmp_path / "target", "reelmill")
        await objects.check()
        yield Store(database, objects)
        await database.close()


@pytest.fixture
def restore(target: Store) -> Restore:
    """Verify an archive and restore it, into `target` unless objects are given."""

    async def run(path: Path, objects: FileObjectStore | None = None) -> Restored:
        archive = Archive(path)
        try:
            assert list(archive.verify())[-1] < path.stat().st_size
            return await restore_backup(target.database, objects or target.objects, archive, ignore_progress)
        finally:
            archive.close()

    return run
