"""The segment cache stays within its limits, and nothing that is in use is evicted."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.render_plan import ObjectRef
from service.store import removal
from service.store.cache import eviction, segments
from service.store.cache.eviction import PROTECTED_MINUTES, EvictionResult
from service.store.cache.segments import CacheEntry
from service.store.database import Database
from service.store.objects.files import FileObjectStore
from service.store.objects.keys import SEGMENT_RECEIPT, artifact_key, segment_key
from service.store.renders import lifecycle
from tests.support.data.database_rows import add_dataset, add_render
from tests.support.servers.databases import fresh_database, until_waiting

pytestmark = pytest.mark.anyio
SIZE = 1000


async def make(connection: AsyncConnection, frames: int, status: str = "succeeded") -> tuple[Any, list[str]]:
    """A render whose segments are all cached and no longer protected; its content keys in order."""
    dataset = await add_dataset(connection, frames)
    render = await add_render(connection, dataset)
    keys = [each.content_key for each in await segments.list_render_segments(connection, render)]
    for key in keys:
        await segments.insert_entry(connection, CacheEntry(key, segment_key(key), SIZE, 12, "x264", {"encode": 1.0}))
    await age(connection, keys, PROTECTED_MINUTES + 5)
    await connection.execute(
        text("UPDATE renders SET status = :status WHERE id = :id"), {"status": status, "id": render}
    )
    return render, keys


async def age(connection: AsyncConnection, keys: list[str], minutes: float) -> None:
    """Set the time since the last use: the later in the list, the longer ago."""
    query = text("UPDATE segment_cache SET used_at = now() - make_interval(secs => :seconds) WHERE content_key = :key")
    for place, key in enumerate(keys):
        await connection.execute(query, {"key": key, "seconds": minutes * 60 + place})


async def list_cached_keys(connection: AsyncConnection) -> set[str]:
    return set(await connection.scalars(text("SELECT content_key FROM segment_cache")))


async def evict(connection: AsyncConnection, most_bytes: int = 0, days: float = 1000) -> EvictionResult:
    gone = await eviction.evict_segments(connection, "reelmill", most_bytes, days)
    assert gone is not None
    return gone


async def test_the_longest_unused_go_until_the_rest_fits(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database, database.service_transaction() as connection:
        _, keys = await make(connection, 300)
        assert await evict(connection, SIZE * len(keys)) == EvictionResult(0, 0)
        assert await evict(connection, 2 * SIZE + 1) == EvictionResult(len(keys) - 2, SIZE * (len(keys) - 2))
        assert await list_cached_keys(connection) == set(keys[:2])
        assert await segments.cache_size(connection) == (2, 2 * SIZE)


async def test_the_old_go_however_small_the_cache(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database, database.service_transaction() as connection:
        _, keys = await make(connection, 300)
        await age(connection, keys[3:], 60 * 24 * 8)
        assert (await evict(connection, 10**12, days=7)).segments == len(keys) - 3
        assert await list_cached_keys(connection) == set(keys[:3])


@pytest.mark.parametrize("status", ["queued", "running"])
async def test_a_live_render_keeps_its_segments(postgres_url: str, status: str) -> None:
    async with fresh_database(postgres_url) as database, database.service_transaction() as connection:
        _, live = await make(connection, 100, status)
        _, done = await make(connection, 80)
        assert (await evict(connection)).segments == len(done)
        assert await list_cached_keys(connection) == set(live)


async def test_what_is_watched_stays(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database, database.service_transaction() as connection:
        watched, kept = await make(connection, 100)
        await make(connection, 80)
        await segments.touch_segments(connection, watched)
        await evict(connection)
        assert await list_cached_keys(connection) == set(kept)


async def test_one_worker_at_a_time(postgres_url: str) -> None:
    async with (
        fresh_database(postgres_url) as database,
        database.service_transaction() as one,
        database.service_transaction() as other,
    ):
        assert await eviction.evict_segments(one, "reelmill", 0, 1) == EvictionResult(0, 0)
        assert await eviction.evict_segments(other, "reelmill", 0, 1) is None


async def publish(objects: FileObjectStore, keys: list[str]) -> None:
    for key in keys:
        for name in (segment_key(key), artifact_key(key, SEGMENT_RECEIPT)):
            await objects.put(ObjectRef("reelmill", name), b"data", "video/mp4")


def names(home: Path) -> set[str]:
    return {path.stem for path in (home / "reelmill" / "segments").rglob("*.*") if path.is_file()}


async def test_objects_go_after_their_rows(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        objects = FileObjectStore(tmp_path, "reelmill")
        await objects.check()
        async with database.service_transaction() as connection:
            _, keys = await make(connection, 100)
            await publish(objects, keys)
            await evict(connection, SIZE)
            assert names(tmp_path) == set(keys), "not before the transaction ends"
        assert await removal.delete_due_objects(database, objects) == 2 * (len(keys) - 1)
        assert names(tmp_path) == {keys[0]}


async def test_a_new_render_spares_what_was_about_to_be_removed(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        objects = FileObjectStore(tmp_path, "reelmill")
        await objects.check()
        async with database.service_transaction() as connection:
            dataset = await add_dataset(connection, 100)
            render = await add_render(connection, dataset)
            keys = [each.content_key for each in await segments.list_render_segments(connection, render)]
            for key in keys:
                await segments.insert_entry(connection, CacheEntry(key, segment_key(key), SIZE, 12, "x264", {}))
            await age(connection, keys, PROTECTED_MINUTES + 1)
            await lifecycle.cancel_render(connection, render)
        await publish(objects, keys)
        async with database.service_transaction() as connection:
            assert (await evict(connection)).segments == len(keys)
            await add_render(connection, dataset)
        assert await removal.delete_due_objects(database, objects) == 0
        assert names(tmp_path) == set(keys)


async def test_a_render_planned_meanwhile_wins(postgres_url: str) -> None:
    """It has marked the segments that it reuses but has not committed: the eviction waits, and leaves those."""
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            dataset = await add_dataset(connection, 100)
            first = await add_render(connection, dataset)
            keys = [each.content_key for each in await segments.list_render_segments(connection, first)]
            for key in keys:
                await segments.insert_entry(connection, CacheEntry(key, segment_key(key), SIZE, 12, "x264", {}))
            await age(connection, keys, PROTECTED_MINUTES + 1)
            await lifecycle.cancel_render(connection, first)
        planning = database.service_transaction()
        connection = await planning.__aenter__()
        await add_render(connection, dataset)
        evicting = asyncio.create_task(run_eviction(database))
        await until_waiting(database)
        await planning.__aexit__(None, None, None)
        assert (await evicting).segments == 0


async def run_eviction(database: Database) -> EvictionResult:
    async with database.service_transaction() as connection:
        return await evict(connection)
