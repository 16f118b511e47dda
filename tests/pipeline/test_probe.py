"""Facts of images from their first bytes."""

import io
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from service.pipeline.frames import MediaUnreadable
from service.pipeline.images.header import HeaderIncomplete
from service.pipeline.images.tiff_directory import read_directories
from service.pipeline.probe import probe_image, probe_tiff_page
from tests.support.data import media

PIXELS = media.numbered_picture(3, 150, 90)


@pytest.mark.parametrize(
    ("data", "kind", "depth"),
    [
        (media.jpeg(PIXELS), "jpeg", 8),
        (media.png(PIXELS), "png", 8),
        (media.png16(PIXELS), "png", 16),
        (media._encode_picture(PIXELS, "WEBP"), "webp", 8),
        (media._encode_picture(PIXELS, "WEBP", lossless=True), "webp", 8),
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


@pytest.mark.parametrize(
    ("pixels", "bits", "gray"),
    [(PIXELS, 8, False), (PIXELS[..., 0].astype(np.uint16), 16, True), (PIXELS[..., 0].astype(np.float32), 32, True)],
)
def test_a_tiff_is_probed_by_its_directories(pixels: np.ndarray, bits: int, gray: bool) -> None:
    turned = [(274, 3, 1, 6, True)]
    data = media.tiff(pixels, datetime="2024:05:06 07:08:09", extratags=turned)
    (page,) = read_directories(io.BytesIO(data))
    facts = probe_tiff_page(page)
    assert (facts.format, facts.width, facts.height, facts.bit_depth, facts.gray) == ("tiff", 90, 150, bits, gray)
    assert (facts.captured_at, facts.orientation) == (datetime(2024, 5, 6, 7, 8, 9), 6)


def test_a_jpeg_whose_metadata_fills_the_head_asks_for_more() -> None:
    plain = media.jpeg(PIXELS)
    padding = b"\xff\xe2" + (65_000).to_bytes(2, "big") + bytes(64_998)
    data = plain[:2] + padding * 2 + plain[2:]
    with pytest.raises(HeaderIncomplete):
        probe_image(data[:65536], len(data))
    assert probe_image(data, len(data)).width == 150


@pytest.mark.parametrize("data", [b"", b"hello", media.jpeg(PIXELS)[:60], b"\x89PNG\r\n\x1a\n", b"II*\0\x08\0\0\0"])
def test_what_is_no_image(data: bytes) -> None:
    with pytest.raises(MediaUnreadable) as refusal:
        probe_image(data, len(data))
    assert not isinstance(refusal.value, HeaderIncomplete)


def test_a_bomb_is_only_described() -> None:
    data = media.png_bomb()
    assert probe_image(data[:65536], len(data)).width == 30_000
