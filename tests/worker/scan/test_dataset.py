"""Scans of frames over real objects in a folder and a real database."""

import asyncio
import hashlib
import os
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from service.ids import DatasetId
from service.plan.render_plan import ObjectRef
from service.store.catalog.scan import is_regular_numbering
from service.store.objects.files import FileObjectStore
from service.store.tables import datasets
from tests.support.data import media
from tests.support.data.dataset_folder import JPEG, DatasetFolder
from tests.support.data.scanning import scan_dataset
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio


async def test_natural_order_and_facts(lab: DatasetFolder) -> None:
    for number in (10, 2, 1, 100, 9):
        lab.write_at(f"frame{number}.jpg", media.jpeg(media.numbered_picture(number)))
    summary = await lab.scan()
    assert (summary.state, summary.frame_count, summary.unreadable_frames) == ("ready", 5, 0)
    rows = await lab.rows()
    assert [(row["index"], row["number"]) for row in rows] == [(0, 1), (1, 2), (2, 9), (3, 10), (4, 100)]
    assert {(row["format"], row["width"], row["height"], row["problem"]) for row in rows} == {("jpeg", 128, 96, None)}
    row = await lab.row()
    assert (row["state"], row["width"], row["height"], row["formats"]) == ("ready", 128, 96, ["jpeg"])
    assert row["bytes"] == sum(path.stat().st_size for path in lab.folder.iterdir())
    assert row["gaps"] == [] and row["number_stride"] is None, "the numbering is not regular"
    lines = "".join(f"{row['key']}\0{row['etag']}\0{row['size']}\n" for row in rows)
    assert row["digest"] == hashlib.sha256(lines.encode()).hexdigest()


@pytest.mark.parametrize(
    ("numbers", "gaps", "first", "stride"),
    [
        ([*range(5, 30)], [], 5, 1),
        ([*range(0, 40, 4)], [], 0, 4),
        ([*range(50), *range(52, 100)], [(49, 50, 2)], 0, 1),
        ([*range(0, 100, 5), *range(150, 250, 5)], [(19, 100, 10)], 0, 5),
        ([0, 1, 3, 4], [(1, 2, 1)], 0, 1),
        ([*range(30), *range(31, 60), *range(65, 90)], [(29, 30, 1), (58, 60, 5)], 0, 1),
        ([0, 1, 5], [], None, None),
        ([0, 7, 9, 14, 30, 31], [], None, None),
        ([7], [], None, None),
        ([1, *range(1, 21), *range(22, 40)], [(20, 21, 1)], None, None),
    ],
)
async def test_gaps(
    lab: DatasetFolder, numbers: list[int], gaps: list[tuple[int, int, int]], first: int | None, stride: int | None
) -> None:
    """Reported where the numbering is regular; first and stride are set where it places every frame."""
    for position, number in enumerate(numbers):
        lab.write_at(f"f{number:0{4 + numbers[:position].count(number)}d}.jpg", JPEG)
    await lab.scan()
    row = await lab.row()
    assert row["frame_count"] == len(numbers)
    assert [(gap["after_index"], gap["number"], gap["count"]) for gap in row["gaps"]] == gaps
    assert row["gap_frames"] == sum(count for _, _, count in gaps)
    assert (row["number_first"], row["number_stride"]) == (first, stride)
    if stride:
        assert row["frame_count"] + row["gap_frames"] == (numbers[-1] - numbers[0]) // stride + 1


async def test_only_the_first_hundred_gaps_are_listed(lab: DatasetFolder) -> None:
    for number in range(3000):
        if number % 20 != 7:
            lab.write_at(f"{number // 1000}/f{number}.jpg", b"x")
    lab.write_at("2/f2999.jpg", JPEG)
    await lab.scan()
    row = await lab.row()
    assert (len(row["gaps"]), row["gap_frames"], row["frame_count"]) == (100, 150, 2850)


def test_what_is_regular() -> None:
    assert is_regular_numbering(90, 100) and is_regular_numbering(2, 3) and is_regular_numbering(2, 2)
    assert not is_regular_numbering(89, 100) and not is_regular_numbering(1, 2) and not is_regular_numbering(1, 1)


