"""A slot that has less memory than when it was new is replaced; no frame is blamed, and no render fails: real slots,
whose limit is lowered from outside once they have worked, as a leak or a neighbour's work would."""

import asyncio
import json
import os
import resource
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from service.ids import DatasetId
from service.plan.render_plan import RenderOptions
from service.plan.tone import Tone
from service.store.catalog import datasets
from service.store.database import Database
from tests.support.data.database_rows import OPTIONS, add_render
from tests.support.data.footage import add_footage, frame_jpeg, frame_tiff16
from tests.support.patience import PATIENCE_S
from tests.support.processes.supervisor import running_supervisor, wait_until_ended
from tests.support.processes.worker_process import slot_pids
from tests.support.servers.databases import fresh_database

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("log_lines")]
FRAMES, SIZE = 12, (320, 240)
DEEP = replace(OPTIONS, tone=Tone(1500, 2500))


def leave_memory(pid: int, spare_kb: int) -> None:
    used_kb = int(Path(f"/proc/{pid}/status").read_text().split("VmData:")[1].split()[0])
    resource.prlimit(
        pid, resource.RLIMIT_DATA, ((used_kb + spare_kb) << 10, resource.prlimit(pid, resource.RLIMIT_DATA)[1])
    )


async def fates(database: Database, home: Path, render: UUID) -> set[str]:
    """The outcomes of its frames."""
    row = await wait_until_ended(database, render)
    assert row["status"] == "succeeded", row["error"]
    lines = (home / "objects" / "reelmill" / row["receipt_key"]).read_text().splitlines()[:-1]
    return {json.loads(line)["outcome"] for line in lines}


async def wait_until_scanned(database: Database, dataset: DatasetId) -> datasets.DatasetRow:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with database.service_transaction() as connection:
                row = await datasets.get(connection, dataset)
            assert row is not None
            if row.state in ("ready", "failed") and row.levels is not None:
                return row
            await asyncio.sleep(0.05)


async def render_footage(database: Database, home: Path, options: RenderOptions) -> set[str]:
    make = frame_tiff16 if options.tone else frame_jpeg
    async with database.service_transaction() as connection:
        dataset = await add_footage(connection, home, FRAMES, SIZE, make)
        render = await add_render(connection, dataset, options=options)
    return await fates(database, home, render)


@pytest.mark.parametrize("spare_kb", [0, 256, 2048, 8192])
@pytest.mark.parametrize("options", [OPTIONS, DEEP], ids=["jpeg", "tiff"])
async def test_a_render_of_ordinary_frames(
    postgres_url: str, tmp_path: Path, options: RenderOptions, spare_kb: int
) -> None:
    async with fresh_database(postgres_url) as database, running_supervisor(database, tmp_path):
        assert await render_footage(database, tmp_path, options) == {"ok"}
        (worked,) = slot_pids(os.getpid())
        leave_memory(worked, spare_kb)
        assert await render_footage(database, tmp_path, options) == {"ok"}
        (replaced,) = slot_pids(os.getpid())
        assert replaced != worked
        async with database.service_transaction() as connection:
            assert await connection.scalar(text("SELECT max(starts) FROM tasks")) == 1, "it goes on where it is"


async def test_a_scan_of_ordinary_frames(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database, running_supervisor(database, tmp_path):
        async with database.service_transaction() as connection:
            dataset = await add_footage(connection, tmp_path, FRAMES, SIZE, frame_tiff16)
        assert await render_footage(database, tmp_path, OPTIONS) == {"ok"}
        leave_memory(slot_pids(os.getpid())[0], 256)
        async with database.service_transaction() as connection:
            await datasets.enqueue_scan(connection, dataset.id)
        row = await wait_until_scanned(database, dataset.id)
    assert (row.state, row.frame_count, row.unreadable_frames) == ("ready", FRAMES, 0)
    assert row.levels is not None


async def test_frames_that_fit_into_no_slot_cost_no_slot(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database, running_supervisor(database, tmp_path, memory_mb=230):
        assert await render_footage(database, tmp_path, OPTIONS) == {"ok"}
        (worked,) = slot_pids(os.getpid())
        async with database.service_transaction() as connection:
            dataset = await add_footage(connection, tmp_path, 3, (9000, 8000))
            render = await add_render(connection, dataset)
        assert await fates(database, tmp_path, render) == {"black"}
        assert slot_pids(os.getpid()) == [worked]
