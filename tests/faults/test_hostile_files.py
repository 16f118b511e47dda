"""Hostile files among good ones: each costs one frame, never the render, never another render, never a slot."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, text, update

from service.ids import TaskId, new_uuid
from service.store.catalog.datasets import DatasetRow, to_dataset_row
from service.store.database import Database
from service.store.tables import datasets, tasks
from tests.faults.hostile_files import HARMLESS, HOSTILE, VIDEOS
from tests.pipeline.rendering import read_numbers
from tests.support.data import media
from tests.support.data.database_rows import OPTIONS, add_dataset, add_render
from tests.support.data.footage import add_footage
from tests.support.patience import PATIENCE_S
from tests.support.processes.supervisor import running_supervisor, wait_until_ended
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
# Enough for the codecs and small pictures, not for the largest of the hostile ones.
MEMORY_MB = 448
SKIPPING = replace(OPTIONS, width=128, height=96, corrupt="skip", mismatch="scale")


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    async with fresh_database(postgres_url) as database:
        yield database


def good_frame(number: int) -> bytes:
    return media.jpeg(media.numbered_picture(number))


async def add_files(database: Database, home: Path, files: dict[str, bytes], kind: str = "frames") -> Any:
    """A dataset of these files, which waits to be scanned; its id."""
    async with database.service_transaction() as connection:
        dataset = await add_dataset(connection, 0)
        values = {"state": "empty", "kind": kind, "width": None, "height": None}
        await connection.execute(update(datasets).where(datasets.c.id == dataset.id).values(**values))
        task = TaskId(new_uuid())
        await connection.execute(insert(tasks).values(id=task, kind="scan", dataset_id=dataset.id, owner="alice"))
    folder = home / "objects" / "reelmill" / dataset.prefix
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return dataset.id


async def wait_for_scan(database: Database, dataset: Any) -> DatasetRow:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with database.service_transaction() as connection:
                query = text("SELECT * FROM datasets WHERE id = :id")
                row = (await connection.execute(query, {"id": dataset})).mappings().one()
            if row["state"] in ("ready", "failed"):
                assert row["state"] == "ready", row["error"]
                return to_dataset_row(row)
            await asyncio.sleep(0.05)


def read_receipt(home: Path, row: Any) -> dict[str, tuple[str, str | None]]:
    """File -> what became of it, and why."""
    lines = (home / "objects" / "reelmill" / row["receipt_key"]).read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return {Path(line["key"]).name: (line["outcome"], line["reason"]) for line in found if "source" in line}


def corpus() -> tuple[dict[str, bytes], dict[str, str], dict[str, int]]:
    """(files, hostile file -> its name, good file -> its number); a good one follows each hostile one."""
    files: dict[str, bytes] = {}
    hostile: dict[str, str] = {}
    good: dict[str, int] = {}
    for suffix, makers in HOSTILE.items():
        for name, make in makers.items():
            hostile[file := f"f{len(files):04d}{suffix}"] = name
            files[file] = make()
            good[file := f"f{len(files):04d}.jpg"] = len(good)
            files[file] = good_frame(good[file])
    return files, hostile, good


async def test_each_hostile_file_costs_one_frame(
    database: Database, tmp_path: Path, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    """None ends the slot; one may take more memory than is left there, and get a new slot, in which it may fit."""
    files, hostile, good = corpus()
    assert len(hostile) >= 40
    async with running_supervisor(database, tmp_path, memory_mb=MEMORY_MB) as supervisor:
        dataset = await wait_for_scan(database, await add_files(database, tmp_path, files))
        assert dataset.frame_count == len(files), "each file is one frame"
        async with database.service_transaction() as connection:
            beside = await add_render(connection, await add_footage(connection, tmp_path, 12), owner="bob")
        assert (await wait_until_ended(database, beside))["status"] == "succeeded"
        async with database.service_transaction() as connection:
            render = await add_render(connection, dataset, options=SKIPPING)
            beside = await add_render(connection, await add_footage(connection, tmp_path, 12), owner="bob")
        row = await wait_until_ended(database, render, 120)
        other = await wait_until_ended(database, beside)
        assert (row["status"], row["failed_attempts"]) == ("succeeded", []), row["error"]
        replaced = [line for line in log_lines() if line["event"] == "a slot has lost its memory and is replaced"]
        assert len(replaced) <= 1, replaced
        assert all(process.is_alive for process in supervisor.slots.processes)
    assert (other["status"], other["video_frames"], other["failed_attempts"]) == ("succeeded", 12, [])
    found = read_receipt(tmp_path, row)
    assert {hostile[file]: found[file] for file in hostile if found[file][0] != "skipped" or not found[file][1]} == {}
    assert {found[file] for file in good} == {("ok", None)}
    video = (tmp_path / "objects" / "reelmill" / row["video_key"]).read_bytes()
    assert read_numbers(video) == list(good.values()), "the good ones, in order"


async def test_what_else_a_picture_carries_costs_nothing(database: Database, tmp_path: Path) -> None:
    makers = [(suffix, make) for suffix, kinds in HARMLESS.items() for make in kinds.values()]
    files = {f"f{number:04d}{suffix}": make() for number, (suffix, make) in enumerate(makers)}
    async with running_supervisor(database, tmp_path, memory_mb=MEMORY_MB):
        dataset = await wait_for_scan(database, await add_files(database, tmp_path, files))
        async with database.service_transaction() as connection:
            render = await add_render(connection, dataset, options=SKIPPING)
        row = await wait_until_ended(database, render, 120)
    assert (row["status"], row["failed_attempts"], row["video_frames"]) == ("succeeded", [], len(files)), row["error"]


async def test_each_hostile_video_is_a_problem_of_its_own(database: Database, tmp_path: Path) -> None:
    """Those of which anything can be shown are sources; the others are told as problems, and end no scan."""
    good = media.video(media.numbered_picture(number) for number in range(12))
    files = {name: make() for name, make in VIDEOS.items()} | {"a good one.mp4": good, "~ another.mp4": good}
    async with running_supervisor(database, tmp_path, memory_mb=MEMORY_MB) as supervisor:
        dataset = await wait_for_scan(database, await add_files(database, tmp_path, files, "video"))
        (slot,) = (process.pid for process in supervisor.slots.processes)
        async with database.service_transaction() as connection:
            query = text("SELECT key, frame_count, problem FROM sources WHERE dataset_id = :id")
            rows = {Path(row.key).name: row for row in await connection.execute(query, {"id": dataset.id})}
            options = replace(SKIPPING, source_kind="video", missing="skip")
            render = await add_render(connection, dataset, options=options)
        row = await wait_until_ended(database, render, 120)
        assert (row["status"], row["failed_attempts"]) == ("succeeded", []), row["error"]
        assert [process.pid for process in supervisor.slots.processes] == [slot], "no file has ended the slot"
    assert {name for name, source in rows.items() if not source.frame_count and not source.problem} == set()
    assert sum(not source.frame_count for source in rows.values()) >= 18
    video = (tmp_path / "objects" / "reelmill" / row["video_key"]).read_bytes()
    numbers = read_numbers(video)
    assert numbers[-12:] == list(range(12)), "the good ones are shown whole"
