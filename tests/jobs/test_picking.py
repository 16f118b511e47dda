"""Which task is taken next, from the rows of a real database."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import insert, text

from service.ids import TaskId, new_uuid
from service.jobs import leases, picking, queue
from service.jobs.fairness import Candidate, Turns
from service.jobs.leases import Failure, Lease
from service.jobs.picking import AGEING_S, BULK_WAIT_S, SMALL_RENDER_FRAMES
from service.jobs.queue import LEASE_TIMEOUT_S, WakeUpCall
from service.jobs.routing import Taker
from service.plan.render_plan import PIPELINE_VERSION
from service.store.database import Database
from service.store.renders import lifecycle
from service.store.tables import tasks
from tests.support.data.database_rows import add_dataset, add_render
from tests.support.servers.databases import fresh_database, until_workers_can_be_lost

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    async with fresh_database(postgres_url) as database:
        yield database


async def submit(database: Database, owner: str = "alice", frames: int = 20, priority: int = 0) -> Any:
    async with database.service_transaction() as connection:
        return await add_render(connection, await add_dataset(connection, frames), owner=owner, priority=priority)


async def candidates(database: Database, lane: Any = "render", **options: Any) -> list[Candidate]:
    async with database.service_transaction() as connection:
        return await picking.list_candidates(connection, lane, **options)


async def take(database: Database, candidate: Candidate) -> Lease | None:
    async with database.service_transaction() as connection:
        return await picking.take(connection, candidate, Taker("w"))


async def run(database: Database, statement: str, **values: Any) -> None:
    async with database.service_transaction() as connection:
        await connection.execute(text(statement), values)


async def test_there_is_one_candidate_for_each_caller(database: Database) -> None:
    first = await submit(database)
    await submit(database)
    other = await submit(database, "bob")
    found = await candidates(database)
    assert {(each.owner, each.render, each.busy) for each in found} == {("alice", first, 0), ("bob", other, 0)}
    lease = await take(database, next(each for each in found if each.owner == "alice"))
    assert lease is not None and lease.kind == "segment"
    assert {each.owner: each.busy for each in await candidates(database)} == {"alice": 1, "bob": 0}


async def test_segments_are_taken_in_order_and_once(database: Database) -> None:
    await submit(database, frames=300)
    taken = []
    while found := await candidates(database):
        taken.append(await take(database, found[0]))
    assert [lease.number for lease in taken] == list(range(len(taken)))  # type: ignore[union-attr]
    assert len(taken) == 4


async def test_two_workers_never_take_the_same_task(database: Database) -> None:
    await submit(database, frames=300)
    (found,) = await candidates(database)
    leases_taken = await asyncio.gather(*(take(database, found) for _ in range(6)))
    numbers = [lease.number for lease in leases_taken if lease is not None]  # type: ignore[attr-defined]
    assert sorted(numbers) == [0, 1, 2, 3]


async def test_a_render_that_waits_rises(database: Database) -> None:
    old = await submit(database)
    await run(database, "UPDATE renders SET created_at = now() - make_interval(secs => :age)", age=5.5 * AGEING_S)
    await submit(database, priority=4)
    assert (await candidates(database))[0].render == old
    await submit(database, priority=6)
    assert (await candidates(database))[0].level == 6
    await run(database, "UPDATE renders SET created_at = now() - interval '1 day' WHERE id = :id", id=old)
    first = (await candidates(database))[0]
    assert (first.render, first.level) == (old, 6), "in the end nothing stands before it"
    assert first.priority == 6, "the highest that the caller asks for"


async def test_waiting_raises_no_render_above_those_of_the_same_priority(database: Database) -> None:
    await submit(database)
    await run(database, "UPDATE renders SET created_at = now() - interval '1 day'")
    await submit(database, "bob")
    assert {(each.owner, each.level) for each in await candidates(database)} == {("alice", 0), ("bob", 0)}


async def test_a_small_render_goes_before_a_large_one_of_the_same_caller(database: Database) -> None:
    await submit(database, frames=SMALL_RENDER_FRAMES + 1)
    small = await submit(database)
    assert [each.render for each in await candidates(database)] == [small]


async def test_a_small_render_goes_before_a_large_one_of_another_caller(database: Database) -> None:
    large = await submit(database, "bulk", frames=SMALL_RENDER_FRAMES + 1)
    small = await submit(database)
    order = [each.render for each in Turns().order(await candidates(database), 0.0)]
    assert order == [small, large]
    await run(database, "UPDATE renders SET created_at = now() - make_interval(secs => :age)", age=BULK_WAIT_S + 1)
    assert all(each.small for each in await candidates(database)), (
        "a large one that has waited for long counts as small"
    )


async def test_what_runs_is_not_interrupted_by_what_is_more_urgent(database: Database) -> None:
    """Whoever comes with a higher priority has the next slot that is free: at the border of a segment."""
    low = await submit(database, "low", frames=300)
    running = await take(database, (await candidates(database))[0])
    high = await submit(database, "high", priority=9)
    assert running is not None
    async with database.service_transaction() as connection:
        assert await leases.heartbeat(connection, [(running, 1)]) == {running.task_id: False}
    found = {each.render: each for each in await candidates(database)}
    assert Turns().order(found.values(), 0.0)[0].render == high and found[low].busy == 1


async def test_a_task_that_is_not_due_is_left(database: Database) -> None:
    await submit(database)
    lease = await take(database, (await candidates(database))[0])
    assert lease is not None
    async with database.service_transaction() as connection:
        await leases.release(connection, lease, Failure("x", ""), 60)
    assert await candidates(database) == []
    await run(database, "UPDATE tasks SET due_at = now()")
    assert len(await candidates(database)) == 1


async def test_a_worker_leaves_what_a_newer_version_has_planned(database: Database) -> None:
    render = await submit(database)
    await run(database, "UPDATE renders SET pipeline = :newer", newer=int(PIPELINE_VERSION) + 1)
    assert await candidates(database) == []
    await run(database, "UPDATE tasks SET urgent = true")
    assert await candidates(database, "urgent") == []
    await run(database, "UPDATE tasks SET urgent = false")
    await run(database, "UPDATE renders SET pipeline = 0")
    async with database.service_transaction() as connection:
        (found,) = await picking.list_candidates(connection, "render")
        assert await picking.take(connection, found, Taker("w"))
        await lifecycle.mark_running(connection, render)
        pipeline = await connection.scalar(text("SELECT pipeline FROM renders"))
    assert pipeline == int(PIPELINE_VERSION), "older workers leave what this one has begun"


async def test_cancel_and_retry_leave_one_task(database: Database) -> None:
    """Eight times, as often as a caller likes: a task is its own entry in the queue."""
    render = await submit(database)
    for _ in range(8):
        async with database.service_transaction() as connection:
            assert await lifecycle.cancel_render(connection, render)
        assert await candidates(database) == []
        async with database.service_transaction() as connection:
            assert await lifecycle.retry_render(connection, render)
    async with database.service_transaction() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM tasks")) == 1
    assert await take(database, (await candidates(database))[0])
    assert await candidates(database) == []


async def test_the_urgent_lane_has_previews_before_sheets_and_scans(database: Database) -> None:
    for kind, frames in (("scan", 0), ("preview", 100), ("preview", 1)):
        async with database.service_transaction() as connection:
            await connection.execute(insert(tasks).values(id=new_uuid(), kind=kind, frames=frames, owner="alice"))
    for wanted in (("preview", 1), ("preview", 100), ("scan", 0)):
        (first,) = await candidates(database, "urgent")
        async with database.service_transaction() as connection:
            found = await connection.execute(text("SELECT kind, frames FROM tasks WHERE id = :id"), {"id": first.task})
            assert found.one() == wanted
            await connection.execute(
                text("UPDATE tasks SET due_at = now() + interval '1 hour' WHERE id = :id"), {"id": first.task}
            )
    async with database.service_transaction() as connection:
        await connection.execute(text("UPDATE tasks SET due_at = now()"))
    assert await candidates(database, "urgent", except_kinds=("scan", "preview")) == []
    assert await candidates(database, "urgent", except_owners=["alice"]) == []
    assert await candidates(database, "render") == [] == await candidates(database, "webhook")


async def test_tasks_of_a_lost_worker_are_queued_again_and_it_is_not_their_fault(database: Database) -> None:
    await until_workers_can_be_lost(database)
    await submit(database)
    await take(database, (await candidates(database))[0])
    for age, expected in ((LEASE_TIMEOUT_S - 1, 0), (LEASE_TIMEOUT_S + 1, 1)):
        await run(database, "UPDATE tasks SET heartbeat_at = now() - make_interval(secs => :age)", age=age)
        async with database.service_transaction() as connection:
            assert (await queue.release_lost_tasks(connection))["segment"] == expected
    (again,) = await candidates(database)
    lease = await take(database, again)
    assert lease is not None and (lease.token, lease.attempts) == (2, 1)


async def test_a_worker_is_woken_when_something_is_queued(database: Database) -> None:
    wake_up = WakeUpCall(database.url)
    listening = asyncio.create_task(wake_up.run())
    try:
        await wake_up.wait(10)  # it has begun to listen
        waiting = asyncio.create_task(wake_up.wait(30))
        await submit(database)
        async with asyncio.timeout(10):
            await waiting
        with pytest.raises(RuntimeError, match="on purpose"):
            async with database.service_transaction() as connection:
                await queue.wake_workers(connection)
                raise RuntimeError("on purpose")
        assert not wake_up._rung.is_set(), "a transaction that is rolled back wakes nobody"
        await run(
            database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()",
        )
        await wake_up.wait(0.1)
        async with asyncio.timeout(10):
            await wake_up.wait(10)  # it listens again, and looks for what was queued meanwhile
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def test_a_task_that_cannot_start_is_postponed(database: Database) -> None:
    await submit(database)
    lease = await take(database, (await candidates(database))[0])
    assert lease is not None
    async with database.service_transaction() as connection:
        await leases.postpone(connection, lease.task_id, {"code": "unexpected"})
    async with database.service_transaction() as connection:
        await leases.release(connection, lease, Failure("x", ""))
        await leases.postpone(connection, TaskId(lease.task_id), {"code": "unexpected"})
        starts = await connection.scalar(text("SELECT starts FROM tasks"))
    assert starts == 2 and await candidates(database) == []
