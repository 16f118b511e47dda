"""Workers that batch systems start: they end by themselves, with 0, when nothing is left that they can do."""

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text, update

from service.jobs.routing import Taker
from service.jobs.workload import has_work_left
from service.plan.needs import BUILT_IN
from service.store.database import Database
from service.store.tables import tasks
from tests.support.patience import PATIENCE_S
from tests.support.processes.supervisor import wait_until_ended
from tests.support.processes.worker_process import worker_process
from tests.support.servers.databases import fresh_database
from tests.worker.test_registration import submit

pytestmark = pytest.mark.anyio
ME = Taker("here:1", None, BUILT_IN)


async def demand(database: Database) -> list[Any]:
    async with database.service_transaction() as connection:
        return list((await connection.execute(text("SELECT * FROM reelmill_demand"))).mappings())


async def test_what_counts_as_work_that_is_left(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database, database.service_transaction() as connection:
        assert not await has_work_left(connection, ME)
        await submit(database, tmp_path)
        assert await has_work_left(connection, ME)
        cases: list[tuple[dict[str, Any], bool]] = [
            ({"due_at": text("now() + interval '1 hour'")}, True),
            ({"needs": ["encode of another world"]}, False),
            ({"state": "running", "worker": "there:2", "needs": []}, False),
            ({"state": "running", "worker": "here:1"}, True),
        ]
        for values, expected in cases:
            await connection.execute(update(tasks).values(**values))
            assert await has_work_left(connection, ME) is expected, values


async def test_workers_end_when_nothing_is_left(postgres_url: str, tmp_path: Path) -> None:
    """Three of them, of which one is killed like a machine that is taken away: the renders are right all the same."""
    async with fresh_database(postgres_url) as database:
        renders = [await submit(database, tmp_path / "home", 150) for _ in range(2)]
        with ExitStack() as stack:
            workers = [
                stack.enter_context(worker_process(database.url, tmp_path / "home", "--until-idle")) for _ in range(3)
            ]
            await asyncio.sleep(3)
            workers[0].kill()
            for render in renders:
                assert (await wait_until_ended(database, render))["status"] == "succeeded"
            async with asyncio.timeout(PATIENCE_S):
                ended = [await asyncio.to_thread(worker.wait) for worker in workers]
        assert ended[1:] == [0, 0] and ended[0] == -9
        assert await demand(database) == []
