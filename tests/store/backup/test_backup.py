"""A backup has all rows as of one moment and the objects that they name, and all of it comes back or nothing."""

import json
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from service.jobs import queue
from service.plan.render_plan import ObjectRef
from service.store.backup.archive import Archive, ArchiveWriter, BackupError, Manifest
from service.store.backup.objects import LeftOut
from service.store.backup.tables import (
    OF_CACHES,
    OF_PROCESSES,
    dump_tables,
    open_snapshot,
    require_known_schema,
    table_names,
)
from service.store.database import Database
from service.store.objects.files import FileObjectStore
from service.store.schema import is_current, migration_transaction, newest_revision, upgrade
from service.store.settings import DatabaseSettings
from tests.store.backup.conftest import Restore
from tests.store.test_schema import IN_FLIGHT
from tests.support.data.backups import BYTES, all_rows, back_up, fill
from tests.support.data.removable_objects import Store
from tests.support.servers.databases import empty_database, until_workers_can_be_lost

pytestmark = pytest.mark.anyio
# A deletion that keeps the uploads that are older than it.
KEEP_UPLOADS = """INSERT INTO removals (bucket, prefix, modified_after)
    VALUES ('reelmill', 'frames/' || gen_random_uuid() || '/', now())"""
# As the migrations leave them.
NO_PROCESSES: dict[str, list[str]] = {name: [] for name in OF_PROCESSES}
NO_PROCESSES |= {"consistency_checks": ["(bucket,0,-infinity,{},,)"]}


async def test_every_table_is_dumped_or_left_out_on_purpose(store: Store) -> None:
    rows = await all_rows(store.database)
    assert set(rows) == {*table_names(caches=True), *OF_PROCESSES, "alembic_version", "transitions"}


async def test_all_rows_and_objects_come_back(store: Store, target: Store, restore: Restore, tmp_path: Path) -> None:
    await fill(store.database, store.objects)
    before, keys = await all_rows(store.database) | NO_PROCESSES, await store.keys()
    backup = await back_up(store, tmp_path / "backup.tar", "all")
    assert backup.left_out.count == 0 and (tmp_path / "backup.tar").stat().st_mode & 0o777 == 0o600
    with tarfile.open(tmp_path / "backup.tar") as tar:
        assert {f"objects/{key}" for key in keys} | {"manifest.json", "sha256"} <= set(tar.getnames())
    restored = await restore(tmp_path / "backup.tar")
    assert await all_rows(target.database) == before
    assert (restored.changed_etags, restored.left_out) == (0, LeftOut())
    assert await target.keys() == keys and await is_current(target.database.url)
    for key in keys:
        ref = ObjectRef("reelmill", key)
        assert await target.objects.head(ref) == await store.objects.head(ref), "also its time and etag"
        assert await target.objects.get(ref) == await store.objects.get(ref)
    async with target.database.service_transaction() as connection:
        query = """INSERT INTO attempts (task_id, kind, code, reason, counted)
            VALUES (gen_random_uuid(), 'segment', 'x', 'y', true) RETURNING id"""
        assert await connection.scalar(text(query)) == 4, "the sequence goes on"


async def test_caches_are_left_out_with_their_rows(
    store: Store, target: Store, restore: Restore, tmp_path: Path
) -> None:
    await fill(store.database, store.objects)
    before, keys = await all_rows(store.database) | NO_PROCESSES, await store.keys()
    await back_up(store, tmp_path / "backup.tar")
    await restore(tmp_path / "backup.tar")
    assert await all_rows(target.database) == before | {name: [] for name in OF_CACHES}
    assert await target.keys() == {key for key in keys if not key.startswith("segments/")} != keys


async def test_rows_are_as_of_one_moment(store: Store, tmp_path: Path) -> None:
    await fill(store.database, store.objects)
    manifest = Manifest("1", "", "now", "reelmill", "own")
    with ArchiveWriter(tmp_path / "backup.tar") as archive:
        async with open_snapshot(store.database) as snapshot:
            async with store.database.service_transaction() as connection:
                await connection.execute(text("DELETE FROM experiments"))
            await dump_tables(snapshot, archive, manifest, table_names(caches=True))
    assert all(manifest.tables[name].rows for name in ("experiments", "frames", "renders", "segments", "tasks"))


