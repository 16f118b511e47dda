"""What a supervisor says when it cannot do one of its regular jobs, and how it shares its slots."""

import asyncio
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from service.ids import RenderId, Subject
from service.jobs.queue import WakeUpCall
from service.periodic import run_periodically
from service.plan.preview import FramePreview
from service.plan.render_plan import FrameRef
from service.store.cache import previews
from service.store.database import Database
from service.store.settings import DatabaseSettings
from service.store.tables import frames
from service.worker.settings import WorkerSettings
from service.worker.supervisor import Supervisor
from tests.support.data.database_rows import OPTIONS, add_render
from tests.support.data.footage import add_footage
from tests.support.patience import PATIENCE_S
from tests.support.processes.supervisor import NO_DEVICES, running_supervisor, slot_config, wait_until_ended
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
NOWHERE = "postgresql://nobody:nothing@127.0.0.1:1/none"


async def test_a_heartbeat_that_fails_is_logged(tmp_path: Path, log_lines: Callable[[], list[dict[str, Any]]]) -> None:
    database = Database(NOWHERE, DatabaseSettings.model_construct())
    settings = WorkerSettings.model_construct(slots=1)
    supervisor = Supervisor(database, slot_config(tmp_path), settings, devices=NO_DEVICES)
    beating = asyncio.create_task(run_periodically(supervisor.heartbeat))
    try:
        async with asyncio.timeout(5):
            while not log_lines():
                await asyncio.sleep(0.05)
    finally:
        beating.cancel()
        await database.close()
    line = log_lines()[0]
    assert (line["event"], line["level"], line["logger"]) == ("heartbeat failed", "warning", "periodic")
    assert "ConnectionRefusedError" in line["reason"]


async def read_order(database: Database) -> list[str]:
    """The owners of the segments, in the order in which these were begun."""
    async with database.service_transaction() as connection:
        query = """SELECT r.owner FROM tasks t JOIN renders r ON r.id = t.render_id
            WHERE t.kind = 'segment' AND t.started_at IS NOT NULL ORDER BY t.started_at"""
        return list(await connection.scalars(text(query)))


async def submit(database: Database, home: Path, owner: str, count: int = 12, priority: int = 0) -> RenderId:
    async with database.service_transaction() as connection:
        dataset = await add_footage(connection, home, count)
        return await add_render(connection, dataset, options=OPTIONS, owner=owner, priority=priority)


@pytest.mark.parametrize("slots", [1, 2])
async def test_a_light_caller_does_not_wait_for_a_heavy_one(postgres_url: str, tmp_path: Path, slots: int) -> None:
    async with fresh_database(postgres_url) as database:
        for _ in range(12):
            await submit(database, tmp_path, "heavy", count=200)
        async with running_supervisor(database, tmp_path, slots):
            await wait_until(database, lambda order: len(order) >= 4)
            before = len(await read_order(database))
            light = await submit(database, tmp_path, "light")
            assert (await wait_until_ended(database, light))["status"] == "succeeded"
        waited = (await read_order(database)).index("light") - before
    assert waited <= slots, "nothing that was not begun already went before it"


async def test_ten_callers_share_a_worker(postgres_url: str, tmp_path: Path) -> None:
    """The more renders a caller has queued, the longer they take: the others notice nothing."""
    callers, fair = 10, 6
    async with fresh_database(postgres_url) as database:
        for number in range(callers):
            for _ in range(fair + 2 + number):
                await submit(database, tmp_path, f"caller {number}")
        async with running_supervisor(database, tmp_path, 2):
            await wait_until(database, lambda order: len(order) >= callers * fair)
        begun = Counter((await read_order(database))[: callers * fair])
    assert len(begun) == callers and min(begun.values()) >= 0.8 * fair, begun


async def wait_until(database: Database, done: Callable[[list[str]], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not done(await read_order(database)):
            await asyncio.sleep(0.02)


async def test_previews_and_renders_take_turns(postgres_url: str, tmp_path: Path) -> None:
    """With one slot, a crowd of previews holds a render up by one preview for each of its tasks."""
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            dataset = await add_footage(connection, tmp_path, 60)
            query = select(frames.c.key, frames.c.etag, frames.c.size).order_by(frames.c.index)
            for index, row in enumerate((await connection.execute(query)).all()):
                frame = FrameRef(index, row.key, row.etag, row.size)
                preview = FramePreview(dataset.id, "frames", "reelmill", frame, 64, 1_000_000)
                await previews.enqueue_preview(connection, preview, Subject(f"viewer {index}"))
        render = await submit(database, tmp_path, "alice", 200)
        async with running_supervisor(database, tmp_path):
            assert (await wait_until_ended(database, render))["status"] == "succeeded"
        async with database.service_transaction() as connection:
            query = text("SELECT kind FROM tasks WHERE started_at IS NOT NULL ORDER BY started_at")
            kinds = list(await connection.scalars(query))
    tasks = [index for index, kind in enumerate(kinds) if kind != "preview"]
    assert len(tasks) >= 3
    assert all(later - earlier <= 2 for earlier, later in pairwise(tasks)), kinds


async def test_all_previews_are_made_without_waiting_for_another_to_be_asked_for(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two slots one is left to renders: when the other one ends a preview, the next is looked for."""
    monkeypatch.setattr(WakeUpCall.wait, "__defaults__", (3600.0,))  # nobody looks by chance
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            dataset = await add_footage(connection, tmp_path, 6)
            query = select(frames.c.key, frames.c.etag, frames.c.size).order_by(frames.c.index)
            for index, row in enumerate((await connection.execute(query)).all()):
                frame = FrameRef(index, row.key, row.etag, row.size)
                preview = FramePreview(dataset.id, "frames", "reelmill", frame, 64, 1_000_000)
                await previews.enqueue_preview(connection, preview, Subject("viewer"))
        async with running_supervisor(database, tmp_path, 2), asyncio.timeout(PATIENCE_S):
            left = text("SELECT count(*) FROM tasks WHERE state <> 'succeeded'")
            while True:
                async with database.service_transaction() as connection:
                    if not await connection.scalar(left):
                        break
                await asyncio.sleep(0.05)
