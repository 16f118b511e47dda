"""What one worker does for all of a fleet, however many there are."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from service.jobs import picking
from service.jobs.routing import Taker
from service.periodic import PeriodicTask
from service.store.database import Database
from service.store.objects.files import FileObjectStore
from service.worker.maintenance import Maintenance
from service.worker.settings import WorkerSettings
from tests.support.data.database_rows import add_dataset, add_render
from tests.support.servers.databases import fresh_database, until_workers_can_be_lost

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    async with fresh_database(postgres_url) as database:
        await until_workers_can_be_lost(database)
        yield database


def releases(database: Database, home: Path, count: int) -> list[PeriodicTask]:
    """The release of lost tasks by so many workers."""
    fleet = [
        Maintenance(database, FileObjectStore(home, "reelmill"), WorkerSettings.model_construct()) for _ in range(count)
    ]
    return [task for each in fleet for task in each.periodic_tasks() if task.name == "release of lost tasks"]


async def lose_a_task(database: Database) -> None:
    async with database.service_transaction() as connection:
        await add_render(connection, await add_dataset(connection, 20))
        assert await picking.take(connection, (await picking.list_candidates(connection, "render"))[0], Taker("dead"))
        await connection.execute(
            text("UPDATE tasks SET heartbeat_at = now() - interval '1 hour' WHERE worker = 'dead'")
        )


async def count_running(database: Database) -> int:
    async with database.service_transaction() as connection:
        return int(await connection.scalar(text("SELECT count(*) FROM tasks WHERE state = 'running'")) or 0)


async def test_one_worker_of_many_releases_lost_tasks(database: Database, tmp_path: Path) -> None:
    await lose_a_task(database)
    tasks = releases(database, tmp_path, 5)
    await asyncio.gather(*(task.action() for task in tasks))
    assert await count_running(database) == 0
    await lose_a_task(database)
    for task in tasks:
        await task.action()
    assert await count_running(database) == 1, "it was done in this interval"


async def test_another_takes_over_from_one_that_is_gone(database: Database, tmp_path: Path) -> None:
    gone, other = releases(database, tmp_path, 2)
    await gone.action()
    await lose_a_task(database)
    age = "UPDATE maintenance_rounds SET begun_at = begun_at - make_interval(secs => :age)"
    async with database.service_transaction() as connection:
        await connection.execute(text(age), {"age": other.interval_s})
    await other.action()
    assert await count_running(database) == 0