async def test_a_user_who_does_not_see_all_rows_makes_no_backup(store: Store, tmp_path: Path) -> None:
    await fill(store.database, store.objects)
    async with store.database.service_transaction() as connection:
        await connection.execute(text("CREATE ROLE backup_reader LOGIN PASSWORD 'reader'"))
        await connection.execute(text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO backup_reader"))
    url = make_url(store.database.url).set(username="backup_reader", password="reader")
    reader = Database(url.render_as_string(hide_password=False), DatabaseSettings())
    try:
        with pytest.raises(BackupError, match="row-level security"):
            await back_up(Store(reader, store.objects), tmp_path / "backup.tar")
    finally:
        await reader.close()
        async with store.database.service_transaction() as connection:
            await connection.execute(text("DROP OWNED BY backup_reader"))
            await connection.execute(text("DROP ROLE backup_reader"))
    assert not list(tmp_path.glob("*.tar*")) and not list(tmp_path.glob(".*.partial"))


async def test_objects_that_are_gone_or_damaged_are_told(store: Store, tmp_path: Path) -> None:
    render = await fill(store.database, store.objects)
    gone = sorted(await store.keys("frames/"))[7]
    store.objects.path(ObjectRef("reelmill", gone)).unlink()
    damaged = f"renders/{render}/poster.jpg"
    store.objects.path(ObjectRef("reelmill", damaged)).write_bytes(BYTES[::-1])
    backup = await back_up(store, tmp_path / "backup.tar")
    assert backup.left_out == LeftOut(
        2, [f"{gone}: it is not in the bucket", f"{damaged}: it has other bytes than were written"]
    )


async def test_a_damaged_archive_is_refused(store: Store, target: Store, restore: Restore, tmp_path: Path) -> None:
    """Whatever byte of it is another one, and wherever it is cut."""
    await fill(store.database, store.objects)
    path, broken = tmp_path / "backup.tar", tmp_path / "broken.tar"
    await back_up(store, path)
    data = path.read_bytes()
    places = [*range(0, len(data), len(data) // 40), *range(len(data) - 3000, len(data), 137), len(data) - 1]
    for place in places:
        broken.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(BackupError, match=r"damaged|newer"):
            await restore(broken)
        broken.write_bytes(data[:place])
        with pytest.raises(BackupError, match=r"cut|damaged"):
            await restore(broken)
    assert not await target.keys() and "experiments" not in await all_rows(target.database)


async def test_a_database_or_bucket_in_use_is_refused(
    store: Store, target: Store, restore: Restore, tmp_path: Path
) -> None:
    await fill(store.database, store.objects)
    path = tmp_path / "backup.tar"
    await back_up(store, path)
    with pytest.raises(BackupError, match="exists already"):
        await back_up(store, path)
    keys = await store.keys()
    with pytest.raises(BackupError, match="the bucket reelmill has objects already"):
        await restore(path, store.objects)
    assert await store.keys() == keys
    await restore(path)
    keys = await target.keys()
    with pytest.raises(BackupError, match="the database has Reelmill's table alembic_version already"):
        await restore(path, FileObjectStore(tmp_path / "another", "reelmill"))
    assert await target.keys() == keys


@pytest.mark.parametrize("newer", [{"format": 2}, {"schema": "9999"}])
async def test_a_newer_backup_is_refused_by_name(tmp_path: Path, newer: dict[str, object]) -> None:
    manifest = Manifest(
        **{"version": "77.7", "schema": newest_revision(), "created_at": "now"} | newer, bucket="b", objects="own"
    )  # type: ignore[arg-type]
    with ArchiveWriter(tmp_path / "backup.tar") as archive:
        archive.finish(manifest)
    with pytest.raises(BackupError, match=r"made by Reelmill 77\.7.*restore it with that version or a newer one"):
        require_known_schema(Archive(tmp_path / "backup.tar").manifest)


async def test_an_older_backup_is_upgraded_and_its_work_goes_on(
    postgres_url: str, target: Store, restore: Restore, tmp_path: Path
) -> None:
    manifest = Manifest("0.1", "", "now", "reelmill", "own")
    async with empty_database(postgres_url) as url:
        async with migration_transaction(url) as connection:
            await upgrade(connection, "0014")
            for statement in IN_FLIGHT[2:]:
                await connection.execute(text(statement), {"id": "00000000-0000-0000-0000-000000000007"})
        database = Database(url, DatabaseSettings())
        with ArchiveWriter(tmp_path / "backup.tar") as archive:
            async with open_snapshot(database) as snapshot:
                since = {"attempts", "upload_areas", "upload_reservations", "presets", "render_presets"}
                since |= {"schedules", "schedule_runs", "follows", "render_panels"}
                names = [name for name in table_names(caches=False) if name not in since]
                await dump_tables(snapshot, archive, manifest, names)
            archive.finish(manifest)
        await database.close()
    await restore(tmp_path / "backup.tar")
    assert manifest.schema == "0014" and await is_current(target.database.url)
    await until_workers_can_be_lost(target.database)
    async with target.database.service_transaction() as connection:
        assert (await queue.release_lost_tasks(connection)).total() == 1
        owners = await connection.scalars(text("SELECT DISTINCT owner FROM tasks WHERE state = 'queued'"))
        assert set(owners) == {"", "alice", "carol"}


async def test_what_fails_leaves_nothing(store: Store, target: Store, restore: Restore, tmp_path: Path) -> None:
    """The rows are the last: a manifest with another count is only noticed when all objects are there."""
    await fill(store.database, store.objects)
    await back_up(store, tmp_path / "backup.tar")
    with ArchiveWriter(tmp_path / "wrong.tar") as archive:
        whole = Archive(tmp_path / "backup.tar")
        archive.add("copy", b"")
        whole.manifest.tables["webhook_secrets"].rows += 1
        for content in whole.manifest.tables.values():
            content.parts = [archive.add_part("t", whole.read_part(span)) for span in content.parts]
        entries = [entry for part in whole.index() for entry in part]
        for entry in entries:
            entry["start"] = archive.add("o", BYTES).start
        lines = "\n".join(json.dumps(entry) for entry in entries)
        whole.manifest.index = [archive.add_part("i", lines.encode())]
        archive.finish(whole.manifest)
    with pytest.raises(BackupError, match="webhook_secrets has 2 rows in the manifest, and 1 in the backup"):
        await restore(tmp_path / "wrong.tar")
    assert not await target.keys() and await all_rows(target.database) == {}


async def test_another_bucket_gets_other_names_and_etags(
    store: Store, target: Store, restore: Restore, tmp_path: Path
) -> None:
    """Without bytes the objects are brought by other means, which change their etags."""
    await fill(store.database, store.objects)
    async with store.database.service_transaction() as connection:
        await connection.execute(text(KEEP_UPLOADS))
    keys = await store.keys()
    backup = await back_up(store, tmp_path / "backup.tar", "none")
    assert (backup.manifest.object_count, backup.left_out.count) == (len([k for k in keys if "segments/" not in k]), 0)
    objects = FileObjectStore(tmp_path / "mirror", "other")
    await objects.check()
    lost, cut = sorted(keys)[3], sorted(keys)[5]
    for key in keys - {lost}:
        await objects.put(ObjectRef("other", key), b"" if key == cut else BYTES, "image/jpeg")
    restored = await restore(tmp_path / "backup.tar", objects)
    reasons = ["it is not in the bucket", f"it has 0 bytes instead of {len(BYTES)}"]
    assert restored.left_out.examples == [f"{key}: {why}" for key, why in zip((lost, cut), reasons, strict=True)]
    async with target.database.service_transaction() as connection:
        for table in ("datasets", "removals"):
            buckets = await connection.scalars(text(f"SELECT bucket FROM {table}"))
            assert list(buckets) == ["other"], table
        frames = await connection.execute(text("SELECT key, etag FROM frames"))
        planned = await connection.execute(
            text("SELECT f ->> 1, f ->> 2 FROM segments, jsonb_array_elements(frames) f")
        )
        for rows in (frames.all(), planned.all()):
            assert rows
            for key, etag in rows:
                if key not in (lost, cut):
                    assert (await objects.head(ObjectRef("other", key))).etag == etag
    assert restored.changed_etags == backup.manifest.object_count - 2


async def test_memory_does_not_grow_with_the_size(
    store: Store, target: Store, restore: Restore, tmp_path: Path
) -> None:
    await fill(store.database, store.objects)
    key, size = "frames/large.bin", 64 * 1024 * 1024
    with (tmp_path / "large").open("wb") as file:
        file.truncate(size)
    await store.objects.put_file(ObjectRef("reelmill", key), tmp_path / "large", "video/mp4")
    query = """INSERT INTO query_audit (id, subject, document, outcome, elapsed_ms)
        SELECT gen_random_uuid(), 's', jsonb_build_object('x', repeat('0123456789', 100000)), 'answered', 1
        FROM generate_series(1, 64)"""
    async with store.database.service_transaction() as connection:
        await connection.execute(text(query))
    tracemalloc.start()
    try:
        await back_up(store, tmp_path / "backup.tar")
        await restore(tmp_path / "backup.tar")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (await target.objects.head(ObjectRef("reelmill", key))).size == size
    assert peak < size / 2  # alone 10 MiB; what other tests left in the process is seen here too
