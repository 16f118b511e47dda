"""A scan that takes over what the last one knows leaves the same as one that looks at everything."""

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import text

from service.ids import TaskId
from service.jobs import leases
from service.jobs.leases import ScanLease
from service.plan.render_plan import ObjectRef
from service.store.catalog import datasets, follows
from service.store.objects.files import FileObjectStore
from service.store.objects.object_store import ObjectNotFound
from service.worker import outcomes
from service.worker.scan.dataset import scan_objects
from service.worker.scan.store import ScanSummary
from service.worker.scan.watch import ObjectWatch
from service.worker.scan.writer import open_scan_writer
from tests.support.data import media
from tests.support.data.dataset_folder import DatasetFolder

pytestmark = pytest.mark.anyio


async def begin_known_scan(lab: DatasetFolder, after: str = "") -> ScanLease:
    """What a look does that has found a change, and a worker that takes the scan."""
    async with lab.database.service_transaction() as connection:
        await datasets.enqueue_known_scan(connection, lab.id, after)
        task = await connection.scalar(text("SELECT id FROM tasks WHERE state = 'queued'"))
        lease = await leases.acquire(connection, TaskId(task), "worker")
    assert isinstance(lease, ScanLease)
    return lease


async def known_scan(lab: DatasetFolder, after: str = "") -> ScanSummary:
    lease = await begin_known_scan(lab, after)
    async with open_scan_writer(lab.database, lab.id, lease) as writer:
        summary = await scan_objects(writer, lab.objects, lambda _: None, ObjectWatch(lambda key: None))
    async with lab.database.service_transaction() as connection:
        await leases.finish(connection, lease, "succeeded")
    return summary


@pytest.fixture
async def followed(lab: DatasetFolder) -> AsyncIterator[DatasetFolder]:
    async with lab.database.service_transaction() as connection:
        await follows.follow(connection, lab.id, "alice")
    yield lab


async def listing(lab: DatasetFolder) -> Any:
    async with lab.database.service_transaction() as connection:
        return await connection.scalar(text("SELECT listing FROM follows"))


async def facts(lab: DatasetFolder) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    row = await lab.row()
    # Levels are measured again when the dataset is twice as large.
    return await lab.rows(), {name: value for name, value in row.items() if name not in ("updated_at", "levels")}


SEEDS = 2
CONTENTS = (
    lambda n: media.jpeg(media.numbered_picture(n)),
    lambda n: media.tiff(np.full((8, 8), n, np.uint16)),
    lambda n: b"no picture %d" % n,
    lambda n: b"",
)
NAMES = (
    lambda n: f"f{n}.jpg",
    lambda n: f"night/f{n:05d}.tif",
    lambda n: f"IMG_20260301_1000{n % 60:02d}.jpg",
    lambda n: f"notes{n}.txt",
    lambda n: f".hidden{n}",
    lambda n: f"clip{n}.mp4",
)


