"""Frames that are replaced, taken away and put back between scan, plan, fetch and repeat, through the real queue."""

import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import av
import pytest
from sqlalchemy import insert, text

from service.ids import DatasetId, Subject
from service.plan.facts import RenderLimits
from service.plan.render_plan import RenderOptions
from service.store.catalog import datasets
from service.store.database import Database
from service.store.deletion import execute_deletion, lock_for_deletion
from service.store.objects.files import FileObjectStore
from service.store.objects.keys import segment_key
from service.store.renders import lifecycle
from service.store.renders.submission import RenderSubmission, submit_render
from service.store.tables import segment_cache
from tests.support.data.database_rows import OPTIONS, add_dataset, render_plan
from tests.support.data.footage import frame_jpeg
from tests.support.data.scanning import scan_dataset
from tests.support.processes.supervisor import running_supervisor, wait_until_ended
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
COUNT, LIMITS = 12, RenderLimits.model_construct(max_queued=99)


@dataclass
class Camera:
    """A dataset of `COUNT` frames in a folder, a worker, and what a user does with them."""

    database: Database
    home: Path
    dataset: UUID
    folder: Path

    @classmethod
    async def install(cls, database: Database, home: Path) -> "Camera":
        async with database.service_transaction() as connection:
            row = await add_dataset(connection, 0)
        camera = cls(database, home, row.id, home / "objects" / "reelmill" / row.prefix)
        camera.folder.mkdir(parents=True)
        for number in range(COUNT):
            camera.path(number).write_bytes(frame_jpeg(10 * number))
        await camera.scan()
        return camera

    def path(self, number: int) -> Path:
        return self.folder / f"f{number:05d}.jpg"

    async def scan(self) -> str:
        """The dataset's digest after another scan."""
        store = FileObjectStore(self.home / "objects", "reelmill")
        await scan_dataset(self.database, store, DatasetId(self.dataset))
        async with self.database.service_transaction() as connection:
            row = await datasets.get(connection, self.dataset)
        assert row is not None
        return row.digest

    async def ask(self, **changes: Any) -> UUID:
        """Ask for a video of all frames; the render that is the answer."""
        options: RenderOptions = replace(OPTIONS, codec="mjpeg", container="avi", form="yuvj420p", **changes)
        async with self.database.service_transaction() as connection:
            row = await datasets.get(connection, self.dataset)
            assert row is not None
            plan = render_plan(row, 1, options)
            return (await submit_render(connection, RenderSubmission(plan, {}, Subject("alice"), LIMITS)))["id"]

    async def render(self, **changes: Any) -> Any:
        return await wait_until_ended(self.database, await self.ask(**changes))

    async def delete(self, render: UUID) -> None:
        async with self.database.service_transaction() as connection:
            plan = await lock_for_deletion(connection, "render", render, "reelmill")
            await execute_deletion(connection, plan, force=False)

    def outcomes(self, row: Any) -> dict[int, tuple[str, str | None]]:
        """Frames that are not plain ok: index -> (outcome, reason), from the receipt."""
        path = self.home / "objects" / "reelmill" / row["receipt_key"]
        lines = [json.loads(line) for line in path.read_text().splitlines()[:-1]]
        return {line["source"]: (line["outcome"], line["reason"]) for line in lines if line["outcome"] != "ok"}

    def numbers(self, row: Any) -> list[int]:
        """Which picture each frame of the video shows: see `frame_jpeg`."""
        with av.open(str(self.home / "objects" / "reelmill" / row["video_key"])) as video:
            levels = [int(frame.to_ndarray(format="gray")[-8, -8]) for frame in video.decode(video=0)]
        return [round((level - 20) / 10) for level in levels]


@pytest.fixture(scope="module")
async def working(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Database, Path]]:
    """A worker that all tests of this file share: its database and its home."""
    home = tmp_path_factory.mktemp("home")
    async with fresh_database(postgres_url) as database, running_supervisor(database, home):
        yield database, home


@pytest.fixture
async def camera(working: tuple[Database, Path]) -> Camera:
    """A dataset of the test's own."""
    return await Camera.install(*working)


ALL = list(range(COUNT))


async def test_a_frame_that_was_replaced_fails_the_render_until_the_next_scan(camera: Camera) -> None:
    digest = await camera.scan()
    camera.path(3).write_bytes(frame_jpeg(1000))
    row = await camera.render()
    assert row["status"] == "failed"
    assert row["error"]["code"] == "frame_policy"
    assert "frame 3: the frame changed since the scan: scan the dataset again" in row["error"]["reason"]
    assert await camera.scan() != digest
    row = await camera.render()
    assert row["status"] == "succeeded", row["error"]
    assert camera.numbers(row) == [0, 1, 2, 100 % 20, *ALL[4:]]


