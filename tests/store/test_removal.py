"""What only deleted rows used leaves the caches, whatever happens at the same moment."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import RenderId
from service.plan.render_plan import Backend, ObjectRef
from service.store import deletion, removal
from service.store.cache import eviction, segments
from service.store.cache.segments import CacheEntry
from service.store.catalog.datasets import DatasetRow
from service.store.database import Database
from service.store.deletion import ResourceKind
from service.store.objects.files import FileObjectStore
from service.store.objects.keys import SEGMENT_RECEIPT, artifact_key, preview_prefix, render_object_key, segment_key
from service.store.objects.object_store import ObjectStoreError
from service.store.renders import lifecycle
from service.worker.maintenance import Maintenance
from service.worker.settings import WorkerSettings
from tests.support.data.database_rows import OPTIONS, add_dataset, add_render
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
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


@pytest.fixture
async def store(postgres_url: str, tmp_path: Path) -> AsyncIterator[Store]:
    async with fresh_database(postgres_url) as database:
        objects = FileObjectStore(tmp_path, "reelmill")
        await objects.check()
        yield Store(database, objects)


async def make(store: Store, frames: int = 200, step: int = 1) -> tuple[DatasetRow, RenderId]:
    async with store.database.service_transaction() as connection:
        dataset = await add_dataset(connection, frames)
        return dataset, await add_render(connection, dataset, step)


def files(keys: list[str]) -> set[str]:
    return {name for key in keys for name in (segment_key(key), artifact_key(key, SEGMENT_RECEIPT))}


@pytest.mark.parametrize("kind", ["experiment", "dataset", "render"])
async def test_what_only_it_used_is_gone_after_one_round(store: Store, kind: ResourceKind) -> None:
    dataset, render = await make(store)
    _, other = await make(store)
    kept = set(await store.publish(other))
    keys = await store.publish(render)
    preview = f"{preview_prefix(dataset.id)}a.jpg"
    await store.put(preview, render_object_key(render, "video.mp4"), render_object_key(other, "video.mp4"))
    await store.set_status("succeeded")
    row = {"experiment": dataset.experiment_id, "dataset": dataset.id, "render": render}[kind]
    plan = await store.delete(kind, row)
    assert sum(entry.cached for entry in plan.segments) == len(keys) > 1
    maintenance = Maintenance(store.database, store.objects, WorkerSettings.model_construct())
    assert min(task.interval_s for task in maintenance.periodic_tasks() if task.name == "removal") <= 30
    await maintenance.delete_marked_objects()
    video = render_object_key(other, "video.mp4")
    assert await store.keys() == files(list(kept)) | {video} | ({preview} if kind == "render" else set())
    assert await store.count("segment_cache") == len(kept)


async def test_what_another_render_uses_stays(store: Store) -> None:
    dataset, render = await make(store)
    async with store.database.service_transaction() as connection:
        await add_render(connection, dataset)
    keys = await store.publish(render)
    await store.set_status("failed")
    assert all(row.shared for row in (await store.delete("render", render)).segments)
    await store.run()
    assert (await store.count("segment_cache"), await store.keys()) == (len(keys), files(keys))


async def test_two_renders_that_are_deleted_at_once_leave_nothing(store: Store) -> None:
    """Each deletion still sees the other's render, which uses the same segments."""
    dataset, first = await make(store)
    async with store.database.service_transaction() as connection:
        second = await add_render(connection, dataset)
    await store.publish(first)
    await store.set_status("succeeded")
    deleting = store.database.service_transaction()
    connection = await deleting.__aenter__()
    plan = await deletion.lock_for_deletion(connection, "render", first, "reelmill")
    other = asyncio.create_task(store.delete("render", second))
    await asyncio.wait((other,), timeout=0.5)
    await deletion.execute_deletion(connection, plan, force=True)
    await deleting.__aexit__(None, None, None)
    await other
    await store.run()
    assert (await store.count("segment_cache"), await store.keys()) == (0, set())


async def test_what_a_slot_writes_late_goes_too(store: Store) -> None:
    """Its worker wrote no cache entry: the lease was lost. Rounds before found nothing. A machine may be frozen long."""
    dataset, render = await make(store)
    await store.start_tasks()
    await store.delete("dataset", dataset.id)
    await store.run()
    async with store.database.service_transaction() as connection:
        scheduled = list(await connection.scalars(text("SELECT prefix FROM removals WHERE prefix LIKE 'segments/%'")))
    for seconds in (35, 35, 3600, 12 * 3600):
        await store.wait(seconds)
        await store.put(*(f"{prefix}mp4" for prefix in scheduled), f"{preview_prefix(dataset.id)}a.jpg")
        await store.put(render_object_key(render, "video.mp4"))
        await store.run()
        assert await store.keys() == set(), seconds
    await store.wait(DAY_S)
    await store.run()
    assert await store.count("removals") == 0


