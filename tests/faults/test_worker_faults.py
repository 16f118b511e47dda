"""Workers are killed, frozen, hung and cancelled for real; what was accepted ends right, and says why."""

import asyncio
import hashlib
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from service.ids import RenderId
from service.store.catalog.datasets import to_dataset_row
from service.store.database import Database
from service.store.renders import lifecycle, queries
from tests.faults.interrupted_renders import VERY_SLOW, submit
from tests.support.data.database_rows import OPTIONS, add_render
from tests.support.data.footage import add_footage, frame_jpeg
from tests.support.patience import PATIENCE_S
from tests.support.processes.supervisor import running_supervisor, wait_for_status, wait_until_ended
from tests.support.processes.worker_process import slot_pids, worker_process
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio


async def rerender(database: Database, render: RenderId) -> RenderId:
    """The same render anew, its segments forgotten."""
    async with database.service_transaction() as connection:
        query = text("SELECT d.* FROM datasets d JOIN renders r ON r.dataset_id = d.id WHERE r.id = :render")
        dataset = to_dataset_row((await connection.execute(query, {"render": render})).mappings().one())
        await connection.execute(text("DELETE FROM segment_cache"))
        return await add_render(connection, dataset, options=VERY_SLOW)


def digest(home: Path, row: Any) -> str:
    data = (home / "objects" / "reelmill" / row["video_key"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == row["video_sha256"]
    return str(row["video_sha256"])


async def test_kill_9_of_a_worker_leaves_an_identical_video(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        render = await submit(database, tmp_path, count=100, options=VERY_SLOW)
        with worker_process(database.url, tmp_path) as first:
            await wait_for_status(database, render, lambda row: row["frames_done"] > 20)
            slots = slot_pids(first.pid)
            first.kill()
            with worker_process(database.url, tmp_path):
                row = await wait_until_ended(database, render)
                undisturbed = await wait_until_ended(database, await rerender(database, render))
        assert row["status"] == undisturbed["status"] == "succeeded"
        assert row["attempts"] >= 2, "the first worker's segment was started again"
        assert digest(tmp_path, row) == digest(tmp_path, undisturbed)
        assert slots and not any(Path(f"/proc/{slot}").exists() for slot in slots), "slots die with their supervisor"


async def test_kill_9_of_a_slot_is_retried(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        render = await submit(database, tmp_path)
        with worker_process(database.url, tmp_path) as worker:
            await wait_for_status(database, render, lambda row: row["frames_done"] > 20)
            os.kill(slot_pids(worker.pid)[0], signal.SIGKILL)
            row = await wait_until_ended(database, render)
        assert (row["status"], row["video_frames"]) == ("succeeded", 240)
        assert row["attempts"] == 2
        (failed,) = row["failed_attempts"]
        assert (failed["code"], failed["counted"], failed["task"]) == ("slot_killed", False, "segment")
        assert failed["worker"].endswith(f":{worker.pid}") and "SIGKILL" in failed["reason"]


async def test_a_frozen_worker_is_fenced(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        render = await submit(database, tmp_path)
        with worker_process(database.url, tmp_path) as frozen:
            await wait_for_status(database, render, lambda row: row["frames_done"] > 20)
            frozen.send_signal(signal.SIGSTOP)
            with worker_process(database.url, tmp_path):
                row = await wait_until_ended(database, render)
            frozen.send_signal(signal.SIGCONT)
            await asyncio.sleep(3)
            assert frozen.poll() is None, "it goes on working, only its stale lease is void"
            async with database.service_transaction() as connection:
                states = (await connection.execute(text("SELECT state, count(*) FROM tasks GROUP BY 1"))).all()
                segments = await connection.scalar(text("SELECT count(*) FROM segments"))
        assert row["status"] == "succeeded"
        assert [tuple(state) for state in states] == [("succeeded", segments + 1)], "and one assembly, once each"


async def test_a_cancelled_render_frees_its_slot(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        render = await submit(database, tmp_path, 400)
        async with running_supervisor(database, tmp_path):
            await wait_for_status(database, render, lambda row: row["frames_done"] > 5)
            async with database.service_transaction() as connection:
                assert await lifecycle.cancel_render(connection, render)
            next_render = await submit(database, tmp_path, 10, OPTIONS)
            assert (await wait_until_ended(database, next_render))["status"] == "succeeded"
            row = await wait_until_ended(database, render)
            assert row["frames_done"] < 400, "it went on"
            async with database.service_transaction() as connection:
                assert await lifecycle.retry_render(connection, render)
            revived = await wait_until_ended(database, render)
        assert row["status"] == "cancelled"
        assert (revived["status"], revived["video_frames"]) == ("succeeded", 400)


async def test_sigterm_drains(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        render = await submit(database, tmp_path)
        with worker_process(database.url, tmp_path, REELMILL_SHUTDOWN_TIMEOUT=str(PATIENCE_S)) as worker:
            await wait_for_status(database, render, lambda row: row["frames_done"] > 5)
            worker.terminate()
            code = await asyncio.to_thread(worker.wait, PATIENCE_S)
            async with database.service_transaction() as connection:
                query = text("SELECT state, count(*), max(starts) AS starts FROM tasks GROUP BY state")
                states = {row.state: row for row in await connection.execute(query)}
        assert code == 0
        assert set(states) <= {"succeeded", "queued"}, "the task under way was finished, none was left running"
        assert states["succeeded"].count >= 1


async def test_a_policy_of_fail_names_the_frame(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            dataset = await add_footage(
                connection, tmp_path, 20, make=lambda *of: frame_jpeg(*of) if of[0] != 7 else b"no"
            )
            render = await add_render(connection, dataset, options=replace(OPTIONS, corrupt="fail"))
        async with running_supervisor(database, tmp_path):
            row = await wait_until_ended(database, render)
        assert row["status"] == "failed"
        assert "frame 7" in row["error"]["reason"]


async def test_a_store_that_is_away_is_waited_for(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        render = await submit(database, tmp_path, 20, OPTIONS)
        objects = tmp_path / "objects" / "reelmill" / "segments"
        objects.parent.mkdir(parents=True, exist_ok=True)
        objects.write_text("a file where the folder of segments should be")
        async with running_supervisor(database, tmp_path):
            await wait_for_status(database, render, lambda row: row["problem"] is not None)
            async with database.service_transaction() as connection:
                assert (await queries.list_statuses(connection, [render]))[0]["status"] == "running"
            objects.unlink()
            row = await wait_until_ended(database, render)
        assert row["status"] == "succeeded"
