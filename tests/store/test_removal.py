"""What only deleted rows used leaves the caches, also what is written late."""

from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.render_plan import Backend, ObjectRef
from service.store import removal
from service.store.cache import eviction, segments
from service.store.deletion import ResourceKind
from service.store.objects.keys import SEGMENT_RECEIPT, artifact_key, preview_prefix, render_object_key, segment_key
from service.store.objects.object_store import ObjectStoreError
from service.store.renders import lifecycle
from service.worker.maintenance import Maintenance
from service.worker.settings import WorkerSettings
from tests.support.data.database_rows import OPTIONS, add_dataset, add_render
from tests.support.data.removable_objects import DAY_S, Store, files, make

pytestmark = pytest.mark.anyio


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
        assert await lifecycle.replan_on_cpu_encoder(connection, render, "gone") == 3
    await store.run()
    assert (await store.keys(), await store.count("segment_cache")) == (set(), 0)


async def test_what_no_slot_can_write_is_removed_once(store: Store) -> None:
    _, render = await make(store)
    keys = await store.publish(render)
    await store.set_status("succeeded")
    await store.delete("render", render)
    assert await store.run() == len(files(keys))
    assert await store.count("removals") == 0


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