@pytest.mark.parametrize("late", [False, True])
async def test_a_key_that_another_one_replaces_is_removed(store: Store, late: bool) -> None:
    """The row names the key of its plan, then that of a transient segment, then that of its plan again, each time without
    an entry: they were damaged. What a second attempt replaces, the first may still write."""
    _, render = await make(store, frames=10)
    (key,) = await store.publish(render, cached=False)
    if late:
        async with store.database.service_transaction() as connection:
            await connection.execute(text("UPDATE tasks SET lease = 2"))
    for old, new in ((key, "f" * 64), ("f" * 64, "e" * 64), ("e" * 64, key)):
        async with store.database.service_transaction() as connection:
            await segments.set_result(connection, render, 0, new, transient=new != key)
        await store.put(*files([new]))
        await store.run()
        assert await store.keys() == files([new])
        await store.put(*files([old]))
        await store.wait(35)
        await store.run()
        assert await store.keys() == files([new] if late else [old, new])
        await store.objects.delete(ObjectRef("reelmill", segment_key(old)))
        await store.objects.delete(ObjectRef("reelmill", artifact_key(old, SEGMENT_RECEIPT)))
    await store.wait(DAY_S)
    await store.run()
    assert (await store.keys(), await store.count("removals")) == (files([key]), 0)


async def test_a_replaced_key_that_another_render_uses_stays(store: Store) -> None:
    dataset, render = await make(store, frames=10)
    async with store.database.service_transaction() as connection:
        await add_render(connection, dataset)
    keys = await store.publish(render)
    async with store.database.service_transaction() as connection:
        await segments.set_result(connection, render, 0, "f" * 64, transient=True)
    await store.set_status("succeeded")
    await store.run()
    assert (await store.keys(), await store.count("segment_cache")) == (files(keys), 1)


async def test_what_a_gpu_encoded_is_removed_when_its_render_is_planned_anew(store: Store) -> None:
    async with store.database.service_transaction() as connection:
        dataset = await add_dataset(connection, 200)
        render = await add_render(connection, dataset, options=replace(OPTIONS, family=Backend(encoder="nvenc")))
    await store.publish(render)
    async with store.database.service_transaction() as connection:
        assert len(await lifecycle.replan_on_cpu_encoder(connection, render, "gone")) == 3
    await store.run()
    assert (await store.keys(), await store.count("segment_cache")) == (set(), 0)


async def test_what_no_slot_can_write_is_removed_once(store: Store) -> None:
    _, render = await make(store)
    keys = await store.publish(render)
    await store.set_status("succeeded")
    await store.delete("render", render)
    assert await store.run() == len(files(keys))
    assert await store.count("removals") == 0


@pytest.mark.parametrize("cached", [True, False])
async def test_a_render_that_is_submitted_during_the_deletion_keeps_its_segments(store: Store, cached: bool) -> None:
    """It has reused them, or is about to render them, but has not committed while the deletion and a round run."""
    dataset, render = await make(store)
    keys = await store.publish(render) if cached else []
    await store.start_tasks()
    submitting = store.database.service_transaction()
    connection = await submitting.__aenter__()
    await add_render(connection, dataset)
    await store.delete("render", render)
    await store.run()
    await submitting.__aexit__(None, None, None)
    if not cached:
        await store.wait(35)
        keys = await store.publish(await newest_render(store), cached=False)
        await store.run()
        assert await store.keys() == files(keys), "its worker is about to note them"
        await store.publish(await newest_render(store))
    for seconds in (35, 35, 3600, DAY_S):
        await store.wait(seconds)
        await store.run()
    assert await store.keys() == files(keys)
    assert (await store.count("segment_cache"), await store.count("removals")) == (len(keys), 0)


async def test_a_submission_that_fails_during_the_deletion_keeps_nothing(store: Store) -> None:
    dataset, render = await make(store)
    keys = await store.publish(render)
    submitting = store.database.service_transaction()
    connection = await submitting.__aenter__()
    await add_render(connection, dataset)
    await store.delete("render", render)
    await store.run()
    assert await store.keys("segments/") == files(keys), "its entries are locked"
    await connection.rollback()
    await submitting.__aexit__(None, None, None)
    await store.wait(35)
    await store.run()
    assert (await store.count("segment_cache"), await store.keys("segments/")) == (0, set())


async def test_a_render_between_deletion_and_removal_reuses(store: Store) -> None:
    dataset, render = await make(store)
    keys = await store.publish(render)
    await store.set_status("succeeded")
    await store.delete("render", render)
    async with store.database.service_transaction() as connection:
        await add_render(connection, dataset)
        reused = await connection.scalar(text("SELECT bool_and(reused) FROM segments"))
    await store.run()
    assert reused and await store.keys("segments/") == files(keys)


