"""Renders with objects whose removal is tested, and clocks that are put forward."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from service.ids import RenderId
from service.plan.render_plan import ObjectRef
from service.store import deletion, removal
from service.store.cache import segments
from service.store.cache.segments import CacheEntry
from service.store.catalog.datasets import DatasetRow
from service.store.database import Database
from service.store.deletion import ResourceKind
from service.store.objects.files import FileObjectStore
from service.store.objects.keys import SEGMENT_RECEIPT, artifact_key, segment_key
from tests.support.data.database_rows import add_dataset, add_render

DAY_S = int(deletion.LATE_WRITES.total_seconds())


@dataclass(frozen=True)
class Store:
    """A database and a folder of objects."""

    database: Database
    objects: FileObjectStore

    async def put(self, *keys: str) -> None:
        for key in keys:
            await self.objects.put(ObjectRef("reelmill", key), b"x", "video/mp4")

    async def keys(self, prefix: str = "") -> set[str]:
        return {info.key async for page in self.objects.list("reelmill", prefix) for info in page}

    async def publish(self, render: UUID, *, cached: bool = True) -> list[str]:
        """The content keys of the render, whose segments a slot has published; `cached`: and the worker noted."""
        async with self.database.service_transaction() as connection:
            keys = [each.content_key for each in await segments.list_render_segments(connection, render)]
            for key in keys if cached else ():
                await segments.insert_entry(connection, CacheEntry(key, segment_key(key), 1, 12, "x264", {}))
        await self.put(*files(keys))
        return keys

    async def set_status(self, status: str) -> None:
        """Of all renders, which ended an hour ago."""
        async with self.database.service_transaction() as connection:
            query = "UPDATE renders SET status = :status, finished_at = now() - interval '1 hour'"
            await connection.execute(text(query), {"status": status})

    async def start_tasks(self) -> None:
        """Slots are at work on every task."""
        async with self.database.service_transaction() as connection:
            await connection.execute(text("UPDATE tasks SET state = 'running'"))

    async def delete(self, kind: ResourceKind, row: UUID) -> deletion.DeletionPlan:
        async with self.database.service_transaction() as connection:
            plan = await deletion.lock_for_deletion(connection, kind, row, "reelmill")
            await deletion.execute_deletion(connection, plan, force=True)
        return plan

    async def run(self) -> int:
        return await removal.delete_due_objects(self.database, self.objects)

    async def wait(self, seconds: int) -> None:
        """As if this time had passed."""
        async with self.database.service_transaction() as connection:
            for column in ("due_at", "repeat_until", "scheduled_at"):
                query = f"UPDATE removals SET {column} = {column} - make_interval(secs => {seconds})"
                await connection.execute(text(query))

    async def count(self, table: str) -> int:
        async with self.database.service_transaction() as connection:
            return int(await connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0)


async def make(store: Store, frames: int = 200, step: int = 1) -> tuple[DatasetRow, RenderId]:
    async with store.database.service_transaction() as connection:
        dataset = await add_dataset(connection, frames)
        return dataset, await add_render(connection, dataset, step)


def files(keys: list[str]) -> set[str]:
    return {name for key in keys for name in (segment_key(key), artifact_key(key, SEGMENT_RECEIPT))}


async def newest_render(store: Store) -> UUID:
    async with store.database.service_transaction() as connection:
        return UUID(str(await connection.scalar(text("SELECT id FROM renders ORDER BY created_at DESC LIMIT 1"))))
