"""A slot process as its supervisor sees it."""

from pathlib import Path

import pytest

from service.store.catalog import datasets
from service.worker.scan.writer import open_scan_writer
from service.worker.slots.messages import ScanDataset, ScanDone
from service.worker.slots.process import SlotDied, SlotProcess
from tests.support.data.database_rows import add_dataset
from tests.support.data.footage import frame_jpeg
from tests.support.processes.supervisor import slot_config
from tests.support.servers.databases import fresh_database
from tests.worker.slots.deadly_frames import hang_at_the_start

pytestmark = pytest.mark.anyio


async def test_a_slot_goes_on_after_a_scan(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            dataset = await add_dataset(connection, 0)
            await datasets.enqueue_scan(connection, dataset.id)
        folder = tmp_path / "objects" / "reelmill" / dataset.prefix
        folder.mkdir(parents=True)
        for number in range(3):
            (folder / f"f{number}.jpg").write_bytes(frame_jpeg(number))
        slot = SlotProcess(slot_config(tmp_path), 0)
        await slot.start()
        first = slot.pid
        try:
            for _ in range(2):
                async with open_scan_writer(database, dataset.id) as writer:
                    assert await slot.execute(ScanDataset(dataset.id), writer) == ScanDone(3)
            assert slot.is_alive and slot.pid == first
        finally:
            await slot.stop()
        assert not slot.is_alive


async def test_a_slot_that_hangs_while_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for as long as for one that is slow."""
    monkeypatch.setattr("service.worker.start_watch.STALL_S", 1.0)
    slot = SlotProcess(slot_config(tmp_path), 0, hang_at_the_start)
    try:
        with pytest.raises(SlotDied, match="hung while it started") as died:
            await slot.start()
        assert died.value.code == "slot_killed"
    finally:
        await slot.stop()
