"""Finished renders are deleted at their age, with their objects, and no others are."""

import asyncio
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from service.ids import Subject
from service.store.database import Caller
from service.store.renders import queries, requesters
from service.store.retention import delete_expired_renders
from service.store.settings import StorageLimits
from tests.support.data.database_rows import add_dataset, add_render
from tests.support.data.footage import add_footage
from tests.support.data.removable_objects import Store, make
from tests.support.processes.catalogue_api import SCOPES, catalogue_api
from tests.support.servers.databases import until_waiting

pytestmark = pytest.mark.anyio
MONTH = timedelta(days=30)


async def let_days_pass(store: Store, days: float) -> None:
    """As if all renders had ended, and been asked for, so much earlier."""
    async with store.database.service_transaction() as connection:
        for query in (
            "UPDATE renders SET finished_at = finished_at - make_interval(secs => :seconds)",
            "UPDATE requesters SET asked_at = asked_at - make_interval(secs => :seconds)",
        ):
            await connection.execute(text(query), {"seconds": days * 86_400})


async def ask(store: Store, render: UUID, who: str, keep_days: int | None = None) -> None:
    async with store.database.service_transaction() as connection:
        await requesters.add_requester(connection, render, Caller(Subject(who)), 0, keep_days)


async def expire(store: Store, retention: timedelta | None = MONTH) -> set[UUID]:
    return {found.id for found in await delete_expired_renders(store.database, "reelmill", retention)}


async def expires_in_days(store: Store, render: UUID, retention: timedelta | None = MONTH) -> float | None:
    """What the status tells."""
    async with store.database.service_transaction() as connection:
        (row,) = await queries.list_statuses(connection, [render], retention)
        now = await connection.scalar(text("SELECT now()"))
    return None if row["expires_at"] is None else round((row["expires_at"] - now) / timedelta(days=1), 1)


async def test_an_old_render_goes_with_its_objects(store: Store) -> None:
    _, render = await make(store)
    await store.publish(render)
    await store.set_status("succeeded")
    assert await expires_in_days(store, render) == 30
    await let_days_pass(store, 29)
    assert await expires_in_days(store, render) == 1
    assert await expire(store) == set()
    await let_days_pass(store, 1.1)
    assert await expire(store, None) == set(), "without a retention it is kept for ever"
    assert await expires_in_days(store, render, None) is None
    assert await expire(store) == {render}
    await store.run()
    assert (await store.count("renders"), await store.count("segment_cache"), await store.keys()) == (0, 0, set())


@pytest.mark.parametrize("status", ["queued", "running"])
async def test_an_unfinished_one_stays_however_old(store: Store, status: str) -> None:
    _, render = await make(store)
    async with store.database.service_transaction() as connection:
        query = "UPDATE renders SET status = :status, created_at = now() - interval '1 year'"
        await connection.execute(text(query), {"status": status})
    await let_days_pass(store, 400)
    assert await expire(store) == set()
    assert await expires_in_days(store, render) is None


async def test_whoever_asks_again_has_it_for_the_whole_time(store: Store) -> None:
    _, render = await make(store)
    await store.set_status("succeeded")
    await let_days_pass(store, 29)
    await ask(store, render, "bob")
    await let_days_pass(store, 2)
    assert await expire(store) == set() and await expires_in_days(store, render) == 28
    async with store.database.service_transaction() as connection:
        await requesters.remove_requesters(connection, render, ["bob"])
    assert await expire(store) == {render}, "nobody else wants it any more"


async def test_a_request_may_say_how_long(store: Store) -> None:
    dataset, short = await make(store)
    async with store.database.service_transaction() as connection:
        long = await add_render(connection, dataset, step=2)
    await store.set_status("succeeded")
    await ask(store, short, "alice", 7)
    await ask(store, long, "alice", 90)
    await ask(store, short, "alice")
    assert (await expires_in_days(store, short), await expires_in_days(store, long)) == (7, 90)
    await ask(store, long, "bob", 1)
    assert await expires_in_days(store, long) == 90, "the longest wish counts"
    await let_days_pass(store, 8)
    assert await expire(store, None) == {short}, "also where all others are kept for ever"
    await let_days_pass(store, 80)
    assert await expire(store) == set()
    await let_days_pass(store, 3)
    assert await expire(store) == {long}