@pytest.mark.parametrize("is_deleted", [False, True])
async def test_a_video_of_other_frames_is_never_the_answer(camera: Camera, is_deleted: bool) -> None:
    """Replaced after the scan, rendered, put back, scanned, asked for again."""
    old, status = camera.path(3).read_bytes(), camera.path(3).stat()
    digest = await camera.scan()
    camera.path(3).write_bytes(frame_jpeg(70))
    first = await camera.render(changed="skip")
    assert (first["status"], camera.numbers(first)) == ("succeeded", [0, 1, 2, *ALL[4:]])
    outcome, reason = camera.outcomes(first)[3]
    assert outcome == "skipped" and "changed since the scan" in (reason or "")
    assert first["summary"]["segments_transient"] == 1
    if is_deleted:
        await camera.delete(first["id"])
    camera.path(3).write_bytes(old)
    os.utime(camera.path(3), ns=(status.st_atime_ns, status.st_mtime_ns))
    assert await camera.scan() == digest
    again = await camera.render(changed="skip")
    assert again["id"] != first["id"]
    assert (camera.outcomes(again), camera.numbers(again)) == ({}, ALL)
    assert await camera.ask(changed="skip") == again["id"], "this one is the answer from now on"


async def test_a_frame_that_was_away_for_a_moment(camera: Camera) -> None:
    away = camera.folder.parent / "away"
    camera.path(5).rename(away)
    first = await camera.render(missing="hold")
    assert camera.outcomes(first) == {5: ("held", "the object does not exist")}
    away.rename(camera.path(5))
    again = await camera.render(missing="hold")
    assert (camera.outcomes(again), camera.numbers(again)) == ({}, ALL)


async def test_a_retry_renders_transient_segments_again(camera: Camera) -> None:
    """The first of two segments held a frame, the second failed; both frames come back before the retry."""
    away, old, status = camera.folder.parent / "away", camera.path(9).read_bytes(), camera.path(9).stat()
    camera.path(2).rename(away)
    camera.path(9).write_bytes(frame_jpeg(0))
    options = {"missing": "hold", "fps": OPTIONS.fps / 15}
    render = await camera.ask(**options)
    row = await wait_until_ended(camera.database, render)
    assert row["status"] == "failed", "each second is a segment: the last ones failed"
    away.rename(camera.path(2))
    camera.path(9).write_bytes(old)
    os.utime(camera.path(9), ns=(status.st_atime_ns, status.st_mtime_ns))
    async with camera.database.service_transaction() as connection:
        assert await lifecycle.retry_render(connection, render)
    row = await wait_until_ended(camera.database, render)
    assert (row["status"], camera.outcomes(row), camera.numbers(row)) == ("succeeded", {}, ALL)
    assert row["summary"]["segments_transient"] == 0


async def test_segments_of_an_earlier_version_are_not_taken_over(camera: Camera) -> None:
    """A render that was under way during an upgrade: its keys, and what is stored under them, are the old version's."""
    old = "0" * 64
    async with camera.database.service_transaction() as connection:
        row = await datasets.get(connection, camera.dataset)
        assert row is not None
        options = replace(OPTIONS, codec="mjpeg", container="avi", form="yuvj420p", quality=60)
        plan = render_plan(row, 1, options)
        render = (await submit_render(connection, RenderSubmission(plan, {}, Subject("alice"), LIMITS)))["id"]
        await connection.execute(
            text("UPDATE segments SET content_key = :old, pipeline = NULL, reused = true WHERE render_id = :render"),
            {"render": render, "old": old},
        )
        await connection.execute(
            insert(segment_cache).values(
                content_key=old, key=segment_key(old), bytes=5, frames=COUNT, encoder="x", seconds={}
            )
        )
        await connection.execute(text("DELETE FROM tasks WHERE render_id = :render"), {"render": render})
        await lifecycle.mark_running(connection, render)
        await lifecycle.enqueue_assembly(connection, render)
    row = await wait_until_ended(camera.database, render)
    assert (row["status"], camera.numbers(row)) == ("succeeded", ALL), row["error"]
    async with camera.database.service_transaction() as connection:
        await connection.execute(text("DELETE FROM segment_cache WHERE content_key = :old"), {"old": old})
