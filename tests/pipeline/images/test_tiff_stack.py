"""Multi-page TIFFs: each page is a frame, read by ranges."""

import hashlib
import io
from typing import Any, BinaryIO

import numpy as np
import pytest
import tifffile
from PIL import Image

from service.pipeline.frame_context import FrameWatch
from service.pipeline.frames import MediaUnreadable
from service.pipeline.images.header import DecodeOptions
from service.pipeline.images.tiff_directory import TiffDirectory, read_directories
from service.pipeline.images.tiff_stack import TiffStack
from service.pipeline.segment import render_segment
from service.plan.render_plan import FrameRef, SegmentPlan
from service.plan.tone import Tone
from tests.pipeline.rendering import MemoryObjects, options, read_numbers
from tests.support.data import media

PAGES = 9
DECODING = DecodeOptions(10_000_000)


def make_stack(count: int = PAGES, **how: Any) -> bytes:
    """Numbered pictures as 16-bit gray pages."""
    pages = np.stack([media.numbered_picture(number)[..., 0].astype(np.uint16) * 16 for number in range(count)])
    out = io.BytesIO()
    tifffile.imwrite(out, pages, photometric="minisblack", **how)
    return out.getvalue()


def make_stack_with_pillow() -> bytes:
    out = io.BytesIO()
    pages = [Image.fromarray(media.numbered_picture(number)[..., 0].astype(np.uint16) * 16) for number in range(PAGES)]
    pages[0].save(out, "TIFF", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    return out.getvalue()


STACKS = {
    "tifffile": make_stack(),
    "tifffile deflate": make_stack(compression="deflate"),
    "tifffile lzw tiles": make_stack(compression="lzw", tile=(32, 32), predictor=2),
    "tifffile packbits": make_stack(compression="packbits"),
    "tifffile bigtiff": make_stack(bigtiff=True),
    "tifffile big-endian": make_stack(byteorder=">"),
    "tifffile imagej": make_stack(imagej=True),
    "tifffile ome": make_stack(ome=True),
    "pillow lzw": make_stack_with_pillow(),
}


class CountingFile(io.BytesIO):
    """Counts the bytes that are read from it."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.bytes = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.bytes += len(data)
        return data


def read_pages(data: bytes) -> list[TiffDirectory]:
    return list(read_directories(io.BytesIO(data)))


def frame_refs(data: bytes) -> tuple[FrameRef, ...]:
    return tuple(
        FrameRef(place, "s.tif", "e", len(data), page=place, page_offset=page.offset)
        for place, page in enumerate(read_pages(data))
    )


@pytest.mark.parametrize("name", STACKS)
def test_every_page_is_a_frame_with_its_own_pixels(name: str) -> None:
    data = STACKS[name]
    pages = read_pages(data)
    assert [(page.width, page.height, page.bits_per_sample) for page in pages] == [(128, 96, 16)] * PAGES
    opened = TiffStack(io.BytesIO(data))
    expected = tifffile.imread(io.BytesIO(data))
    for place in (0, 7, 3, 3, 8):
        page, _ = opened.decode_page(pages[place].offset, DECODING)
        np.testing.assert_array_equal(page.samples, expected[place])


@pytest.mark.parametrize("name", STACKS)
def test_pages_become_a_video(name: str) -> None:
    store = MemoryObjects({"s.tif": STACKS[name]})
    plan = SegmentPlan(0, 0, "b", options(tone=Tone(0, 4095), corrupt="fail"), frame_refs(STACKS[name])[1::2])
    result = render_segment(plan, store, store, FrameWatch())
    assert read_numbers(result.data) == [1, 3, 5, 7]
    assert store.read_keys == ["s.tif"], "opened once, never fetched whole"
    assert len({report.sha256 for report in result.reports}) == 4


def test_a_page_costs_its_own_bytes() -> None:
    data = make_stack(200)
    offset = read_pages(data)[150].offset
    file = CountingFile(data)
    opened, started = TiffStack(file), file.bytes
    _, digest = opened.decode_page(offset, DECODING)
    assert started < 40_000 and file.bytes - started < 128 * 96 * 2 + 8192
    assert len(digest) == 64
    assert digest == opened.decode_page(offset, DECODING)[1] != hashlib.sha256().hexdigest()


def test_a_page_that_is_not_there_is_a_corrupt_frame() -> None:
    data = make_stack()
    good = frame_refs(data)
    cut = data[: good[-1].page_offset + 4] if good[-1].page_offset > len(data) // 2 else data[: len(data) // 2]
    store = MemoryObjects({"s.tif": cut})
    plan = SegmentPlan(0, 0, "b", options(tone=Tone(0, 4095)), (good[0], good[-1], FrameRef(9, "s.tif", page=99)))
    result = render_segment(plan, store, store, FrameWatch())
    assert [report.outcome for report in result.reports] == ["ok", "held", "held"]
    assert all(report.reason for report in result.reports[1:])


def test_a_store_that_fails_is_no_damaged_page() -> None:
    class Away(Exception):
        """An error of the object store, of a class that the pipeline does not know."""

    class Failing(io.BytesIO):
        fails = False

        def read(self, size: int | None = -1) -> bytes:
            if self.fails:
                raise Away
            return super().read(size)

    class Store(MemoryObjects):
        def open(self, ref: FrameRef) -> BinaryIO:
            file = Failing(make_stack())
            file.fails = True
            return file

    plan = SegmentPlan(0, 0, "b", options(), (FrameRef(0, "s.tif", page=0, page_offset=8),))
    with pytest.raises(Away):
        render_segment(plan, Store({}), Store({}), FrameWatch())
    file = Failing(make_stack())
    opened = TiffStack(file)
    file.fails = True
    with pytest.raises(Away):
        opened.decode_page(read_pages(make_stack())[5].offset, DECODING)


def test_a_chain_that_bites_its_tail_ends() -> None:
    data = bytearray(media.tiff(media.numbered_picture(1)))
    start = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[start : start + 2], "little")
    data[start + 2 + 12 * count :][:4] = b""
    place = start + 2 + 12 * count
    data[place : place + 4] = start.to_bytes(4, "little")
    with pytest.raises(MediaUnreadable, match="do not come to an end"):
        list(read_directories(io.BytesIO(bytes(data))))


@pytest.mark.parametrize("name", ["tifffile", "tifffile bigtiff", "pillow lzw"])
def test_random_damage_to_the_chain_is_refused_or_read(name: str) -> None:
    random = np.random.default_rng(4)
    data = np.frombuffer(STACKS[name], np.uint8)
    starts = [page.offset for page in read_pages(STACKS[name])]
    for _ in range(300):
        damaged = data.copy()
        place = int(random.choice(starts)) + int(random.integers(0, 200))
        damaged[min(place, len(data) - 1)] = random.integers(0, 256)
        try:
            assert len(list(read_directories(io.BytesIO(damaged.tobytes())))) <= PAGES
        except (MediaUnreadable, ValueError, OverflowError):
            continue