async def test_objects_that_cannot_be_read_are_named(lab: DatasetFolder) -> None:
    """Whatever claims to be an image keeps its place; what is hidden or something else is no frame."""
    lab.write_at("f01.jpg", JPEG)
    lab.write_at("f02.jpg", b"this is text\n")
    lab.write_at("f03.jpg", JPEG[:100])
    lab.write_at("f04.jpg", b"")
    lab.write_at("f05.bmp", b"BM" + bytes(60))
    lab.write_at("f06.png", media.png_bomb())
    lab.write_at("f07.tif", media.tiff_bomb())
    lab.write_at("f08.tif", b"II*\0\xff\xff\xff\xff" + bytes(100))
    lab.write_at("f09", JPEG)
    lab.write_at("f10.JPG", media.png(media.numbered_picture(1)))
    lab.write_at("f11.jpg", media.truncate(JPEG, 0.98))
    lab.write_at("._f01.jpg", b"AppleDouble")
    lab.write_at("notes.txt", b"text")
    summary = await lab.scan()
    rows = {row["key"].removeprefix("day/"): row for row in await lab.rows()}
    assert list(rows) == [
        *(
            f"f{number:02d}.{end}"
            for number, end in enumerate(("jpg", "jpg", "jpg", "jpg", "bmp", "png", "tif", "tif"), 1)
        ),
        "f09",
        "f10.JPG",
        "f11.jpg",
    ]
    assert {name for name, row in rows.items() if row["problem"]} == {
        "f02.jpg",
        "f03.jpg",
        "f04.jpg",
        "f05.bmp",
        "f08.tif",
    }
    assert rows["f02.jpg"]["problem"] == "not a JPEG, PNG, TIFF or WebP image"
    assert (rows["f06.png"]["width"], rows["f06.png"]["height"]) == (30_000, 30_000), "registered, never decoded"
    assert (rows["f10.JPG"]["format"], rows["f11.jpg"]["format"]) == ("png", "jpeg"), "by content, not by name"
    assert (summary.state, summary.unreadable_frames, summary.ignored) == ("ready", 5, 2)


async def test_what_is_left_out_is_counted_and_named(lab: DatasetFolder) -> None:
    """By suffix, or what else it is; also what a folder has that no object store lists."""
    for name in ("f1.jpg", "@eaDir/f1.jpg", ".thumbnails/f1.jpg", "deep/@eaDir/f1.jpg", "f1.jpg.part"):
        lab.write_at(name, JPEG)
    for name in ("a.3gp", "b.3gp", "c.H264", "notes.txt", "README", "Thumbs.db"):
        lab.write_at(name, b"text")
    lab.write_at("f2.heic", b"\0\0\0\x18ftypheic")
    lab.write_at("f3.jpg", b"")
    lab.write_at("f4.jpg", b"")
    (lab.folder / "link.jpg").symlink_to(lab.folder / "f1.jpg")
    os.mkfifo(lab.folder / "pipe.jpg")
    Path(os.fsdecode(os.fsencode(lab.folder) + b"/caf\xe9.jpg")).write_bytes(JPEG)
    summary = await lab.scan()
    row = await lab.row()
    counts = {label: (entry["count"], entry["example"]) for label, entry in row["excluded"].items()}
    assert counts == {
        "@eaDir": (2, "@eaDir/f1.jpg"),
        "hidden": (1, ".thumbnails/f1.jpg"),
        ".part": (1, "f1.jpg.part"),
        ".3gp": (2, "a.3gp"),
        ".h264": (1, "c.H264"),
        ".txt": (1, "notes.txt"),
        "no suffix": (1, "README"),
        "Thumbs.db": (1, "Thumbs.db"),
        "link": (1, "link.jpg"),
        "special file": (1, "pipe.jpg"),
        "name not in UTF-8": (1, "caf\\xe9.jpg"),
    }
    assert row["excluded"][".3gp"]["reason"] == "videos: make a dataset of kind video"
    assert (await lab.keys(), summary.ignored) == (["f1.jpg", "f2.heic", "f3.jpg", "f4.jpg"], 13)
    problems = {problem["example"]: problem["count"] for problem in row["problems"]}
    assert problems == {"f2.heic": 1, "f3.jpg": 2} and summary.unreadable_frames == 3
    (lab.folder / "notes.txt").unlink()
    await lab.scan()
    assert ".txt" not in (await lab.row())["excluded"], "only what the last scan left out"


@pytest.mark.parametrize(
    ("prefix", "hidden"), [("day/.cache/", 0), ("day/.ca", 0), ("day/", 1), ("day/@eaDir/", 0), ("da", 1)]
)
async def test_a_prefix_may_name_what_is_hidden(postgres_url: str, tmp_path: Path, prefix: str, hidden: int) -> None:
    async with fresh_database(postgres_url) as database:
        lab = DatasetFolder(database, tmp_path)
        await lab.create(prefix=prefix)
        lab.write_at("@eaDir/f.jpg" if "@" in prefix else ".cache/f.jpg", JPEG)
        summary = await lab.scan()
        assert (summary.frame_count, summary.ignored) == (1 - hidden, hidden)


