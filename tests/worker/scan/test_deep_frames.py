"""Scans of deep frames and of stacks: real objects in a folder, a real database."""

import io
from typing import Any

import numpy as np
import pytest
import tifffile

from service.plan.render_plan import FrameRef, ObjectRef
from service.plan.segments import Selection
from service.plan.tone import Levels
from service.store.catalog import datasets
from service.store.catalog.frames import stream_frames
from service.store.objects.files import FileObjectStore
from service.store.objects.object_store import ObjectStoreError
from service.worker.scan.store import MAX_SAMPLED_FRAMES
from tests.support.data import media
from tests.support.data.dataset_folder import DatasetFolder

pytestmark = pytest.mark.anyio


def tiff_stack(count: int, size: tuple[int, int] = (48, 64), **how: Any) -> bytes:
    pages = np.arange(count, dtype=np.uint16)[:, None, None] * np.ones((1, *size), np.uint16)
    out = io.BytesIO()
    tifffile.imwrite(out, pages, photometric="minisblack", **how)
    return out.getvalue()


async def scan_levels(lab: DatasetFolder) -> Levels | None:
    await lab.scan()
    found = (await lab.row())["levels"]
    return Levels.from_json(found) if found else None


async def scanned_refs(lab: DatasetFolder) -> list[FrameRef]:
    async with lab.database.service_transaction() as connection:
        dataset = await datasets.get(connection, lab.id)
        assert dataset is not None
        chosen = stream_frames(connection, dataset, Selection(0, dataset.frame_count, 1), "none")
        return [ref async for ref in chosen]


async def test_each_page_of_a_stack_is_a_frame(lab: DatasetFolder) -> None:
    lab.write_at("a1.tif", media.tiff(np.full((48, 64), 9, np.uint16)))
    lab.write_at("a2.tif", tiff_stack(1200))
    lab.write_at("a10.tif", tiff_stack(3, compression="deflate", bigtiff=True))
    summary = await lab.scan()
    assert (summary.state, summary.frame_count, summary.unreadable_frames) == ("ready", 1204, 0)
    rows = await lab.rows()
    assert [row["page"] for row in rows] == [None, *range(1200), *range(3)]
    assert {(row["width"], row["height"], row["bits"], row["gray"]) for row in rows} == {(64, 48, 16, True)}
    row = await lab.row()
    assert row["bytes"] == sum(path.stat().st_size for path in lab.folder.iterdir()), "a stack's bytes count once"
    found = await scanned_refs(lab)
    assert [(ref.index, ref.page) for ref in found] == [(row["index"], row["page"]) for row in rows]
    assert found[700].page_offset == rows[700]["page_offset"] > 0
    assert len({ref.digest() for ref in found}) == 1204


async def test_directories_are_found_wherever_they_lie_and_pixels_are_not_fetched(lab: DatasetFolder) -> None:
    lab.write_at("s.tif", tiff_stack(40, (400, 500), compression="packbits"))
    fetched: list[int] = []

    class Counting(FileObjectStore):
        async def get(self, ref: ObjectRef, start: int = 0, stop: int | None = None, etag: str = "") -> bytes:
            data = await super().get(ref, start, stop, etag)
            fetched.append(len(data))
            return data

    lab.objects = Counting(lab.objects.root, "reelmill")
    assert (await lab.scan()).frame_count == 40
    assert max(fetched) <= 1024 * 1024


