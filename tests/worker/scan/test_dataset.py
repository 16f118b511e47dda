"""Scans over real objects in a folder and a real database."""

import asyncio
import hashlib
import io
import os
import zlib
from array import array
from collections.abc import AsyncIterator
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, select, text

from service.ids import DatasetId, new_uuid
from service.pipeline.videos.source import VideoSource
from service.plan.render_plan import ObjectRef
from service.plan.segments import Selection
from service.store.catalog import datasets as catalog_datasets
from service.store.catalog.datasets import to_dataset_row
from service.store.catalog.frames import get_video_frame, stream_frames
from service.store.catalog.scan import is_regular_numbering
from service.store.database import Database
from service.store.objects.files import FileObjectStore
from service.store.objects.object_store import ObjectStoreError
from service.store.tables import datasets, experiments, frames, sources
from service.worker.scan.store import ScanSummary
from service.worker.scan.writer import scan_dataset
from tests.pipeline.videos.ffmpeg_reference import make_numbered_video
from tests.support.data import interlaced, media
from tests.support.data.ffmpeg_command import make_video
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio


class DatasetFolder:
    """One dataset, whose objects are files under objects/camera/day/."""

    def __init__(self, database: Database, home: Path) -> None:
        self.database, self.objects = database, FileObjectStore(home / "objects", "reelmill")
        self.folder = home / "objects" / "camera" / "day"
        self.id = DatasetId(new_uuid())

    async def create(self, kind: str = "frames", prefix: str = "day/") -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        row = {"id": self.id, "name": "d", "kind": kind, "bucket": "camera", "prefix": prefix}
        async with self.database.service_transaction() as connection:
            experiment = new_uuid()
            await connection.execute(insert(experiments).values(id=experiment, name="e", owner="alice"))
            await connection.execute(insert(datasets).values(**row, experiment_id=experiment))

    def write(self, **files: bytes) -> None:
        for name, data in files.items():
            self.write_at(name.replace("__", "."), data)

    def write_at(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    async def scan(self) -> ScanSummary:
        return await scan_dataset(self.database, self.objects, self.id, lambda _: None)

    async def row(self) -> dict[str, Any]:
        async with self.database.service_transaction() as connection:
            return dict((await connection.execute(select(datasets).where(datasets.c.id == self.id))).mappings().one())

    async def rows(self, table: Any = frames) -> list[dict[str, Any]]:
        query = select(table).where(table.c.dataset_id == self.id).order_by(table.c[1])
        async with self.database.service_transaction() as connection:
            return [dict(row) for row in (await connection.execute(query)).mappings()]

    async def keys(self) -> list[str]:
        return [row["key"].removeprefix("day/") for row in await self.rows()]


@pytest.fixture
async def lab(postgres_url: str, tmp_path: Path) -> AsyncIterator[DatasetFolder]:
    async with fresh_database(postgres_url) as database:
        lab = DatasetFolder(database, tmp_path)
        await lab.create()
        yield lab


JPEG = media.jpeg(media.numbered_picture(1))


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


async def test_source_videos(lab: DatasetFolder) -> None:
    async with lab.database.service_transaction() as connection:
        await connection.execute(text("UPDATE datasets SET kind = 'video'"))
    lab.write_at("part2.mp4", media.video((media.numbered_picture(n) for n in range(20)), Fraction(25)))
    lab.write_at("part10.mp4", media.video((media.numbered_picture(n) for n in range(7)), Fraction(30000, 1001)))
    lab.write_at("part3.mp4", b"text")
    lab.write_at("part1.mp4", b"")
    lab.write_at("notes.txt", b"text")
    summary = await lab.scan()
    row, rows = await lab.row(), await lab.rows(sources)
    assert (summary.state, summary.frame_count, summary.unreadable_frames, summary.ignored) == ("ready", 27, 2, 1)
    assert [(source["key"], source["first_index"], source["frame_count"]) for source in rows] == [
        ("day/part1.mp4", 0, 0),
        ("day/part2.mp4", 0, 20),
        ("day/part3.mp4", 20, 0),
        ("day/part10.mp4", 20, 7),
    ]
    assert [bool(source["problem"]) for source in rows] == [True, False, True, False]
    assert (rows[1]["codec"], rows[1]["width"], rows[1]["height"], rows[1]["fps"]) == ("h264", 128, 96, "25")
    assert rows[1]["colour"] == {"matrix": 6, "primaries": 6, "transfer": 6, "range": 1}
    assert rows[0]["colour"] is None
    times = array("q", zlib.decompress(rows[1]["pts"]))
    assert len(times) == 20 and list(times) == sorted(set(times))
    assert (row["frame_count"], row["width"], row["formats"], row["gap_frames"]) == (27, 128, ["h264"], 0)


async def test_source_videos_whose_pixels_are_not_square(lab: DatasetFolder) -> None:
    """The catalogue has the size as shown, and what the planner needs to keep the stored samples."""
    async with lab.database.service_transaction() as connection:
        await connection.execute(text("UPDATE datasets SET kind = 'video'"))
    plain = media.video(media.numbered_picture(n, 90, 72) for n in range(5))
    lab.write_at("a.mp4", make_video("v.mp4", "-c", "copy", "-aspect", "16:9", source=plain))
    lab.write_at("b.mp4", plain)
    lab.write_at("c.mp4", make_video("v.mp4", "-c", "copy", "-aspect", "16:9", source=plain)[:-40])
    lab.write_at("d.mp4", b"text")
    assert (await lab.scan()).state == "ready"
    row, rows = await lab.row(), await lab.rows(sources)
    shapes = [(source["width"], source["height"], source["pixel_aspect"]) for source in rows]
    assert shapes[:2] == [(128, 72, "64/45"), (90, 72, "1")] and shapes[3] == (None, None, None)
    assert (row["width"], row["height"]) == (128, 72)
    found = to_dataset_row(row)
    assert (found.stored_size, found.pixel_aspect) == ((90, 72), Fraction(64, 45))
    before = [{"width": 90, "height": 72, "count": 10}]
    assert to_dataset_row({**row, "sizes": before}).pixel_aspect is None
    assert to_dataset_row({**row, "sizes": before, "kind": "frames"}).pixel_aspect == 1


async def test_a_folder_of_broadcast_segments_and_a_joined_recording(lab: DatasetFolder) -> None:
    """Each picture has a place, and where timestamps are equal, the packet that holds it."""
    async with lab.database.service_transaction() as connection:
        await connection.execute(text("UPDATE datasets SET kind = 'video'"))
    segments = [make_numbered_video(".ts", "-c:v", "libx264", count=8, first=8 * number) for number in range(11)]
    for number, segment in enumerate(segments):
        lab.write_at(f"hls{number}.ts", segment)
    lab.write_at("joined.ts", segments[0] + segments[1])
    summary, rows = await lab.scan(), await lab.rows(sources)
    assert (summary.frame_count, summary.unreadable_frames) == (11 * 8 + 16, 0)
    assert [source["key"] for source in rows] == [*(f"day/hls{number}.ts" for number in range(11)), "day/joined.ts"]
    assert [source["packets"] is None for source in rows] == [True] * 11 + [False]
    async with lab.database.service_transaction() as connection:
        row = await get_video_frame(connection, lab.id, 88 + 12)
        assert row is not None and (row.key, row.pts) == ("day/joined.ts", 12)
        dataset = await catalog_datasets.get(connection, lab.id)
        assert dataset is not None
        refs = [ref async for ref in stream_frames(connection, dataset, Selection(80, 104, 4), "skip")]
    assert refs[5] == row and [ref.packet is None for ref in refs] == [True, True, False, False, False, False]
    with VideoSource(io.BytesIO(segments[0] + segments[1])) as source:
        assert media.read_number(source.picture(row.pts or 0, row.packet).frame.to_ndarray(format="rgb24")) == 12


async def test_interlaced_sources_and_the_neighbours_of_their_pictures(lab: DatasetFolder) -> None:
    async with lab.database.service_transaction() as connection:
        await connection.execute(text("UPDATE datasets SET kind = 'video'"))
    fields = interlaced.moments(12)
    for name, order in (("a.mp4", "top"), ("b.mp4", "progressive")):
        pictures = interlaced.woven(fields, order)  # type: ignore[arg-type]
        lab.write_at(name, interlaced.encode(pictures, ".mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p"))
    await lab.scan()
    assert (await lab.row())["field_orders"] == {"top": 6, "progressive": 6}
    assert [source["fields"] for source in await lab.rows(sources)] == ["top", "progressive"]
    async with lab.database.service_transaction() as connection:
        dataset = await catalog_datasets.get(connection, lab.id)
        assert dataset is not None and dataset.has_interlaced_pictures
        found = {
            mode: [ref async for ref in stream_frames(connection, dataset, Selection(0, 12, 5), "none", mode)]
            for mode in ("auto", "on", "off")
        }
        preview = await get_video_frame(connection, lab.id, 5)
    orders = {mode: [ref.field_order for ref in refs] for mode, refs in found.items()}
    assert set(map(tuple, orders.values())) == {("top", "top", None)}
    times = list(array("q", zlib.decompress((await lab.rows(sources))[0]["pts"])))
    neighbours = {mode: [(ref.pts_before, ref.pts_after) for ref in refs] for mode, refs in found.items()}
    assert neighbours["auto"] == [(None, times[1]), (times[4], None), (None, None)]
    assert neighbours["on"] == [(None, times[1]), (times[4], None), (times[3], times[5])]
    assert neighbours["off"] == [(None, None)] * 3
    assert preview == found["auto"][1]
    assert len({ref.digest() for refs in found.values() for ref in refs}) == 6


async def test_a_video_that_breaks_off_with_its_store(lab: DatasetFolder) -> None:
    """An outage is an outage, not an unreadable source."""
    async with lab.database.service_transaction() as connection:
        await connection.execute(text("UPDATE datasets SET kind = 'video'"))
    lab.write_at("a.mp4", media.video(media.numbered_picture(n) for n in range(20)))

    class Store(FileObjectStore):
        async def get(self, ref: ObjectRef, start: int = 0, stop: int | None = None, etag: str = "") -> bytes:
            raise ObjectStoreError("away")

    lab.objects = Store(lab.objects.root, "reelmill")
    with pytest.raises(ObjectStoreError, match="away"):
        await lab.scan()


async def test_unknown_dataset(lab: DatasetFolder) -> None:
    summary = await scan_dataset(lab.database, lab.objects, DatasetId(UUID(int=5)), lambda _: None)
    assert summary.state == "gone"
