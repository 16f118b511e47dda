"""Which worker is offered which task, by what the task needs and what an operator wants."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from service.ids import Subject, TaskId
from service.jobs import leases, picking
from service.jobs.picking import Lane
from service.jobs.routing import Taker
from service.plan.needs import BUILT_IN
from service.plan.preview import FramePreview
from service.plan.render_plan import Backend, FrameRef
from service.store import workers
from service.store.cache import previews
from service.store.cache.segments import replace_outdated_tasks
from service.store.database import Database
from service.store.renders import lifecycle
from tests.support.data.database_rows import OPTIONS, add_dataset, add_render
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
WITHOUT_AV1 = BUILT_IN - {"encode av1"}
AV1 = replace(OPTIONS, codec="av1")
NVENC = replace(OPTIONS, family=Backend("cuda", "nvenc"))


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    async with fresh_database(postgres_url) as database:
        yield database


async def submit(database: Database, options: Any, formats: tuple[str, ...] = ("jpeg",)) -> Any:
    async with database.service_transaction() as connection:
        dataset = replace(await add_dataset(connection, 20), formats=formats)
        return await add_render(connection, dataset, options=options)


async def offered(database: Database, taker: Taker, lane: Lane = "render") -> int:
    async with database.service_transaction() as connection:
        return len(await picking.list_candidates(connection, lane, taker))


async def add_worker(database: Database, offers: list[str] | None, name: str = "gpu:1") -> UUID:
    async with database.service_transaction() as connection:
        await workers.record_heartbeat(connection, number := uuid4(), name, 1, "0")
        if offers is not None:
            await workers.update_facts(connection, number, {"offers": offers})
    return number


async def change(database: Database, statement: str, **values: Any) -> None:
    async with database.service_transaction() as connection:
        await connection.execute(text(statement), values)


async def test_a_slot_is_offered_what_it_can_do(database: Database) -> None:
    await submit(database, AV1)
    assert await offered(database, Taker(offers=WITHOUT_AV1)) == 0
    assert await offered(database, Taker(offers=BUILT_IN)) == 1
    await submit(database, OPTIONS, ("png",))
    assert await offered(database, Taker(offers=WITHOUT_AV1 - {"decode png"})) == 0
    assert await offered(database, Taker(offers=WITHOUT_AV1)) == 1, "the second render of the same caller"


async def test_tasks_that_are_made_anew_need_the_same(database: Database) -> None:
    render = await submit(database, AV1)
    async with database.service_transaction() as connection:
        await connection.execute(text("UPDATE segments SET pipeline = '1'"))
        assert await replace_outdated_tasks(connection, render)
        rows = (await connection.execute(text("SELECT needs, frames FROM tasks"))).all()
    assert [(row.needs, row.frames) for row in rows] == [(["decode jpeg", "encode av1"], 20)]


async def test_previews_need_a_decoder(database: Database) -> None:
    async with database.service_transaction() as connection:
        dataset = await add_dataset(connection, 1)
        await connection.execute(text("UPDATE datasets SET formats = '{tiff,webp}'"))
        preview = FramePreview(dataset.id, "frames", "reelmill", FrameRef(0, "k", "e", 1), 64, 1_000_000)
        await previews.enqueue_preview(connection, preview, Subject("alice"))
    assert await offered(database, Taker(offers=BUILT_IN - {"decode tiff"}), "urgent") == 0
    assert await offered(database, Taker(offers=frozenset(["decode tiff"])), "urgent") == 1


async def test_a_gpu_encoder_is_waited_for_while_somebody_has_it(database: Database) -> None:
    await submit(database, NVENC)
    number = await add_worker(database, ["nvenc h264"])
    assert await offered(database, Taker()) == 0
    assert await offered(database, Taker(offers=BUILT_IN | {"nvenc h264"})) == 1
    await change(database, "UPDATE workers SET state = 'cordoned' WHERE id = :id", id=number)
    assert await offered(database, Taker()) == 1, "who takes it now has the render planned for a CPU"
    await change(database, "UPDATE workers SET state = 'active', heartbeat_at = now() - interval '16 seconds'")
    assert await offered(database, Taker()) == 1
    await add_worker(database, None)
    assert await offered(database, Taker()) == 0, "a worker of an earlier version does not say what it has"


async def test_a_render_that_is_planned_for_a_cpu_needs_its_encoder(database: Database) -> None:
    render = await submit(database, NVENC)
    async with database.service_transaction() as connection:
        await lifecycle.replan_on_cpu_encoder(connection, render, "no GPU")
        needs = list(await connection.scalars(text("SELECT DISTINCT needs FROM tasks")))
    assert [sorted(each) for each in needs] == [["decode jpeg", "encode h264"]]


@pytest.mark.parametrize("state", ["cordoned", "draining"])
async def test_a_worker_that_is_cordoned_is_offered_nothing(database: Database, state: str) -> None:
    await submit(database, OPTIONS)
    number = await add_worker(database, sorted(BUILT_IN))
    async with database.service_transaction() as connection:
        (found,) = await picking.list_candidates(connection, "render", Taker("w", number))
        lease = await picking.take(connection, found, Taker("w"))
    await submit(database, OPTIONS)
    await change(database, "UPDATE workers SET state = :state", state=state)
    assert await offered(database, Taker("w", number)) == 0
    assert await offered(database, Taker("other", uuid4())) == 1
    async with database.service_transaction() as connection:
        assert lease is not None
        held = await leases.heartbeat(connection, [(lease, 1)])
    assert held == {TaskId(lease.task_id): False}, "what it runs it finishes"
