"""Removing the objects of what was deleted: by any worker, until the store has done it."""

import asyncio

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.render_plan import ObjectRef
from service.store.database import Database
from service.store.objects import ObjectInfo, ObjectStore

REMOVALS_PER_TRANSACTION = 20
SELECT_DUE_REMOVALS = text(f"""
    SELECT bucket, prefix FROM removals WHERE due_at <= now() ORDER BY due_at LIMIT {REMOVALS_PER_TRANSACTION}
    FOR UPDATE SKIP LOCKED
""")
DELETE_REMOVAL = text("DELETE FROM removals WHERE bucket = :bucket AND prefix = :prefix")


async def delete_due_objects(database: Database, objects: ObjectStore) -> int:
    """Remove all that is due; returns how many objects that were. Raises ObjectStoreError: the rest stays marked."""
    removed = 0
    while True:
        async with database.service_transaction() as connection:
            taken = (await connection.execute(SELECT_DUE_REMOVALS)).all()
            for row in taken:
                removed += await _delete_prefix(connection, objects, row.bucket, row.prefix)
        if len(taken) < REMOVALS_PER_TRANSACTION:
            return removed


async def _delete_prefix(connection: AsyncConnection, objects: ObjectStore, bucket: str, prefix: str) -> int:
    count = 0
    async for page in objects.list(bucket, prefix):
        await _delete_objects(objects, bucket, page)
        count += len(page)
    await connection.execute(DELETE_REMOVAL, {"bucket": bucket, "prefix": prefix})
    return count


async def _delete_objects(objects: ObjectStore, bucket: str, page: list[ObjectInfo]) -> None:
    gate = asyncio.Semaphore(16)

    async def one(key: str) -> None:
        async with gate:
            await objects.delete(ObjectRef(bucket, key))

    await asyncio.gather(*(one(info.key) for info in page))
