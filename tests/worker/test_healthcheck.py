"""The container health check of a worker, as Docker runs it."""

import asyncio
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from service.store.database import Database
from tests.support.patience import PATIENCE_S
from tests.support.processes.worker_process import worker_process
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio


async def run_healthcheck(url: str) -> int:
    command = [sys.executable, "-m", "service.worker.healthcheck"]
    environment = dict(os.environ) | {"DATABASE_URL": url}
    return (await asyncio.to_thread(subprocess.run, command, env=environment, timeout=60)).returncode


async def count_workers(database: Database) -> int:
    async with database.service_transaction() as connection:
        return int(await connection.scalar(text("SELECT count(*) FROM workers")) or 0)


async def test_healthy_while_a_worker_of_this_machine_beats(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        assert await run_healthcheck(database.url) == 1
        with worker_process(database.url, tmp_path) as worker:
            async with asyncio.timeout(PATIENCE_S):
                while not await count_workers(database):
                    await asyncio.sleep(0.1)
            assert await run_healthcheck(database.url) == 0
            worker.terminate()
            await asyncio.to_thread(worker.wait, 30)
        assert await run_healthcheck(database.url) == 1


async def test_a_stale_or_foreign_presence_is_not_health(postgres_url: str) -> None:
    insert = text("""
        INSERT INTO workers (id, name, slots, version, heartbeat_at)
        VALUES (gen_random_uuid(), :here, 1, '0', now() - interval '20 seconds'),
            (gen_random_uuid(), 'another-machine:1', 1, '0', now())
    """)
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            await connection.execute(insert, {"here": f"{platform.node()}:1"})
        assert await run_healthcheck(database.url) == 1


async def test_a_database_that_is_away_is_not_health() -> None:
    assert await run_healthcheck("postgresql://nobody@127.0.0.1:1/nothing") == 1
