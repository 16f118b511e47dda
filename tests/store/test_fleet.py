"""What operators and autoscalers learn of the workers and of the work that waits for them."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import Conflict, NotFound
from service.ids import RenderId
from service.jobs import picking
from service.jobs.routing import Taker
from service.plan.needs import BUILT_IN
from service.plan.render_plan import PIPELINE_VERSION, RenderOptions
from service.store import fleet, workers
from service.store.renders import queries
from tests.support.data.database_rows import OPTIONS, add_dataset, add_render
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
VERSION = int(PIPELINE_VERSION)
WITHOUT_AV1 = sorted(BUILT_IN - {"encode av1"})


@pytest.fixture
async def connection(postgres_url: str) -> AsyncIterator[AsyncConnection]:
    async with fresh_database(postgres_url) as database, database.service_transaction() as connection:
        yield connection


async def add_worker(connection: AsyncConnection, name: str, **facts: Any) -> UUID:
    await workers.record_heartbeat(connection, number := uuid4(), name, 2, "0")
    await workers.update_facts(connection, number, {"offers": WITHOUT_AV1, "pipeline": VERSION} | facts)
    return number


async def submit(connection: AsyncConnection, options: RenderOptions = OPTIONS, frames: int = 20) -> RenderId:
    dataset = replace(await add_dataset(connection, frames), formats=("jpeg",))
    return await add_render(connection, dataset, options=options)


async def waiting_for(connection: AsyncConnection, render: RenderId) -> str | None:
    (row,) = await queries.list_statuses(connection, [render])
    reason: str | None = row["waiting_for"]
    return reason


async def test_a_render_that_nobody_can_do_says_why(connection: AsyncConnection) -> None:
    render, other = await submit(connection, replace(OPTIONS, codec="av1")), await submit(connection)
    assert await waiting_for(connection, render) == "no worker is alive"
    number = await add_worker(connection, "w:1")
    assert await waiting_for(connection, render) == "no live worker offers encode av1"
    assert await waiting_for(connection, other) is None
    assert (await fleet.summarize_fleet(connection)).stranded == {"no live worker offers encode av1": 1}
    await workers.update_facts(connection, number, {"offers": sorted(BUILT_IN)})
    assert await waiting_for(connection, render) is None
    await fleet.change_state(connection, number, "cordoned")
    reason = "the workers that can do it are cordoned or drain: w:1"
    assert await waiting_for(connection, render) == reason
    summary = await fleet.summarize_fleet(connection)
    assert (summary.slots, summary.cordoned, summary.stranded) == (0, ["w:1"], {reason: 2})


async def test_a_render_of_a_newer_version_says_so(connection: AsyncConnection) -> None:
    render = await submit(connection)
    await add_worker(connection, "w:1")
    await connection.execute(text("UPDATE renders SET pipeline = :newer"), {"newer": VERSION + 1})
    reason = f"no live worker has version {VERSION + 1} of the pipeline"
    assert await waiting_for(connection, render) == reason
    assert (await fleet.summarize_fleet(connection)).stranded == {reason: 1}
    await connection.execute(text("UPDATE renders SET status = 'cancelled'"))
    assert await waiting_for(connection, render) is None


async def test_what_runs_waits_for_nobody(connection: AsyncConnection) -> None:
    render = await submit(connection)
    (found,) = await picking.list_candidates(connection, "render")
    assert await picking.take(connection, found, Taker("w:1"))
    assert await waiting_for(connection, render) is None


async def test_an_old_worker_is_superseded_when_nothing_is_left_to_it(connection: AsyncConnection) -> None:
    await add_worker(connection, "mine:1")
    assert not await fleet.is_superseded(connection)
    newer = await add_worker(connection, "newer:1", pipeline=VERSION + 1)
    assert await fleet.is_superseded(connection)
    await submit(connection)
    assert not await fleet.is_superseded(connection), "there is a render that it can go on with"
    await connection.execute(text("UPDATE renders SET pipeline = :newer"), {"newer": VERSION + 1})
    assert await fleet.is_superseded(connection)
    await fleet.change_state(connection, newer, "cordoned")
    assert not await fleet.is_superseded(connection)


async def test_clocks_and_troubles_are_told(connection: AsyncConnection) -> None:
    await add_worker(connection, "good:1", clock_offset_s=2.0, trouble="")
    await add_worker(connection, "ahead:1", clock_offset_s=3600.0, trouble="it is refused")
    summary = await fleet.summarize_fleet(connection)
    assert (summary.clocks, summary.troubles) == ({"ahead:1": 3600}, {"ahead:1": "it is refused"})


async def test_what_an_operator_may_tell_a_worker(connection: AsyncConnection) -> None:
    number = await add_worker(connection, "w:1")
    for state in ("cordoned", "cordoned", "active", "draining", "draining"):
        row = await fleet.change_state(connection, number, state)  # type: ignore[arg-type]
        assert row["state"] == state
    assert (await fleet.summarize_fleet(connection)).draining == ["w:1"]
    with pytest.raises(Conflict, match="drains"):
        await fleet.change_state(connection, number, "active")
    with pytest.raises(NotFound):
        await fleet.change_state(connection, uuid4(), "cordoned")
    await workers.record_heartbeat(connection, old := uuid4(), "old:1", 2, "0")
    with pytest.raises(Conflict, match="version"):
        await fleet.change_state(connection, old, "cordoned")
    await connection.execute(text("UPDATE workers SET heartbeat_at = now() - interval '16 seconds'"))
    with pytest.raises(Conflict, match="no heartbeat"):
        await fleet.change_state(connection, old, "cordoned")
    assert {row["state"] for row in await fleet.list_workers(connection)} == {"lost"}


async def test_cordoned_workers_are_not_planned_with(connection: AsyncConnection) -> None:
    number = await add_worker(connection, "w:1")
    assert await workers.count_active_slots(connection) == 2
    await fleet.change_state(connection, number, "cordoned")
    assert await workers.count_active_slots(connection) == 0
    assert (await workers.record_heartbeat(connection, number, "w:1", 2, "0")).state == "cordoned"


async def demand(connection: AsyncConnection) -> dict[str, dict[str, Any]]:
    rows = (await connection.execute(text("SELECT * FROM reelmill_demand"))).mappings()
    return {row["capability"]: dict(row) for row in rows}


async def test_the_demand_is_told_by_capability(connection: AsyncConnection) -> None:
    await submit(connection, frames=300)
    await submit(connection, replace(OPTIONS, codec="av1"))
    await connection.execute(
        text("""UPDATE renders SET estimate = jsonb_set(estimate, '{seconds_per_frame}',
        to_jsonb(CASE options ->> 'codec' WHEN 'av1' THEN 0.5 ELSE 0.1 END))""")
    )
    await connection.execute(text("UPDATE tasks SET due_at = now() - interval '90 seconds'"))
    found = await demand(connection)
    assert set(found) == {"any", "decode jpeg", "encode h264", "encode av1"}
    assert (found["encode av1"]["frames"], found["encode av1"]["seconds"]) == (20, pytest.approx(10))
    assert (found["encode h264"]["tasks"], found["encode h264"]["seconds"]) == (4, pytest.approx(30))
    assert found["any"]["seconds"] == found["decode jpeg"]["seconds"] == pytest.approx(40)
    assert found["any"]["oldest_wait_seconds"] == pytest.approx(90, abs=5)
    taken = await picking.take(connection, (await picking.list_candidates(connection, "render"))[0], Taker("w"))
    assert taken is not None
    after = await demand(connection)
    assert (after["any"]["running"], after["any"]["tasks"]) == (1, 4)
    await connection.execute(text("UPDATE tasks SET due_at = now() + interval '1 minute' WHERE state = 'queued'"))
    assert (await demand(connection))["any"]["seconds"] == 0, "what is put off does not wait for a worker"


async def test_what_is_submitted_has_a_cost(connection: AsyncConnection) -> None:
    await submit(connection)
    assert 0 < (await demand(connection))["any"]["seconds"] < 60
    await connection.execute(text("UPDATE renders SET estimate = '{}'"))
    assert (await demand(connection))["any"]["seconds"] == pytest.approx(1), "a twentieth of a second a frame"


async def test_an_autoscaler_reads_the_demand_and_nothing_else(connection: AsyncConnection) -> None:
    await connection.execute(
        text("DO $$ BEGIN EXECUTE format('GRANT reelmill_autoscaler TO %I', current_user); END $$")
    )
    await submit(connection)
    await connection.execute(text("SET LOCAL ROLE reelmill_autoscaler"))
    assert (await demand(connection))["any"]["tasks"] == 1
    with pytest.raises(DBAPIError, match="permission denied"):
        await connection.execute(text("SELECT * FROM tasks"))
