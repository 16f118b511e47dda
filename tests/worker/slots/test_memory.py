"""A slot's memory follows the picture size, never the number of frames: real slot processes, read from /proc."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from service.plan.formats import CONTAINERS, Codec, PixelFormat
from service.plan.tone import Tone
from service.store.catalog import datasets
from service.store.database import Database
from tests.support.data.database_rows import OPTIONS, add_dataset, add_render
from tests.support.data.footage import add_footage, frame_jpeg, frame_tiff16
from tests.support.patience import PATIENCE_S
from tests.support.processes.supervisor import running_supervisor, wait_until_ended
from tests.support.processes.worker_process import peak_megabytes, resident_mebibytes, slot_pids, worker_process
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
HD = (1920, 1080)
HD_LIMIT_MB = 350


async def run_render(database: Database, home: Path, count: int, size: tuple[int, int], codec: Codec) -> None:
    form: PixelFormat = {"mjpeg": "yuvj422p", "ffv1": "yuvj420p"}.get(codec, "yuv420p")
    options = replace(OPTIONS, width=size[0], height=size[1], codec=codec, container=CONTAINERS[codec][0], form=form)
    async with database.service_transaction() as connection:
        dataset = await add_footage(connection, home, count, size=size)
        render = await add_render(connection, dataset, options=options)
    assert (await wait_until_ended(database, render, 120))["video_frames"] == count


@pytest.mark.parametrize("codec", CONTAINERS)
async def test_a_slot_stays_small_at_1080p(postgres_url: str, tmp_path: Path, codec: Codec) -> None:
    async with fresh_database(postgres_url) as database:
        with worker_process(database.url, tmp_path) as worker:
            await run_render(database, tmp_path, 100, HD, codec)
            peak = peak_megabytes(slot_pids(worker.pid)[0])
    assert peak < HD_LIMIT_MB


async def test_a_slot_stays_small_with_deep_frames(postgres_url: str, tmp_path: Path) -> None:
    options = replace(OPTIONS, width=HD[0], height=HD[1], tone=Tone(1500, 2500, colormap="viridis"))
    async with fresh_database(postgres_url) as database:
        with worker_process(database.url, tmp_path) as worker:
            async with database.service_transaction() as connection:
                dataset = await add_footage(connection, tmp_path, 60, size=HD, make=frame_tiff16)
                render = await add_render(connection, dataset, options=options)
            assert (await wait_until_ended(database, render, 120))["video_frames"] == 60
            peak = peak_megabytes(slot_pids(worker.pid)[0])
    assert peak < HD_LIMIT_MB


async def test_an_idle_slot_gives_back_what_a_render_took(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database, running_supervisor(database, tmp_path, idle_s=0.5):
        await run_render(database, tmp_path, 60, HD, "av1")
        (slot,) = slot_pids(os.getpid())
        assert peak_megabytes(slot) > 250
        async with asyncio.timeout(PATIENCE_S):
            while resident_mebibytes(slot) > 160:
                await asyncio.sleep(0.1)


async def test_ten_times_the_frames_take_no_more_memory(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        with worker_process(database.url, tmp_path) as worker:
            await run_render(database, tmp_path, 300, (64, 48), "h264")
            (slot,) = slot_pids(worker.pid)
            few = peak_megabytes(slot)
            await run_render(database, tmp_path, 3000, (64, 48), "h264")
            assert slot_pids(worker.pid) == [slot], "still the same process"
            assert peak_megabytes(slot) - few < 8


async def peak_while_scanning(database: Database, home: Path, count: int, worker: int) -> float:
    """A dataset of `count` files in folders of a thousand; only the first is a picture. The slot's peak meanwhile."""
    peak = 0.0
    async with database.service_transaction() as connection:
        dataset = await add_dataset(connection, 0)
        await datasets.enqueue_scan(connection, dataset.id)
        folder = home / "objects" / "reelmill" / dataset.prefix
        for number in range(count):
            place = folder / f"{number // 1000:03d}" / f"f{number:05d}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"tiny" if number else frame_jpeg(0))
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with database.service_transaction() as connection:
                row = await datasets.get(connection, dataset.id)
            peak = max([peak, *(peak_megabytes(slot) for slot in slot_pids(worker))])
            if row is not None and row.state == "ready":
                break
            await asyncio.sleep(0.1)
    assert (row.frame_count, row.unreadable_frames) == (count, count - 1)
    return peak


async def test_a_scan_of_ten_times_the_frames_takes_no_more_memory(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        with worker_process(database.url, tmp_path) as worker:
            few = await peak_while_scanning(database, tmp_path, 2_000, worker.pid)
            many = await peak_while_scanning(database, tmp_path, 20_000, worker.pid)
    assert few > 70, "it was looked at while it scanned"
    assert many - few < 8


async def test_after_a_scan_a_slot_starts_anew_and_renders(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database, running_supervisor(database, tmp_path) as supervisor:
        (before,) = (slot.pid for slot in supervisor.slots.processes)
        await peak_while_scanning(database, tmp_path, 50, os.getpid())
        async with database.service_transaction() as connection:
            render = await add_render(connection, await add_footage(connection, tmp_path, 20))
        assert (await wait_until_ended(database, render))["video_frames"] == 20
        (after,) = (slot.pid for slot in supervisor.slots.processes)
        assert after != before
