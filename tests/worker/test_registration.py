"""What real workers tell the fleet, and how they do what operators and newer versions want of them."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import RowMapping, text

from service.ids import RenderId
from service.plan.needs import BUILT_IN
from service.plan.render_plan import PIPELINE_VERSION
from service.store import fleet, workers
from service.store.database import Database
from service.worker import registration
from tests.support.data.database_rows import OPTIONS, add_render
from tests.support.data.footage import add_footage
from tests.support.patience import PATIENCE_S
from tests.support.processes.supervisor import running_supervisor, wait_until_ended
from tests.support.processes.worker_process import worker_process
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio


async def submit(database: Database, home: Path, count: int = 12) -> RenderId:
    async with database.service_transaction() as connection:
        return await add_render(connection, await add_footage(connection, home, count), options=OPTIONS)


async def until_worker(database: Database, done: Callable[[RowMapping], bool] = lambda row: True) -> RowMapping:
    """The row of the first worker, once it is there and satisfies `done`."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with database.service_transaction() as connection:
                found = [row for row in await fleet.list_workers(connection) if done(row)]
            if found:
                return found[0]
            await asyncio.sleep(0.05)


async def order(database: Database, worker: UUID, state: Any) -> None:
    async with database.service_transaction() as connection:
        await fleet.change_state(connection, worker, state)


async def test_a_worker_tells_what_it_is(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database, running_supervisor(database, tmp_path, zone="attic"):
        facts = fleet.worker_facts(await until_worker(database))
    assert (facts["zone"], facts["offers"], facts["trouble"]) == ("attic", sorted(BUILT_IN), "")
    assert facts["memory_mb"] > 0 and abs(facts["clock_offset_s"]) < 5


async def test_a_cordoned_worker_goes_on_when_it_may(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database, running_supervisor(database, tmp_path):
        worker = await until_worker(database)
        await order(database, worker["id"], "cordoned")
        render = await submit(database, tmp_path)
        await asyncio.sleep(1.5)  # longer than its poll
        async with database.service_transaction() as connection:
            assert await connection.scalar(text("SELECT count(*) FROM tasks WHERE lease > 0")) == 0
        await order(database, worker["id"], "active")
        assert (await wait_until_ended(database, render))["status"] == "succeeded"


async def test_a_drained_worker_finishes_and_exits_with_0(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        await submit(database, tmp_path, 150)
        with worker_process(database.url, tmp_path, REELMILL_GPU_SLOTS="0") as process:
            worker = await until_worker(database, lambda row: row["running"] > 0)
            await order(database, worker["id"], "draining")
            assert await asyncio.to_thread(process.wait, 60) == 0
        async with database.service_transaction() as connection:
            states = list(await connection.scalars(text("SELECT state FROM tasks ORDER BY number")))
            assert await fleet.list_workers(connection) == []
            failed = await connection.scalar(text("SELECT count(*) FROM attempts"))
    assert states[0] == "succeeded" and set(states[1:]) == {"queued"} and failed == 0, "what it had it finished"


async def test_a_superseded_worker_drains_itself(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    monkeypatch.setattr(registration, "SUPERSEDED_S", 0.0)
    async with fresh_database(postgres_url) as database, running_supervisor(database, tmp_path) as supervisor:
        await until_worker(database)
        async with database.service_transaction() as connection:
            await workers.record_heartbeat(connection, newer := uuid4(), "newer:1", 1, "9")
            await workers.update_facts(connection, newer, {"pipeline": int(PIPELINE_VERSION) + 1, "offers": []})
        async with asyncio.timeout(PATIENCE_S):
            while any(row["id"] == supervisor.id for row in await list_workers(database)):
                await asyncio.sleep(0.05)
    assert any("drains" in line["event"] for line in log_lines())


async def list_workers(database: Database) -> Any:
    async with database.service_transaction() as connection:
        return await fleet.list_workers(connection)
