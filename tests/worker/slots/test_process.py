"""A slot process as its supervisor sees it: a scan, and the process that takes over after it."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.store.catalog import datasets
from service.store.catalog.datasets import DatasetRow
from service.store.database import Database
from service.worker.slots.messages import Outcome, ScanDataset, ScanDone
from service.worker.slots.process import SlotDied, SlotProcess
from tests.support.data.database_rows import add_dataset
from tests.support.data.footage import frame_jpeg
from tests.support.processes.supervisor import slot_config
from tests.support.processes.worker_process import slot_pids
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
DEADLINE_S = 60


async def add_unscanned_files(database: Database, home: Path, count: int) -> DatasetRow:
    async with database.service_transaction() as connection:
        dataset = await add_dataset(connection, 0)
        await datasets.enqueue_scan(connection, dataset.id)
    folder = home / "objects" / "reelmill" / dataset.prefix
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"f{number:05d}.jpg").write_bytes(frame_jpeg(number % 7))
    return dataset


async def wait_for_processes(count: int) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while len(slot_pids(os.getpid())) != count:
            await asyncio.sleep(0.005)


@asynccontextmanager
async def scanning_slot(server: str, home: Path) -> "AsyncIterator[tuple[SlotProcess, asyncio.Task[Outcome]]]":
    """A slot that has begun to scan 40 files, and its scan."""
    async with fresh_database(server) as database:
        dataset = await add_unscanned_files(database, home, 40)
        slot = SlotProcess(slot_config(database, home), 0)
        await slot.start()
        scan = asyncio.create_task(slot.execute(ScanDataset(dataset.id)))
        try:
            yield slot, scan
        finally:
            await slot.stop()
        assert slot_pids(os.getpid()) == []


async def test_the_next_process_starts_while_a_scan_goes_on(postgres_url: str, tmp_path: Path) -> None:
    async with scanning_slot(postgres_url, tmp_path) as (slot, scan):
        first = slot.pid
        await wait_for_processes(2)
        assert not scan.done()
        outcome = await scan
        assert isinstance(outcome, ScanDone) and outcome.frames == 40
        assert slot.pid is None and not slot.is_alive, "the exit of the first process is not waited for"
        await slot.start()
        assert slot.is_alive and slot.pid != first


async def test_a_slot_that_dies_in_a_scan_goes_on_with_the_next_process(postgres_url: str, tmp_path: Path) -> None:
    async with scanning_slot(postgres_url, tmp_path) as (slot, scan):
        first = slot.pid
        await wait_for_processes(2)
        (second,) = {*slot_pids(os.getpid())} - {first}
        slot.kill()
        with pytest.raises(SlotDied, match="SIGKILL"):
            await scan
        await slot.start()
        assert slot.is_alive and slot.pid == second


async def test_a_slot_that_stops_after_a_scan_leaves_no_process(postgres_url: str, tmp_path: Path) -> None:
    async with scanning_slot(postgres_url, tmp_path) as (_, scan):
        assert isinstance(await scan, ScanDone)
