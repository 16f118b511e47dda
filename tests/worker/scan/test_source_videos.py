"""Scans of source videos over real files in a folder and a real database."""

import io
import zlib
from array import array
from fractions import Fraction

import pytest
from sqlalchemy import text

from service.pipeline.videos.source import VideoSource
from service.plan.render_plan import ObjectRef
from service.plan.segments import Selection
from service.store.catalog import datasets as catalog_datasets
from service.store.catalog.datasets import to_dataset_row
from service.store.catalog.frames import get_video_frame, stream_frames
from service.store.objects.files import FileObjectStore
from service.store.objects.object_store import ObjectStoreError
from service.store.tables import sources
from tests.pipeline.videos.ffmpeg_reference import make_numbered_video
from tests.support.data import interlaced, media
from tests.support.data.dataset_folder import DatasetFolder
from tests.support.data.ffmpeg_command import make_video

pytestmark = pytest.mark.anyio


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