async def test_submissions_and_deletions_at_random_moments(store: Store) -> None:
    """In the end each cached segment has its objects and a render, and nothing else is left."""
    async with store.database.service_transaction() as connection:
        dataset = await add_dataset(connection, 120)

    async def submit_and_delete(number: int) -> None:
        async with store.database.service_transaction() as connection:
            render = await add_render(connection, dataset, step=1 + number % 2)
        await store.publish(render)
        if number % 5:
            await store.delete("render", render)

    async def rounds() -> None:
        for _ in range(10):
            await store.run()
            await store.wait(35)

    await asyncio.gather(*(submit_and_delete(number) for number in range(24)), rounds())
    await store.set_status("succeeded")
    for seconds in (35, 3600, DAY_S):
        await store.wait(seconds)
        await store.run()
    async with store.database.service_transaction() as connection:
        cached = list(await connection.scalars(text("SELECT content_key FROM segment_cache")))
        planned = set(await connection.scalars(text("SELECT content_key FROM segments")))
    assert set(cached) <= planned and await store.keys("segments/") >= files(cached)
    assert await store.count("removals") == 0


async def newest_render(store: Store) -> UUID:
    async with store.database.service_transaction() as connection:
        return UUID(str(await connection.scalar(text("SELECT id FROM renders ORDER BY created_at DESC LIMIT 1"))))


async def schedule(connection: AsyncConnection, *prefixes: str, bucket: str = "reelmill") -> None:
    for prefix in prefixes:
        query = text("INSERT INTO removals (bucket, prefix) VALUES (:bucket, :prefix)")
        await connection.execute(query, {"bucket": bucket, "prefix": prefix})


async def test_a_prefix_that_fails_does_not_hold_up_the_others(store: Store) -> None:
    prefixes = [f"renders/{UUID(int=number)}/" for number in range(250)]
    await store.put(*(f"{prefix}video.mp4" for prefix in prefixes))
    async with store.database.service_transaction() as connection:
        await schedule(connection, prefixes[0], bucket="away")
        await schedule(connection, *prefixes)
    with pytest.raises(ObjectStoreError, match="away"):
        await store.run()
    assert (await store.keys(), await store.count("removals")) == (set(), 1)
    await store.wait(35)
    with pytest.raises(ObjectStoreError, match="away"):
        await store.run()


async def test_many_uploads_go_in_shares(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "OBJECTS_PER_TRANSACTION", 7)
    areas = [f"frames/{UUID(int=number)}/" for number in range(2)]
    await store.put(*(f"{area}{number}.jpg" for area in areas for number in range(20)), "frames/x.jpg")
    async with store.database.service_transaction() as connection:
        await schedule(connection, *areas, f"renders/{UUID(int=1)}/")
    assert await store.run() == 40
    assert (await store.keys(), await store.count("removals")) == ({"frames/x.jpg"}, 0)


async def test_cached_segments_without_a_render_are_found(store: Store) -> None:
    """As earlier versions left them when a render was deleted."""
    _, render = await make(store)
    _, other = await make(store)
    keys, kept = await store.publish(render), await store.publish(other)
    async with store.database.service_transaction() as connection:
        await connection.execute(text("DELETE FROM renders WHERE id = :id"), {"id": render})
        assert await eviction.remove_unused_segments(connection, "reelmill") == len(keys)
    await store.run()
    assert (await store.keys(), await store.count("segment_cache")) == (files(kept), len(kept))


KILLED = """
import asyncio, os, pathlib, signal, sys
from service.store import removal
from service.store.database import Database
from service.store.objects.files import FileObjectStore
from service.store.settings import DatabaseSettings

class Killed(FileObjectStore):
    count = 0
    async def delete(self, ref):
        await super().delete(ref)
        Killed.count += 1
        if Killed.count == 5:
            os.kill(os.getpid(), signal.SIGKILL)

objects = Killed(pathlib.Path(sys.argv[1]), "reelmill")
asyncio.run(removal.delete_due_objects(Database(os.environ["URL"], DatabaseSettings()), objects))
"""


async def test_a_process_that_is_killed_between_rows_and_objects_is_followed_up(store: Store) -> None:
    _, render = await make(store, 2000)
    await store.publish(render)
    await store.set_status("succeeded")
    await store.delete("render", render)
    before = await store.keys()
    command = [sys.executable, "-c", KILLED, str(store.objects.root)]
    ended = await asyncio.to_thread(subprocess.run, command, env=os.environ | {"URL": store.database.url}, check=False)
    left = await store.keys()
    assert ended.returncode == -9 and left and left < before
    async with asyncio.timeout(10):
        while await store.keys():  # the server lets go of the dead process's locks when it notices
            await store.run()
    assert (await store.count("removals"), await store.count("segment_cache")) == (0, 0)