async def test_a_source_deleted_during_the_scan_is_told(lab: DatasetFolder) -> None:
    async with lab.database.service_transaction() as connection:
        await connection.execute(text("UPDATE datasets SET kind = 'video'"))
    lab.write_at("a.mp4", media.video(media.numbered_picture(n) for n in range(3)))
    lab.write_at("b.mp4", b"x")
    lab.write_at("c.jpg", JPEG)

    class Store(FileObjectStore):
        async def get(self, ref: ObjectRef, start: int = 0, stop: int | None = None, etag: str = "") -> bytes:
            (lab.folder / "b.mp4").unlink(missing_ok=True)
            return await super().get(ref, start, stop, etag)

    lab.objects = Store(lab.objects.root, "reelmill")
    assert (await lab.scan()).state == "ready"
    excluded = (await lab.row())["excluded"]
    assert excluded["deleted"]["example"] == "b.mp4"
    assert excluded[".jpg"] == {"count": 1, "example": "c.jpg", "reason": "images: make a dataset of kind frames"}


async def test_nothing_there(lab: DatasetFolder) -> None:
    summary = await lab.scan()
    row = await lab.row()
    assert summary.state == row["state"] == "failed"
    assert row["error"] == "no frames under day/ in bucket camera: upload some or correct the prefix, then scan again"
    lab.write_at("readme.txt", b"text")
    await lab.scan()
    assert "(left out: 1 .txt (readme.txt))" in (await lab.row())["error"]


async def test_no_bucket(lab: DatasetFolder) -> None:
    async with lab.database.service_transaction() as connection:
        await connection.execute(text("UPDATE datasets SET bucket = 'nowhere'"))
    assert (await lab.scan()).state == "failed"


async def test_nothing_can_be_read(lab: DatasetFolder) -> None:
    lab.write_at("f1.jpg", b"text")
    lab.write_at("f2.jpg", b"text")
    summary = await lab.scan()
    assert summary.state == "failed" and summary.frame_count == 2
    assert "none of the frames under day/ in bucket camera can be read" in str((await lab.row())["error"])
    assert len(await lab.rows()) == 2


async def test_sizes_and_orientation(lab: DatasetFolder) -> None:
    lab.write_at("f1.jpg", media.jpeg(media.numbered_picture(1, 64, 48)))
    for number in (2, 3):
        lab.write_at(
            f"f{number}.jpg", media.oriented_jpeg(media.numbered_picture(number, 96, 128), 6, "2026:03-01 10:00:00")
        )
    lab.write_at("f4.jpg", media.oriented_jpeg(media.numbered_picture(4, 96, 128), 8, "2026:03:01 10:00:00"))
    lab.write_at("f5.tif", media.tiff(media.numbered_picture(5, 640, 480), compression="deflate"))
    lab.write_at("f6.png", media.png16(media.numbered_picture(6, 64, 48)))
    await lab.scan()
    row = await lab.row()
    assert (row["width"], row["height"]) == (96, 128)
    assert row["sizes"] == [
        {"width": 96, "height": 128, "count": 3},
        {"width": 64, "height": 48, "count": 2},
        {"width": 640, "height": 480, "count": 1},
    ]
    assert row["formats"] == ["jpeg", "png", "tiff"]
    assert row["captured_from"] is not None and row["captured_from"] == row["captured_to"]
    assert row["captured_from"].isoformat().startswith("2026-03-01T08:00:00")


async def test_a_header_beyond_the_first_64_kib(lab: DatasetFolder) -> None:
    """libtiff writes the directory behind the picture; cameras put large thumbnails and profiles before it."""
    pixels = media.numbered_picture(1, 512, 512)
    lab.write_at("f1.tif", _directory_last(media.tiff(pixels)))
    profile = b"\xff\xe2\xff\xff" + bytes(65533)
    lab.write_at("f2.jpg", JPEG[:2] + profile * 2 + JPEG[2:])
    await lab.scan()
    assert [(row["width"], row["height"], row["problem"]) for row in await lab.rows()] == [
        (512, 512, None),
        (128, 96, None),
    ]