async def test_a_stack_that_was_cut_keeps_its_good_pages_and_tells(lab: DatasetFolder) -> None:
    data = tiff_stack(20, (100, 100), compression="deflate")
    lab.write_at("s.tif", data[: len(data) * 3 // 4])
    summary = await lab.scan()
    rows = await lab.rows()
    assert summary.unreadable_frames == 1 and summary.state == "ready"
    assert 1 < len(rows) < 20
    assert "this page and those after it are lost" in rows[-1]["problem"]
    assert [row["page"] for row in rows] == list(range(len(rows)))


async def test_thumbnails_and_pyramids_are_no_frames(lab: DatasetFolder) -> None:
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        writer.write(np.zeros((64, 64), np.uint16), photometric="minisblack")
        writer.write(np.zeros((32, 32), np.uint16), photometric="minisblack", subfiletype=1)
    lab.write_at("p.tif", out.getvalue())
    await lab.scan()
    assert [(row["page"], row["width"], row["number"]) for row in await lab.rows()] == [(None, 64, None)]


async def test_levels_of_deep_frames(lab: DatasetFolder) -> None:
    for number in range(200):
        frame = np.full((48, 64), 1000 + number, np.uint16)
        frame[0, 0], frame[0, 1] = 0, 60_000
        lab.write_at(f"f{number}.tif", media.tiff(frame, compression="deflate"))
    found = await scan_levels(lab)
    assert found is not None
    assert (found.dtype, found.bits, found.channels, found.frames) == ("uint16", 16, 1, MAX_SAMPLED_FRAMES)
    assert (found.low, found.high) == (0, 60_000)
    assert found.percentile(0.35) == pytest.approx(1000, abs=2) and found.percentile(99.65) == pytest.approx(
        1197, abs=3
    )
    assert found.percentile(50) == pytest.approx(1100, abs=4)


async def test_levels_of_floats_with_holes_in_stacks(lab: DatasetFolder) -> None:
    pages = np.linspace(-1, 1, 10 * 48 * 64, dtype=np.float32).reshape(10, 48, 64)
    pages[3, 5, :7] = np.nan
    out = io.BytesIO()
    tifffile.imwrite(out, pages, photometric="minisblack")
    lab.write_at("s.tif", out.getvalue())
    found = await scan_levels(lab)
    assert found and (found.dtype, found.frames, found.nan, found.low, found.high) == ("float32", 10, 7, -1, 1)
    assert found.percentile(75) == pytest.approx(0.5, abs=0.01)


async def test_8_bit_gray_has_levels_and_colour_has_none(lab: DatasetFolder) -> None:
    lab.write_at("f1.png", media.png(np.full((48, 64), 40, np.uint8)))
    lab.write_at("f2.jpg", media.jpeg(media.numbered_picture(1)))
    found = await scan_levels(lab)
    assert found and (found.dtype, found.bits, found.frames, found.low) == ("uint8", 8, 1, 40)
    (lab.folder / "f1.png").unlink()
    assert await scan_levels(lab) is None


async def test_deep_frames_among_others_are_the_ones_that_count(lab: DatasetFolder) -> None:
    lab.write_at("f1.png", media.png(np.full((48, 64), 40, np.uint8)))
    lab.write_at("f2.tif", media.tiff(np.full((48, 64), 4000, np.uint16)))
    lab.write_at("f3.tif", media.tiff(np.full((48, 64), 4000, np.uint16))[:-2000])
    found = await scan_levels(lab)
    assert found and (found.frames, found.low, found.high) == (1, 4000, 4000)


async def test_a_store_that_goes_away_while_levels_are_sampled(lab: DatasetFolder) -> None:
    lab.write_at("s.tif", tiff_stack(5))

    class Away(FileObjectStore):
        calls = 0

        async def get(self, ref: ObjectRef, start: int = 0, stop: int | None = None, etag: str = "") -> bytes:
            self.calls += 1
            if self.calls > 1:
                raise ObjectStoreError("away")
            return await super().get(ref, start, stop, etag)

    lab.objects = Away(lab.objects.root, "reelmill")
    with pytest.raises(ObjectStoreError, match="away"):
        await lab.scan()


@pytest.mark.parametrize("channels", [(), (3,)])
async def test_signed_8_bit_frames_have_levels_as_deep_ones_do(lab: DatasetFolder, channels: tuple[int, ...]) -> None:
    lab.write_at("f1.png", media.png(np.full((48, 64), 40, np.uint8)))
    lab.write_at("f2.tif", media.tiff(np.full((48, 64, *channels), -40, np.int8)))
    found = await scan_levels(lab)
    assert found and (found.dtype, found.frames, found.low, found.is_deep) == ("int8", 1, -40, True)
    kind = "RGB samples" if channels else "samples"
    assert (await lab.row())["forms"] == {"gray": 1, f"8-bit signed {kind}": 1}


async def test_what_the_catalogue_says_of_palettes_and_of_frames_without_numbers(lab: DatasetFolder) -> None:
    colours = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))
    lab.write_at("f1.tif", media.tiff(np.zeros((48, 64), np.uint8), photometric="palette", colormap=colours))
    lab.write_at("f2.tif", media.tiff(np.full((48, 64), np.nan, np.float32)))
    assert await scan_levels(lab) is None
    assert (await lab.row())["forms"] == {"bgr0": 1, "32-bit samples": 1}
    assert [row["gray"] for row in await lab.rows()] == [False, True]
