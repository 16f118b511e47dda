"""A busy worker lists who waits once for several tasks, and yet overlooks nobody."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event, text

from service.jobs.fairness import Turns
from service.jobs.picker import LISTING_S, Picked, Picker
from service.jobs.queue import POLL_INTERVAL_S, WakeUpCall
from service.jobs.routing import Taker
from service.plan.render_plan import PIPELINE_VERSION
from service.store import workers
from service.store.database import Database
from service.store.renders import lifecycle
from tests.support.data.database_rows import add_dataset, add_render
from tests.support.patience import PATIENCE_S
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio


@dataclass
class Worker:
    """A picker and what it runs, on a clock of its own."""

    database: Database
    wake_up: WakeUpCall
    taker: Taker = field(default_factory=lambda: Taker("w", uuid4()))
    turns: Turns = field(default_factory=Turns)
    running: Counter[str] = field(default_factory=Counter)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.picker = Picker(self.turns, self.wake_up)
        self.listings = 0
        event.listen(self.database.engine.sync_engine, "before_cursor_execute", self._count)

    def _count(self, _c: Any, _u: Any, statement: str, *_: Any) -> None:
        self.listings += "WITH callers" in statement

    async def pick(self) -> Picked | None:
        async with self.database.service_transaction() as connection:
            picked = await self.picker.pick(connection, [("render", ())], self.taker, self.running, self.now)
        if picked:
            self.running[picked.owner] += 1
            self.turns.start(picked.owner, 1, self.now)
        return picked

    async def pick_owner(self) -> str | None:
        picked = await self.pick()
        return picked and picked.owner


@pytest.fixture
async def worker(postgres_url: str) -> AsyncIterator[Worker]:
    async with fresh_database(postgres_url) as database:
        wake_up = WakeUpCall(database.url)
        listening = asyncio.create_task(wake_up.run())
        await wake_up.wait(10)
        try:
            yield Worker(database, wake_up)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def submit(worker: Worker, owner: str = "alice", frames: int = 1000) -> Any:
    """A render of many segments; the worker has heard of it."""
    rings = worker.wake_up.rings
    async with worker.database.service_transaction() as connection:
        render = await add_render(connection, await add_dataset(connection, frames), owner=owner)
    async with asyncio.timeout(PATIENCE_S):
        while worker.wake_up.rings == rings:
            await asyncio.sleep(0.01)
    return render


async def run(worker: Worker, statement: str, **values: Any) -> None:
    async with worker.database.service_transaction() as connection:
        await connection.execute(text(statement), values)


async def test_one_listing_is_enough_for_several_tasks(worker: Worker) -> None:
    await submit(worker)
    assert [await worker.pick_owner() for _ in range(5)] == ["alice"] * 5
    assert worker.listings == 1
    worker.now += LISTING_S
    assert await worker.pick() and worker.listings == 2


async def test_who_comes_later_is_seen_at_once(worker: Worker) -> None:
    await submit(worker)
    for _ in range(3):
        await worker.pick()
    await submit(worker, "bob")
    assert await worker.pick_owner() == "bob"


async def test_callers_of_one_listing_take_turns(worker: Worker) -> None:
    for owner in ("alice", "bob", "carol"):
        await submit(worker, owner)
    assert Counter([await worker.pick_owner() for _ in range(9)]) == {"alice": 3, "bob": 3, "carol": 3}
    assert worker.listings == 1


async def test_the_next_render_of_a_caller_is_found_when_one_is_used_up(worker: Worker) -> None:
    """Not only when the listing is old, and not after those of others."""
    for owner, frames in (("alice", 10), ("alice", 20), ("bob", 1000)):
        await submit(worker, owner, frames)
    assert Counter([await worker.pick_owner() for _ in range(4)]) == {"alice": 2, "bob": 2}


@pytest.mark.parametrize("change", ["cancelled", "newer version", "cordoned", "ended"])
async def test_what_is_not_to_be_taken_any_more_is_left(worker: Worker, change: str) -> None:
    render = await submit(worker)
    assert await worker.pick()
    match change:
        case "cancelled":
            async with worker.database.service_transaction() as connection:
                await lifecycle.cancel_render(connection, render)
        case "newer version":
            await run(worker, "UPDATE renders SET pipeline = :newer", newer=int(PIPELINE_VERSION) + 1)
        case "cordoned":
            async with worker.database.service_transaction() as connection:
                assert worker.taker.id is not None
                await workers.record_heartbeat(connection, worker.taker.id, "w", 1, "0")
            await run(worker, "UPDATE workers SET state = 'cordoned'")
        case "ended":
            await run(worker, "UPDATE renders SET status = 'running'")
            await run(worker, "UPDATE renders SET status = 'failed'")
    assert await worker.pick() is None


async def test_who_cannot_do_a_task_does_not_take_it(worker: Worker) -> None:
    """A listing is of those who can; the next task of the render may need more."""
    await submit(worker)
    assert await worker.pick()
    await run(worker, "UPDATE tasks SET needs = '{something new}' WHERE number > 0")
    assert await worker.pick() is None


async def test_without_notifications_a_listing_is_used_no_longer_than_a_worker_polls(worker: Worker) -> None:
    deaf = Worker(worker.database, WakeUpCall("postgresql://nobody@127.0.0.1:1/nothing"))
    await submit(worker)
    assert await deaf.pick_owner() == "alice"
    await submit(worker, "bob")
    assert await deaf.pick_owner() == "alice"
    deaf.now += POLL_INTERVAL_S
    assert await deaf.pick_owner() == "bob"


async def test_that_nobody_waits_is_not_asked_again_and_again(worker: Worker) -> None:
    assert [await worker.pick(), await worker.pick()] == [None, None] and worker.listings == 1
    await submit(worker)
    assert await worker.pick() and worker.listings == 2


@pytest.mark.parametrize("steps", range(6))
async def test_a_cancellation_is_not_lost_when_something_is_queued_at_the_same_moment(steps: int) -> None:
    wake_up = WakeUpCall("postgresql://nobody@127.0.0.1:1/nothing")

    async def wait_for_ever() -> None:
        while True:
            await wake_up.wait(60)

    waiting = asyncio.create_task(wait_for_ever())
    await asyncio.sleep(0.01)
    wake_up.ring()
    for _ in range(steps):  # of the event loop
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(PATIENCE_S):
            await waiting
