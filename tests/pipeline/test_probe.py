"""Facts of images from their first bytes."""

from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from service.pipeline.frames import Unreadable
from service.pipeline.image_header import NeedMore
from service.pipeline.probe import probe_image
from tests.support import media

PIXELS = media.numbered(3, 150, 90)


@pytest.mark.parametrize(
    ("data", "kind", "depth"),
    [
        (media.jpeg(PIXELS), "jpeg", 8),
        (media.png(PIXELS), "png", 8),
        (media.png16(PIXELS), "png", 16),
        (media.tiff(PIXELS), "tiff", 8),
        (media.tiff(PIXELS[..., 0].astype(np.uint16)), "tiff", 16),
    ],
)
def test_format_size_and_depth(data: bytes, kind: str, depth: int) -> None:
    facts = probe_image(data[:65536], len(data))
    assert (facts.format, facts.width, facts.height, facts.bit_depth) == (kind, 150, 90, depth)
    assert (facts.captured_at, facts.orientation) == (None, 1)


def test_exif_time_with_fraction_and_offset() -> None:
    data = media.oriented_jpeg(PIXELS, 6, taken="2024:05:06 07:08:09")
    facts = probe_image(data, len(data))
    zone = timezone(timedelta(hours=2))
    assert facts.captured_at == datetime(2024, 5, 6, 7, 8, 9, 250_000, tzinfo=zone)
    assert (facts.orientation, facts.width, facts.height) == (6, 150, 90)


def test_a_directory_past_the_head_asks_for_more() -> None:
    data = media.tiff(np.zeros((400, 400, 3), np.uint8))
    moved = relocated_directory(data)
    with pytest.raises(NeedMore):
        probe_image(moved[:65536], len(moved))
    assert probe_image(moved, len(moved)).width == 400


def relocated_directory(data: bytes) -> bytes:
    """The same little-endian TIFF with its directory at the end of the file."""
    start = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[start : start + 2], "little")
    directory = data[start : start + 2 + 12 * count] + bytes(4)
    return data[:4] + len(data).to_bytes(4, "little") + data[8:] + directory


def test_a_jpeg_whose_metadata_fills_the_head_asks_for_more() -> None:
    plain = media.jpeg(PIXELS)
    padding = b"\xff\xe2" + (65_000).to_bytes(2, "big") + bytes(64_998)
    data = plain[:2] + padding * 2 + plain[2:]
    with pytest.raises(NeedMore):
        probe_image(data[:65536], len(data))
    assert probe_image(data, len(data)).width == 150


@pytest.mark.parametrize("data", [b"", b"hello", media.jpeg(PIXELS)[:60], b"\x89PNG\r\n\x1a\n", b"II*\0\x08\0\0\0"])
def test_what_is_no_image(data: bytes) -> None:
    with pytest.raises(Unreadable) as refusal:
        probe_image(data, len(data))
    assert not isinstance(refusal.value, NeedMore)


def test_a_bomb_is_only_described() -> None:
    data = media.png_bomb()
    assert probe_image(data[:65536], len(data)).width == 30_000
