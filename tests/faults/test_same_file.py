"""One request is one file, however many slots share the work and whoever is killed over it: real worker processes."""

import hashlib
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from service.plan.geometry import Bins
from service.plan.render_plan import RenderOptions
from service.plan.tone import Tone
from service.store.database import Database
from service.store.renders import queries
from tests.support.data.database_rows import OPTIONS, add_render
from tests.support.data.footage import add_footage, frame_jpeg, frame_tiff16
from tests.support.processes.supervisor import wait_for_status, wait_until_ended
from tests.support.processes.worker_process import slot_pids, worker_process
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
SIZE = (320, 240)
BASE = replace(OPTIONS, width=320, height=240, quality=50)
CASES: dict[str, tuple[RenderOptions, Any]] = {
    "h264": (BASE, frame_jpeg),
    "av1": (replace(BASE, codec="av1"), frame_jpeg),
    "mean of deep frames": (
        replace(BASE, tone=Tone(1990, 2200, 0.8, "viridis"), bins=Bins("mean", 2, 320, 240)),
        frame_tiff16,
    ),
}
COUNT = 160


async def render_sha256(
    database: Database, home: Path, dataset: Any, options: RenderOptions, *, slots: int, kill_one: bool
) -> str:
    """sha256 of the video, rendered without the cache on this many slots. `kill_one` kills a slot midway."""
    async with database.service_transaction() as connection:
        await connection.execute(text("DELETE FROM segment_cache"))
        render = await add_render(connection, dataset, options.bins.size if options.bins else 1, options)
    with worker_process(database.url, home, REELMILL_SLOTS=str(slots)) as worker:
        if kill_one:
            await wait_for_status(database, render, lambda row: row["frames_done"] > 0)
            os.kill(slot_pids(worker.pid)[0], signal.SIGKILL)
        row = await wait_until_ended(database, render)
    assert row["status"] == "succeeded", row["error"]
    async with database.service_transaction() as connection:
        stored = await queries.get_render(connection, render)
    assert stored is not None
    data = (home / "objects" / "reelmill" / stored["video_key"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == stored["video_sha256"]
    return str(stored["video_sha256"])


@pytest.mark.parametrize("case", CASES)
async def test_any_number_of_slots_and_a_death_make_the_same_file(postgres_url: str, tmp_path: Path, case: str) -> None:
    options, make = CASES[case]
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            dataset = await add_footage(connection, tmp_path, COUNT, SIZE, make)
        digests = [
            await render_sha256(database, tmp_path, dataset, options, slots=slots, kill_one=slots == 2)
            for slots in (1, 2, 3)
        ]
    assert len(set(digests)) == 1
