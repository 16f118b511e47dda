"""Workers whose clock is an hour off: only the database's time counts."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import RenderId
from service.plan.render_plan import ObjectRef
from service.store import fleet
from service.store.database import Database
from service.store.objects.s3 import S3ObjectStore
from service.worker.settings import WorkerSettings
from service.worker.slots.messages import CodecConfig, SlotConfig
from service.worker.supervisor import Supervisor
from tests.support.data.database_rows import OPTIONS, add_render
from tests.support.data.footage import add_footage
from tests.support.patience import PATIENCE_S
from tests.support.processes.supervisor import NO_DEVICES, wait_until_ended
from tests.support.processes.worker_process import worker_process
from tests.support.processes.wrong_clock import needs_faketime, wrong_clock
from tests.support.servers.databases import fresh_database
from tests.support.servers.s3_server import S3Server, needs_s3, s3_server

pytestmark = [pytest.mark.anyio, needs_faketime]


async def submit(database: Database, home: Path, count: int) -> RenderId:
    async with database.service_transaction() as connection:
        return await add_render(connection, await add_footage(connection, home, count), options=OPTIONS)


async def test_workers_with_wrong_clocks_render(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        render = await submit(database, tmp_path, 60)
        with (
            worker_process(database.url, tmp_path, REELMILL_GPU_SLOTS="0", **wrong_clock("+1h")),
            worker_process(database.url, tmp_path, REELMILL_GPU_SLOTS="0", **wrong_clock("-1h")),
        ):
            row = await wait_until_ended(database, render, 120)
            async with asyncio.timeout(PATIENCE_S):
                while len(clocks := (await summarize(database)).clocks) < 2:
                    await asyncio.sleep(0.1)
            assert sorted(clocks.values()) == [pytest.approx(-3600, abs=60), pytest.approx(3600, abs=60)]
        async with database.service_transaction() as connection:
            late = await connection.scalar(
                text("""SELECT count(*) FROM tasks
                WHERE NOT (now() - interval '10 minutes' < started_at AND finished_at <= now())""")
            )
    assert (row["status"], row["failed_attempts"], late) == ("succeeded", [], 0), "nobody took the other for dead"


@needs_s3
async def test_what_a_worker_cannot_do_for_its_clock_others_do(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = s3_server()
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            dataset = await add_footage(connection, tmp_path, 30)
            await upload_frames(connection, server, tmp_path)
            dataset = replace(dataset, bucket=server.bucket)
            render = await add_render(connection, dataset, options=OPTIONS)
        with monkeypatch.context() as environment:  # of its slots; its own clock is right
            for name, value in wrong_clock("-1h").items():
                environment.setenv(name, value)
            refused = await start_supervisor(database, server, tmp_path)
            async with asyncio.timeout(PATIENCE_S):
                while not (troubles := (await summarize(database)).troubles):
                    await asyncio.sleep(0.1)
        assert "clock" in troubles[refused.supervisor.name]
        good = await start_supervisor(database, server, tmp_path)
        row = await wait_until_ended(database, render, 120)
        assert (row["status"], row["attempts"] > 1) == ("succeeded", True)
        assert {(each["code"], each["counted"]) for each in row["failed_attempts"]} == {("clock_skewed", False)}
        for each in (refused, good):
            each.supervisor.stop()
            async with asyncio.timeout(PATIENCE_S):
                await each.running


@dataclass(frozen=True)
class Running:
    supervisor: Supervisor
    running: "asyncio.Task[None]"


async def start_supervisor(database: Database, server: S3Server, home: Path) -> Running:
    """A supervisor on the S3 server, whose one slot is ready."""
    settings = WorkerSettings.model_construct(slots=1)
    supervisor = Supervisor(
        database, SlotConfig(server.settings(), home, CodecConfig(4096, 8, server.bucket)), settings, devices=NO_DEVICES
    )
    running = asyncio.create_task(supervisor.run())
    async with asyncio.timeout(PATIENCE_S):
        while not supervisor.slots.processes[0].is_alive:
            await asyncio.sleep(0.05)
    return Running(supervisor, running)


async def upload_frames(connection: AsyncConnection, server: S3Server, home: Path) -> None:
    """Store the files of `home` on the server, and tell the rows the ETags."""
    objects, folder = S3ObjectStore(server.settings()), home / "objects" / "reelmill"
    await objects.check()
    for path in folder.rglob("*.jpg"):
        key = str(path.relative_to(folder))
        stored = await objects.put(ObjectRef(server.bucket, key), path.read_bytes(), "image/jpeg")
        values = {"key": key, "etag": stored.etag}
        await connection.execute(text("UPDATE frames SET etag = :etag WHERE key = :key"), values)
    await connection.execute(text("UPDATE datasets SET bucket = :bucket"), {"bucket": server.bucket})
    await objects.close()


async def summarize(database: Database) -> fleet.Fleet:
    async with database.service_transaction() as connection:
        return await fleet.summarize_fleet(connection)
