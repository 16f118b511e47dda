"""A slot's memory follows the picture size, never the number of frames: real slot processes, read from /proc."""

from dataclasses import replace
from pathlib import Path

import pytest

from service.plan.containers import HOLDERS, Codec
from service.plan.pixel_form import PixelForm
from service.store.database import Database
from tests.support.catalogue import OPTIONS, add_render
from tests.support.databases import fresh_database
from tests.support.footage import add_footage
from tests.support.processes import peak_megabytes, slot_pids, worker_process
from tests.support.workers import ended

pytestmark = pytest.mark.anyio
HD = (1920, 1080)
HD_LIMIT_MB = 350


async def rendered(database: Database, home: Path, count: int, size: tuple[int, int], codec: Codec) -> None:
    form: PixelForm = {"mjpeg": "yuvj422p", "ffv1": "yuvj420p"}.get(codec, "yuv420p")
    options = replace(OPTIONS, width=size[0], height=size[1], codec=codec, container=HOLDERS[codec][0], form=form)
    async with database.service() as connection:
        dataset = await add_footage(connection, home, count, size=size)
        render = await add_render(connection, dataset, options=options)
    assert (await ended(database, render, 120))["video_frames"] == count


@pytest.mark.parametrize("codec", HOLDERS)
async def test_a_slot_stays_small_at_1080p(postgres_url: str, tmp_path: Path, codec: Codec) -> None:
    async with fresh_database(postgres_url) as database:
        with worker_process(database.url, tmp_path) as worker:
            await rendered(database, tmp_path, 100, HD, codec)
            peak = peak_megabytes(slot_pids(worker.pid)[0])
    assert peak < HD_LIMIT_MB


async def test_ten_times_the_frames_take_no_more_memory(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        with worker_process(database.url, tmp_path) as worker:
            await rendered(database, tmp_path, 300, (64, 48), "h264")
            (slot,) = slot_pids(worker.pid)
            few = peak_megabytes(slot)
            await rendered(database, tmp_path, 3000, (64, 48), "h264")
            assert slot_pids(worker.pid) == [slot], "still the same process"
            assert peak_megabytes(slot) - few < 8