UNSHOWABLE = {
    "f1.jpg": (lambda: media.cmyk_jpeg(media.numbered_picture(1)), "a CMYK JPEG is for print"),
    "f2.jpg": (media.twelve_bit_jpeg, "a JPEG of 12-bit samples is not supported"),
    "f3.tif": (lambda: media.cmyk_tiff(media.numbered_picture(1)), "a CMYK TIFF is for print"),
    "f4.tif": (lambda: media.lab_tiff(media.numbered_picture(1)), "a TIFF in L*a*b* colours is not supported"),
}


async def test_kinds_that_cannot_be_shown_are_told_by_the_scan(lab: DatasetFolder) -> None:
    """So the planner does not advise another scan, which would change nothing."""
    for name, (make, _) in UNSHOWABLE.items():
        lab.write_at(name, make())
    summary = await lab.scan()
    assert (summary.state, summary.unreadable_frames) == ("failed", 4)
    assert summary.error is not None and "a CMYK JPEG is for print" in summary.error
    for row, (_, reason) in zip(await lab.rows(), UNSHOWABLE.values(), strict=True):
        assert row["problem"].startswith(reason)
    lab.write_at("f5.jpg", JPEG)
    summary = await lab.scan()
    assert (summary.state, summary.unreadable_frames) == ("ready", 4)
    assert (await lab.row())["forms"] == {"yuvj420p": 1}


def _directory_last(tiff: bytes) -> bytes:
    """The same TIFF with its first directory moved to the end (values it points to stay where they are)."""
    start = int.from_bytes(tiff[4:8], "little")
    count = int.from_bytes(tiff[start : start + 2], "little")
    directory = tiff[start : start + 2 + 12 * count + 4]
    return tiff[:4] + len(tiff).to_bytes(4, "little") + tiff[8:] + directory


async def test_a_rescan_replaces_everything(lab: DatasetFolder) -> None:
    lab.write_at("f1.jpg", JPEG)
    lab.write_at("f2.jpg", JPEG)
    await lab.scan()
    first = (await lab.row())["digest"]
    await lab.scan()
    assert (await lab.row())["digest"] == first, "nothing has changed"
    (lab.folder / "f1.jpg").unlink()
    lab.write_at("f10.jpg", JPEG)
    await lab.scan()
    assert await lab.keys() == ["f2.jpg", "f10.jpg"]
    assert (await lab.row())["digest"] != first


async def test_a_scan_that_breaks_off_changes_nothing(lab: DatasetFolder) -> None:
    lab.write_at("f1.jpg", JPEG)
    await lab.scan()
    for number in range(2, 2500):
        lab.write_at(f"f{number}.jpg", b"")

    def stop(examined: int) -> None:
        if examined >= 2000:
            raise RuntimeError("cancelled")

    with pytest.raises(RuntimeError, match="cancelled"):
        await scan_dataset(lab.database, lab.objects, lab.id, stop)
    assert await lab.keys() == ["f1.jpg"]
    assert (await lab.row())["scanned"] == 1000
    await lab.scan()
    assert len(await lab.keys()) == 2499


async def test_readers_see_the_old_or_the_new(lab: DatasetFolder) -> None:
    for number in range(1500):
        lab.write_at(f"a{number}.jpg", JPEG)
    await lab.scan()
    for number in range(1500):
        (lab.folder / f"a{number}.jpg").rename(lab.folder / f"b{number}.jpg")
    states = set()

    async def watch() -> None:
        while True:
            async with lab.database.service_transaction() as connection:
                query = text("SELECT count(*), min(key) FROM frames WHERE dataset_id = :id")
                states.add(tuple((await connection.execute(query, {"id": lab.id})).one()))
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(lab.scan() for _ in range(3)))
    await asyncio.sleep(0.05)
    watching.cancel()
    assert states == {(1500, "day/a0.jpg"), (1500, "day/b0.jpg")}


async def test_a_dataset_deleted_meanwhile(lab: DatasetFolder) -> None:
    lab.write_at("f1.jpg", JPEG)

    async def delete() -> None:
        async with lab.database.service_transaction() as connection:
            await connection.execute(datasets.delete())

    class Store(FileObjectStore):
        async def get(self, ref: ObjectRef, start: int = 0, stop: int | None = None, etag: str = "") -> bytes:
            await delete()
            return await super().get(ref, start, stop, etag)

    lab.objects = Store(lab.objects.root, "reelmill")
    assert (await lab.scan()).state == "gone"
    assert (await lab.scan()).state == "gone"


async def test_unknown_dataset(lab: DatasetFolder) -> None:
    summary = await scan_dataset(lab.database, lab.objects, DatasetId(UUID(int=5)))
    assert summary.state == "gone"
