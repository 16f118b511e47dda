"""A service with something of everything, to be backed up, and all its rows, to be compared."""

import json
from pathlib import Path
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.render_plan import ObjectRef
from service.store.backup.creation import CreatedBackup, create_backup
from service.store.backup.objects import Selection
from service.store.cache import segments
from service.store.cache.segments import CacheEntry
from service.store.catalog.datasets import DatasetRow
from service.store.database import Database
from service.store.objects.digests import sha256_hex
from service.store.objects.keys import render_object_key, segment_key
from service.store.objects.object_store import ObjectInfo, ObjectStore
from tests.support.data.database_rows import add_dataset, add_render
from tests.support.data.removable_objects import Store

FRAMES = 24
BYTES = b"some bytes of a file\n" * 9
FILES = {"video_key": "video.mp4", "poster_key": "poster.jpg", "receipt_key": "receipt.ndjson"}
NOTE_ETAG = "UPDATE frames SET etag = :etag, size = :size WHERE key = :key"
PUBLISH = """UPDATE renders SET status = 'succeeded', video_sha256 = :sha256, digests = CAST(:digests AS jsonb),
    video_key = :video_key, poster_key = :poster_key, receipt_key = :receipt_key"""
MORE_ROWS = (
    """INSERT INTO webhook_secrets (id, subject, key)
        VALUES (gen_random_uuid(), E'a tab\\t, a line\\n, \\\\ and é', sha256('x'))""",
    """INSERT INTO attempts (task_id, render_id, kind, code, reason, counted)
        SELECT gen_random_uuid(), id, 'segment', 'x', 'y', true FROM renders, generate_series(1, 3)""",
    """INSERT INTO presets (id, name, owner, options)
        VALUES (gen_random_uuid(), E'a tab\\t and é', 'alice', '{"fps": 30}')""",
    """INSERT INTO render_presets (render_id, preset_id, subject, name)
        SELECT r.id, p.id, 'alice', p.name FROM renders r, presets p""",
    """INSERT INTO schedules (id, experiment_id, owner, name, request, cron, zone, planned_until)
        SELECT id, id, 'alice', 's', '{"fps": 30}', '* * * * *', 'UTC', now() FROM experiments""",
    """INSERT INTO schedule_runs (id, schedule_id, number, planned_at, state, render_id)
        SELECT gen_random_uuid(), id, 1, now(), 'submitted', gen_random_uuid() FROM schedules""",
    "INSERT INTO removals (bucket, prefix) VALUES ('reelmill', 'renders/' || gen_random_uuid() || '/')",
    "INSERT INTO workers (id, name, slots, version) VALUES (gen_random_uuid(), 'w', 1, '1')",
)


async def fill(database: Database, objects: ObjectStore) -> UUID:
    """A finished render with its files, its frames uploaded, one upload that no scan has seen, and a secret."""
    async with database.service_transaction() as connection:
        dataset = await add_dataset(connection, FRAMES)
        for key in (await connection.scalars(text("SELECT key FROM frames"))).all():
            info = await put(objects, key)
            await connection.execute(text(NOTE_ETAG), {"etag": info.etag, "size": info.size, "key": key})
        render = await _add_finished_render(connection, objects, dataset)
        for statement in MORE_ROWS:
            await connection.exec_driver_sql(statement)
    await put(objects, f"{dataset.prefix}not-scanned.jpg")
    return render


async def _add_finished_render(connection: AsyncConnection, objects: ObjectStore, dataset: DatasetRow) -> UUID:
    render = await add_render(connection, dataset)
    for segment in await segments.list_render_segments(connection, render):
        key = segment_key(segment.content_key)
        await segments.insert_entry(connection, CacheEntry(segment.content_key, key, 1, FRAMES, "x264", {}))
        await put(objects, key)
    keys = {column: render_object_key(render, name) for column, name in FILES.items()}
    for key in keys.values():
        await put(objects, key)
    sha256 = sha256_hex(BYTES)
    digests = {name: sha256 for column, name in FILES.items() if column != "video_key"}
    await connection.execute(text(PUBLISH), keys | {"sha256": sha256, "digests": json.dumps(digests)})
    return render


async def put(objects: ObjectStore, key: str) -> ObjectInfo:
    return await objects.put(ObjectRef(objects.bucket, key), BYTES, "image/jpeg")


async def all_rows(database: Database) -> dict[str, list[str]]:
    """The rows of each table, as text."""
    async with database.service_transaction() as connection:
        names = await connection.scalars(
            text("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace")
        )
        return {name: sorted(await connection.scalars(text(f"SELECT t::text FROM {name} t"))) for name in names.all()}


def ignore_progress(_phase: str, _count: int) -> None:
    pass


async def back_up(store: Store, path: Path, selection: Selection = "own") -> CreatedBackup:
    return await create_backup(store.database, store.objects, path, selection, ignore_progress)
