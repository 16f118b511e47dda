"""A service with something of everything, to be backed up, and all its rows, to be compared."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import text

from service.plan.render_plan import ObjectRef
from service.store.backup.creation import CreatedBackup, create_backup
from service.store.database import Database
from service.store.objects.digests import sha256_hex
from service.store.objects.keys import render_object_key, upload_prefix
from tests.support.data.removable_objects import Store, make

FRAMES = 24
BYTES = b"some bytes of a file\n" * 9


def ignore_progress(_phase: str, _count: int) -> None:
    pass


async def fill(store: Store) -> UUID:
    """A finished render with its files, its frames uploaded, one upload that no scan has seen, and a secret."""
    dataset, render = await make(store, FRAMES)
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
        return {name: sorted(await connection.scalars(text(f"SELECT t::text FROM {name} t"))) for name in names.all()}


async def back_up(store: Store, path: Path, selection: Any = "own") -> CreatedBackup:
    return await create_backup(store.database, store.objects, path, selection, ignore_progress)
