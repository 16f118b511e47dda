"""A frame that ends its slot costs one frame: never the render, never another one, never the worker."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, text, update

from service.ids import TaskId, new_uuid
from service.jobs import attempts
from service.store.database import Database
from service.store.renders import queries
from service.store.tables import datasets, tasks
from service.worker.slots import pool
from service.worker.slots.process import SlotProcess
from tests.support.data.database_rows import add_dataset, add_render
from tests.support.data.footage import add_footage, frame_jpeg
from tests.support.patience import PATIENCE_S
from tests.support.processes.supervisor import running_supervisor, wait_until_ended
from tests.support.servers.databases import fresh_database
from tests.worker.slots import deadly_frames

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    monkeypatch.setattr(pool, "SlotProcess", partial(SlotProcess, run=deadly_frames.run))
    async with fresh_database(postgres_url) as database:
        yield database


async def render(database: Database, home: Path, deadly: dict[int, bytes], **options: Any) -> tuple[Any, Any]:
    """A render of 40 frames of which some are deadly, and one of others; how both ended."""

    def make(index: int, size: tuple[int, int]) -> bytes:
        return frame_jpeg(index, size) + deadly.get(index, b"")

    async with database.service_transaction() as connection:
        own = await add_render(connection, await add_footage(connection, home, 40, make=make))
        other = await add_render(connection, await add_footage(connection, home, 12), owner="bob")
    async with running_supervisor(database, home, frame_timeout_s=2.0, **options):
        return await wait_until_ended(database, own), await wait_until_ended(database, other)


async def outcomes(database: Database, home: Path, row: Any) -> dict[int, tuple[str, str]]:
    """What became of each frame that is not `ok`, and why, from the receipt."""
    lines = (home / "objects" / "reelmill" / row["receipt_key"]).read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return {
        line["source"]: (line["outcome"], line["reason"])
        for line in found
        if "source" in line and line["outcome"] != "ok"
    }


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (deadly_frames.CRASH, "it ended 2 slots: the slot process was ended by SIGABRT"),
        (deadly_frames.HANG, "it ended 2 slots: no progress for 2 s"),
        (deadly_frames.BALLOON, "takes more memory than a slot may use"),
    ],
)
async def test_a_deadly_frame_costs_one_frame(database: Database, tmp_path: Path, kind: bytes, reason: str) -> None:
    row, other = await render(database, tmp_path, {17: kind})
    assert (row["status"], row["video_frames"], other["status"]) == ("succeeded", 40, "succeeded"), row["error"]
    ((index, (outcome, why)),) = (await outcomes(database, tmp_path, row)).items()
    assert (index, outcome) == (17, "held") and reason in why
    async with database.service_transaction() as connection:
        transient = await connection.scalar(text("SELECT bool_or(transient) FROM segments"))
        plan, _ = await queries.load_segment_plan(connection, row["id"], 0)
    assert transient and plan.frames, "nobody else gets this segment as the answer"


async def test_many_deadly_frames_cost_as_many_frames(database: Database, tmp_path: Path) -> None:
    deadly = {3: deadly_frames.CRASH, 4: deadly_frames.BALLOON, 11: deadly_frames.CRASH, 30: deadly_frames.CRASH}
    row, other = await render(database, tmp_path, deadly)
    assert (row["status"], row["video_frames"], other["status"]) == ("succeeded", 40, "succeeded"), row["error"]
    assert set(await outcomes(database, tmp_path, row)) == set(deadly)


async def test_a_slot_that_hangs_whatever_it_does_is_given_up(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "MAX_HANGS", 1)
    row, _ = await render(database, tmp_path, dict.fromkeys(range(40), deadly_frames.HANG))
    assert (row["status"], row["error"]["code"]) == ("failed", "poison")
    assert "3 times" in row["error"]["reason"] and "no progress for 2 s" in row["error"]["reason"]


async def test_a_scan_goes_on_without_a_deadly_object(database: Database, tmp_path: Path) -> None:
    async with database.service_transaction() as connection:
        dataset = await add_dataset(connection, 0)
        await connection.execute(update(datasets).values(state="empty", width=None, height=None))
        task = TaskId(new_uuid())
        await connection.execute(insert(tasks).values(id=task, kind="scan", dataset_id=dataset.id, owner="alice"))
    folder = tmp_path / "objects" / "reelmill" / dataset.prefix
    folder.mkdir(parents=True)
    for number in range(6):
        deadly = b"at scan" + deadly_frames.CRASH if number == 2 else b""
        (folder / f"{number}.jpg").write_bytes(frame_jpeg(number) + deadly)
    async with running_supervisor(database, tmp_path):
        row = await wait_for_scan(database)
    assert (row["state"], row["frame_count"], row["unreadable_frames"]) == ("ready", 6, 1)
    assert "it ended 2 slots" in row["problems"][0]["reason"] and row["problems"][0]["example"] == "2.jpg"


async def wait_for_scan(database: Database) -> Any:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with database.service_transaction() as connection:
                row = (await connection.execute(text("SELECT * FROM datasets"))).mappings().one()
            if row["state"] in ("ready", "failed"):
                return row
            await asyncio.sleep(0.05)