def change_something(lab: DatasetFolder, chance: random.Random) -> None:
    present = [path for path in lab.folder.rglob("*") if path.is_file()]
    for _ in range(chance.randrange(1, 6)):
        if present and chance.random() < 0.4:
            path = chance.choice(present)
            path.unlink(missing_ok=True)
            if chance.random() < 0.5:
                path.write_bytes(chance.choice(CONTENTS)(chance.randrange(99)))
        else:
            lab.write_at(chance.choice(NAMES)(chance.randrange(99)), chance.choice(CONTENTS)(chance.randrange(99)))


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_it_leaves_the_same_rows_as_a_full_scan(followed: DatasetFolder, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(5):
        change_something(followed, chance)
        await known_scan(followed)
        last = (await listing(followed))["last_key"]
        for number in range(chance.randrange(3)):
            name = chance.choice(("f{:05d}.jpg", "zz{:02d}.tif", "zzz_20260301_1000{:02d}.jpg", "zzzz{}.txt"))
            name = name.format(1000 + number)
            followed.write_at(name, chance.choice(CONTENTS)(number))
            last = last if f"day/{name}" > last else ""
        await known_scan(followed, last)
        taken_over, listed = await facts(followed), await listing(followed)
        await followed.scan()
        assert taken_over == await facts(followed)
        assert listed == await listing(followed)


@pytest.mark.parametrize("named", [False, True])
async def test_what_comes_behind_the_last_key_is_added(followed: DatasetFolder, named: bool) -> None:
    """The objects before it are not listed again. Times in names stay what they are."""
    pattern = "IMG_20260301_1000{:02d}.jpg" if named else "f{:02d}.jpg"
    for number in range(5):
        followed.write_at(pattern.format(number), media.jpeg(media.numbered_picture(number)))
    followed.write_at("About.txt", b"text")
    await followed.scan()
    last = (await listing(followed))["last_key"]
    for number in range(5, 8):
        followed.write_at(pattern.format(number), media.jpeg(media.numbered_picture(number)))
    assert (await known_scan(followed, last)).frame_count == 8
    added, listed = await facts(followed), await listing(followed)
    assert [row["captured_at"] is not None for row in added[0]] == [named] * 8
    await followed.scan()
    assert (added, listed) == (await facts(followed), await listing(followed))


async def test_only_new_and_replaced_objects_are_read(followed: DatasetFolder) -> None:
    read: list[str] = []

    class Store(FileObjectStore):
        async def get(self, ref: ObjectRef, start: int = 0, stop: int | None = None, etag: str = "") -> bytes:
            read.append(ref.key)
            return await super().get(ref, start, stop, etag)

    followed.objects = Store(followed.objects.root, "reelmill")
    for number in range(5):
        followed.write_at(f"f{number}.jpg", media.jpeg(media.numbered_picture(number)))
    await followed.scan()
    read.clear()
    followed.write_at("f2.jpg", media.jpeg(media.numbered_picture(9)))
    followed.write_at("f5.jpg", media.jpeg(media.numbered_picture(5)))
    assert (await known_scan(followed)).frame_count == 6
    assert sorted(read) == ["day/f2.jpg", "day/f5.jpg"]


async def test_levels_hold_until_a_dataset_has_doubled(followed: DatasetFolder) -> None:
    """They shape the picture: a video that is made again when the dataset has grown keeps its earlier segments."""

    def write(number: int, value: int) -> None:
        followed.write_at(f"f{number}.tif", media.tiff(np.full((8, 8), value, np.uint16)))

    async def highest() -> float:
        return float((await followed.row())["levels"]["high"])

    for number in range(3):
        write(number, 1000)
    await followed.scan()
    for number in (3, 4):
        write(number, 2000)
        await known_scan(followed)
        assert await highest() == 1000
    write(5, 2000)
    await known_scan(followed)
    assert await highest() == 2000


async def test_changes_are_told_apart(followed: DatasetFolder) -> None:
    for number in (1, 2, 10):
        followed.write_at(f"f{number}.jpg", media.jpeg(media.numbered_picture(number)))
    await followed.scan()
    followed.write_at("f11.jpg", media.jpeg(media.numbered_picture(11)))
    followed.write_at("f3.jpg", media.jpeg(media.numbered_picture(3)))
    followed.write_at("f4.jpg", media.jpeg(media.numbered_picture(4)))
    followed.write_at("f2.jpg", media.jpeg(media.numbered_picture(12)))
    (followed.folder / "f1.jpg").unlink()
    await known_scan(followed)
    async with followed.database.service_transaction() as connection:
        changes = await connection.scalar(text("SELECT changes FROM follows"))
    assert changes == {"appended": 3 + 1, "late": 2, "replaced": 1, "vanished": 1}


async def test_a_dataset_that_is_scanned_so_can_be_rendered_meanwhile(followed: DatasetFolder) -> None:
    followed.write_at("f1.jpg", media.jpeg(media.numbered_picture(1)))
    await followed.scan()
    async with followed.database.service_transaction() as connection:
        await datasets.enqueue_known_scan(connection, followed.id, "")
    assert (await followed.row())["state"] == "ready"
    async with followed.database.service_transaction() as connection:
        asked = await datasets.enqueue_scan(connection, followed.id)
        tasks = (await connection.execute(text("SELECT id, payload FROM tasks"))).all()
    assert tasks == [(UUID(str(asked["id"])), None)], "who asks for a scan gets a full one"
    assert (await followed.row())["state"] == "scanning"


async def test_a_dataset_keeps_what_it_has_when_such_a_scan_fails(followed: DatasetFolder) -> None:
    followed.write_at("f1.jpg", media.jpeg(media.numbered_picture(1)))
    await followed.scan()
    query = text("SELECT problem, failures, due_at > now() + interval '9 s' AS waits FROM follows")
    for failures, waits in ((1, False), (2, True)):
        lease = await begin_known_scan(followed)
        async with followed.database.service_transaction() as connection:
            await outcomes.fail_task(connection, lease, "slot_died", "it ended three slots")
            told = (await connection.execute(query)).one()
        assert told == ("it ended three slots", failures, waits)
        row = await followed.row()
        assert (row["state"], row["error"], row["frame_count"]) == ("ready", None, 1)
    await known_scan(followed)
    async with followed.database.service_transaction() as connection:
        assert (await connection.execute(query)).one()[:2] == (None, 0)


async def test_a_bucket_that_is_away_is_not_an_empty_one(followed: DatasetFolder, tmp_path: Path) -> None:
    followed.write_at("f1.jpg", media.jpeg(media.numbered_picture(1)))
    await followed.scan()
    (tmp_path / "objects" / "camera").rename(tmp_path / "objects" / "away")
    with pytest.raises(ObjectNotFound):
        await known_scan(followed)
    assert await followed.keys() == ["f1.jpg"]
