"""Renders through the real queue, real slot processes and the folder store."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import av
import pytest
from sqlalchemy import text

from service.ids import Subject
from service.plan.segments import select_frames
from service.store.renders.submission import write_render
from tests.support.data.database_rows import OPTIONS, add_render, render_plan
from tests.support.data.footage import add_footage
from tests.support.processes.supervisor import running_supervisor, wait_until_ended
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
WRITE_MP4_DIGEST = text("""
    UPDATE segment_cache SET digests = jsonb_set(segment_cache.digests, '{mp4}', odd.digests -> 'mp4')
    FROM segment_cache AS odd WHERE odd.key = :of AND segment_cache.key = :to
""")


async def test_frames_become_a_video(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            render = await add_render(connection, await add_footage(connection, tmp_path, 200))
        async with running_supervisor(database, tmp_path, slots=2):
            row = await wait_until_ended(database, render)
    assert row["status"] == "succeeded", row["error"]
    assert (row["frames_done"], row["frames_total"], row["video_frames"]) == (200, 200, 200)
    path = tmp_path / "objects" / "reelmill" / row["video_key"]
    with av.open(str(path)) as video:
        levels = [frame.to_ndarray(format="gray")[-1, -1] for frame in video.decode(video=0)]
    assert len(levels) == 200
    assert levels[10] < levels[100] < levels[180], "the frames are in order"


async def test_a_render_of_which_nothing_is_left_says_so(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            dataset = await add_footage(connection, tmp_path, 100, make=lambda *_: b"no picture")
            render = await add_render(connection, dataset, options=replace(OPTIONS, corrupt="skip"))
        async with running_supervisor(database, tmp_path, slots=2):
            row = await wait_until_ended(database, render)
    assert (row["status"], row["error"]["code"]) == ("failed", "no_frames"), row["error"]


async def test_segments_that_do_not_fit_together_are_made_again(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database, running_supervisor(database, tmp_path):
        async with database.service_transaction() as connection:
            dataset = await add_footage(connection, tmp_path, 100)
            small = await add_render(connection, dataset, options=replace(OPTIONS, width=32, height=24))
        await wait_until_ended(database, small)
        async with database.service_transaction() as connection:
            odd = (await connection.execute(text("SELECT key FROM segment_cache LIMIT 1"))).scalar_one()
            render = await add_render(connection, dataset)
        await wait_until_ended(database, render)
        async with database.service_transaction() as connection:
            keys = (await connection.execute(text("SELECT key FROM segment_cache ORDER BY created_at"))).scalars().all()
            bucket = tmp_path / "objects" / "reelmill"
            shutil.copyfile(bucket / odd, bucket / keys[-1])
            await connection.execute(WRITE_MP4_DIGEST, {"of": odd, "to": keys[-1]})  # as if it was written like this
            await connection.execute(text("DELETE FROM renders"))
            again = await add_render(connection, dataset)
        row = await wait_until_ended(database, again)
        async with database.service_transaction() as connection:
            query = text("SELECT error ->> 'code' FROM tasks WHERE kind = 'assemble' AND state = 'cancelled'")
            reasons = (await connection.execute(query)).scalars().all()
    assert (row["status"], row["video_frames"], reasons) == ("succeeded", 100, ["segments_differ"]), row["error"]


async def test_what_a_slot_says_is_in_the_log_stream(
    postgres_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            dataset = await add_footage(connection, tmp_path, 5)
            render = await add_render(connection, dataset)
        longer = tmp_path / "objects" / "reelmill" / dataset.prefix / "f00003.jpg"
        longer.write_bytes(longer.read_bytes() + bytes(10))
        async with running_supervisor(database, tmp_path):
            await wait_until_ended(database, render)
    lines = [line for line in capfd.readouterr().out.splitlines() if "frame changed since the scan" in line]
    records = [json.loads(line) for line in lines]
    found = [(line["level"], line["key"].rpartition("/")[2], line["logger"]) for line in records]
    assert found == [("warning", "f00003.jpg", "worker")]


async def test_a_worker_that_is_stopped_while_it_starts_breaks_no_connection(postgres_url: str, tmp_path: Path) -> None:
    """Whatever is raised in a callback of the loop fails this test."""
    async with fresh_database(postgres_url) as database:
        for _ in range(5):
            async with running_supervisor(database, tmp_path):
                pass


async def test_a_receipt_names_frames_by_where_they_are_now(postgres_url: str, tmp_path: Path) -> None:
    """Also of frames that were rendered when they had other places, before one more arrived."""
    async with fresh_database(postgres_url) as database, running_supervisor(database, tmp_path):
        async with database.service_transaction() as connection:
            dataset = await add_footage(connection, tmp_path, 20)
            before = await add_render(connection, dataset)
        await wait_until_ended(database, before)
        async with database.service_transaction() as connection:
            await connection.execute(text('UPDATE frames SET "index" = -1 - "index", number = number + 1'))
            await connection.execute(text('UPDATE frames SET "index" = -"index"'))
            grown = replace(dataset, frame_count=21)
            plan = replace(render_plan(grown, 1, OPTIONS), selection=select_frames(21, 1, 1, None))
            after = await write_render(connection, Subject("alice"), plan, {})
        row = await wait_until_ended(database, after)
    lines = (tmp_path / "objects" / "reelmill" / row["receipt_key"]).read_text().splitlines()[:-1]
    named = [(entry["source"], Path(entry["key"]).name) for entry in map(json.loads, lines)]
    assert named == [(number + 1, f"f{number:05d}.jpg") for number in range(20)]
