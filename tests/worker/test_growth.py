"""An experiment that has grown is rendered again: only what changed is encoded."""

from dataclasses import replace
from pathlib import Path

import av
import pytest
from sqlalchemy import text

from tests.support.data.database_rows import add_render
from tests.support.data.footage import add_footage
from tests.support.processes.supervisor import running_supervisor, wait_until_ended
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
FRAMES_BEFORE, FRAMES_AFTER = 600, 630


async def test_five_percent_more_frames_cost_one_segment(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            dataset = await add_footage(connection, tmp_path, FRAMES_AFTER)
            first = await add_render(connection, replace(dataset, frame_count=FRAMES_BEFORE))
        async with running_supervisor(database, tmp_path, slots=2):
            assert (await wait_until_ended(database, first))["status"] == "succeeded"
            async with database.service_transaction() as connection:
                grown = await add_render(connection, dataset)
            row = await wait_until_ended(database, grown)
        assert (row["status"], row["video_frames"], row["frames_fresh"]) == (
            "succeeded",
            FRAMES_AFTER,
            FRAMES_AFTER - FRAMES_BEFORE,
        )
        async with database.service_transaction() as connection:
            query = text("SELECT reused, count(*) FROM segments WHERE render_id = :render GROUP BY reused")
            counted = {row.reused: row.count for row in await connection.execute(query, {"render": grown})}
        assert counted == {True: 9, False: 1}
    estimate = row["estimate"]
    assert (estimate["frames"], estimate["reused_frames"]) == (FRAMES_AFTER, FRAMES_BEFORE)
    assert set(estimate["stages"]) == {"fetch", "decode", "transform", "encode"} and estimate["stages"]["encode"] > 0
    with av.open(str(tmp_path / "objects" / "reelmill" / row["video_key"])) as video:
        assert sum(1 for _ in video.decode(video=0)) == FRAMES_AFTER