async def test_one_that_nobody_is_left_to_have_asked_for(store: Store) -> None:
    _, render = await make(store)
    await store.set_status("succeeded")
    async with store.database.service_transaction() as connection:
        await requesters.remove_requesters(connection, render, ["alice"])
    assert await expires_in_days(store, render) == 30
    await let_days_pass(store, 31)
    assert await expire(store) == {render}


async def test_a_request_at_the_same_moment_keeps_it(store: Store) -> None:
    """It has locked the render, but has not committed, when the round finds it; and the other way about."""
    _, render = await make(store)
    await store.set_status("succeeded")
    await let_days_pass(store, 31)
    asking = store.database.service_transaction()
    connection = await asking.__aenter__()
    await connection.execute(text("SELECT 1 FROM renders FOR KEY SHARE"))
    await requesters.add_requester(connection, render, Caller(Subject("bob")), 0)
    assert await expire(store) == set(), "it is left to the next round"
    await asking.__aexit__(None, None, None)
    assert await expire(store) == set() and await store.count("renders") == 1


async def test_two_workers_and_a_deletion_at_once(store: Store) -> None:
    async with store.database.service_transaction() as connection:
        dataset = await add_dataset(connection, 50)
        made = [await add_render(connection, dataset, step=step) for step in range(1, 9)]
    await store.set_status("failed")
    await let_days_pass(store, 31)
    first, second, _ = await asyncio.gather(expire(store), expire(store), store.delete("render", made[3]))
    assert first & second == set() and first | second | {made[3]} == set(made)
    assert await store.count("renders") == 0


async def test_a_deletion_that_waits_finds_nothing_left(store: Store) -> None:
    _, render = await make(store)
    await store.set_status("succeeded")
    await let_days_pass(store, 31)
    deleting = store.database.service_transaction()
    connection = await deleting.__aenter__()
    await connection.execute(text("SELECT 1 FROM renders FOR UPDATE"))
    other = asyncio.create_task(store.delete("render", render))
    await until_waiting(store.database)
    await deleting.__aexit__(None, None, None)
    await other
    assert await expire(store) == set()


async def test_the_api_tells_when(postgres_url: str, tmp_path: Path) -> None:
    limits = StorageLimits.model_construct(render_retention="30d")
    async with catalogue_api(postgres_url, tmp_path, storage=limits) as api:
        async with api.database.service_transaction() as connection:
            dataset = await add_footage(connection, tmp_path, 4)
        body = {"experiment_id": str(dataset.experiment_id), "decimation_factor": 1, "fps": 10}
        async with api.client("alice", *SCOPES, "videos:read", "videos:render") as alice:
            refused = await alice.post("/api/videos/generate", json=body | {"keep_days": 31})
            assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/keep_days")
            job = (await alice.post("/api/videos/generate", json=body | {"keep_days": 2})).json()["job_id"]
            async with api.database.service_transaction() as connection:
                await connection.execute(text("UPDATE renders SET status = 'failed', finished_at = now()"))
            status = (await alice.get(f"/api/videos/{job}")).json()
            (listed,) = (await alice.get("/api/videos")).json()
        async with api.client("root", "admin") as root:
            body |= {"decimation_factor": 2, "keep_days": 31}
            assert (await root.post("/api/videos/generate", json=body)).status_code == 202
    assert status["expires_at"] == listed["expires_at"] > status["finished_at"]


@pytest.mark.parametrize("value", ["30", "0d", "d", "1y", "999999w", "-1d"])
def test_ages_that_cannot_be_meant_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="30d"):
        StorageLimits(render_retention=value)
