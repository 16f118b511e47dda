"""Removing the objects of what was deleted: by any worker, until the store has done it."""

import asyncio

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.render_plan import ObjectRef
from service.store.database import Database
from service.store.objects import ObjectInfo, ObjectStore

AT_ONCE = 20
TAKE = text(f"""
    SELECT bucket, prefix FROM removals WHERE due_at <= now() ORDER BY due_at LIMIT {AT_ONCE} FOR UPDATE SKIP LOCKED
""")
DONE = text("DELETE FROM removals WHERE bucket = :bucket AND prefix = :prefix")


async def sweep(database: Database, objects: ObjectStore) -> int:
    """Remove all that is due; returns how many objects that were. Raises ObjectStoreError: the rest stays marked."""
    removed = 0
    while True:
        async with database.service() as connection:
            taken = (await connection.execute(TAKE)).all()
            for row in taken:
                removed += await _remove(connection, objects, row.bucket, row.prefix)
        if len(taken) < AT_ONCE:
            return removed


async def _remove(connection: AsyncConnection, objects: ObjectStore, bucket: str, prefix: str) -> int:
    count = 0
    async for page in objects.list(bucket, prefix):
        await _delete(objects, bucket, page)
        count += len(page)
    await connection.execute(DONE, {"bucket": bucket, "prefix": prefix})
    return count


async def _delete(objects: ObjectStore, bucket: str, page: list[ObjectInfo]) -> None:
    gate = asyncio.Semaphore(16)

    async def one(key: str) -> None:
        async with gate:
            await objects.delete(ObjectRef(bucket, key))

    await asyncio.gather(*(one(info.key) for info in page))
