"""Backups at the level of the store: what is in them, and what a restoration makes of it."""

import asyncio
import json
import tarfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from service.jobs import queue
from service.plan.render_plan import ObjectRef
from service.store.backup.archive import Archive, ArchiveWriter, BackupError, Manifest
from service.store.backup.creation import CreatedBackup, create_backup
from service.store.backup.objects import LeftOut, ObjectArchiver, WantedObject
from service.store.backup.restoration import Restored, restore_backup
from service.store.backup.tables import OF_PROCESSES, dump_tables, open_snapshot, require_known_schema, table_names
from service.store.database import Database, async_url
from service.store.objects.digests import sha256_hex
from service.store.objects.files import FileObjectStore
from service.store.objects.keys import render_object_key, upload_prefix
from service.store.schema import is_current, migration_transaction, newest_revision, upgrade
from service.store.settings import DatabaseSettings
from tests.support.data.removable_objects import Store, make
from tests.support.servers.databases import empty_database

pytestmark = pytest.mark.anyio
BYTES = b"some bytes of a file\n" * 9


def ignore_progress(_phase: str, _count: int) -> None:
    pass


async def fill(store: Store) -> UUID:
    """A finished render with its files, its frames uploaded, one upload that no scan has seen, and a secret."""
    dataset, render = await make(store)
    await store.publish(render)
    prefix = upload_prefix(dataset.experiment_id, dataset.id)
    async with store.database.service_transaction() as connection:
        values = {"bucket": "reelmill", "prefix": prefix, "id": dataset.id}
        await connection.execute(text("UPDATE datasets SET bucket = :bucket, prefix = :prefix WHERE id = :id"), values)
        rows = await connection.scalars(text("SELECT index FROM frames WHERE dataset_id = :id"), values)
        for index in rows.all():
            info = await put(store, f"{prefix}{index:06}.jpg")
            values |= {"index": index, "key": info.key, "etag": info.etag, "size": info.size}
            query = "UPDATE frames SET key = :key, etag = :etag, size = :size WHERE dataset_id = :id AND index = :index"
            await connection.execute(text(query), values)
        keys = {name: render_object_key(render, name) for name in ("video.mp4", "poster.jpg", "receipt.ndjson")}
        for key in keys.values():
            await put(store, key)
        digest = sha256_hex(BYTES)
        query = """UPDATE renders SET status = 'succeeded', video_key = :video, video_sha256 = :digest,
            poster_key = :poster, receipt_key = :receipt, digests = CAST(:digests AS jsonb)"""
        digests = {name: digest for name in keys if name != "video.mp4"}
        values = {"video": keys["video.mp4"], "poster": keys["poster.jpg"], "receipt": keys["receipt.ndjson"]}
        await connection.execute(text(query), values | {"digest": digest, "digests": json.dumps(digests)})
        query = "INSERT INTO webhook_secrets (id, subject, key) VALUES (gen_random_uuid(), E'tab\\tand\\\\', :key)"
        await connection.execute(text(query), {"key": bytes(range(32))})
        query = """INSERT INTO attempts (task_id, render_id, kind, code, reason, counted)
            SELECT gen_random_uuid(), :render, 'segment', 'x', 'y', true FROM generate_series(1, 3)"""
        await connection.execute(text(query), {"render": render})
    await put(store, f"{prefix}not-scanned.jpg")
    return render


async def put(store: Store, key: str) -> Any:
    return await store.objects.put(ObjectRef(store.objects.bucket, key), BYTES, "image/jpeg")


async def all_rows(database: Database) -> dict[str, list[str]]:
    async with database.service_transaction() as connection:
        names = await connection.scalars(
            text("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace")
        )
        return {
            name: sorted(await connection.scalars(text(f"SELECT t::text FROM {name} t"))) for name in names.all()
        }


Restore = Callable[..., Awaitable[tuple[Store, Restored]]]


@pytest.fixture
async def restore(postgres_url: str, tmp_path: Path) -> Any:
    """Restore an archive into an empty database and an empty folder."""
    async with empty_database(postgres_url) as url:
        database = Database(url, DatabaseSettings())

        async def run(path: Path, bucket: str = "reelmill") -> tuple[Store, Restored]:
            objects = FileObjectStore(tmp_path / "restored", bucket)
            await objects.check()
            archive = Archive(path)
            try:
                assert list(archive.verify())[-1] < path.stat().st_size
                store = Store(database, objects)
                return store, await restore_backup(database, objects, archive, ignore_progress)
            finally:
                archive.close()

        yield run
        await database.close()


async def back_up(store: Store, path: Path, selection: Any = "own") -> CreatedBackup:
    return await create_backup(store.database, store.objects, path, selection, ignore_progress)


async def test_every_table_is_dumped_or_left_out_on_purpose(store: Store) -> None:
    rows = await all_rows(store.database)
    assert set(rows) == {*table_names(caches=True), *OF_PROCESSES, "alembic_version", "transitions"}


async def test_all_rows_and_objects_come_back(store: Store, restore: Restore, tmp_path: Path) -> None:
    await fill(store)
    before, keys = await all_rows(store.database), await store.keys()
    backup = await back_up(store, tmp_path / "backup.tar", "all")
    assert backup.left_out.count == 0 and (tmp_path / "backup.tar").stat().st_mode & 0o777 == 0o600
    restored, result = await restore(tmp_path / "backup.tar")
    assert await all_rows(restored.database) == before
    assert (result.changed_etags, result.left_out) == (0, LeftOut())
    assert await restored.keys() == keys and await is_current(restored.database.url)
    for key in keys:
        ref = ObjectRef("reelmill", key)
        assert await restored.objects.head(ref) == await store.objects.head(ref), "also its time and etag"
        assert await restored.objects.get(ref) == await store.objects.get(ref)
    async with restored.database.service_transaction() as connection:
        query = """INSERT INTO attempts (task_id, kind, code, reason, counted)
            VALUES (gen_random_uuid(), 'segment', 'x', 'y', true) RETURNING id"""
        assert await connection.scalar(text(query)) == 4, "the sequence goes on"
