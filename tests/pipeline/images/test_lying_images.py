"""Images that carry less, or far more, than their header says."""

import io

import numpy as np
import pytest

from service.pipeline.frames import MediaUnreadable
from service.pipeline.images.chunk_exif import late_exif
from service.pipeline.images.decoder import ImageDecoder
from service.pipeline.images.header import MAX_PARTS, DecodeOptions
from service.pipeline.probe import probe_image, probe_tiff_page
from service.worker.scan.images import read_pages
from tests.support.data import media
from tests.support.hostile.jpegs import GOOD, many_scans, segment, without
from tests.support.hostile.pngs import chunk, png, with_chunks, zeros
from tests.support.hostile.tiffs import tiff
from tests.support.processes.peak_memory import in_new_process, peak_bytes

OPTIONS = DecodeOptions(10**8)
_DQT, _DHT, _COMMENT = 0xDB, 0xC4, 0xFE


def reason_of(data: bytes) -> str:
    with pytest.raises(MediaUnreadable) as refused:
        ImageDecoder(OPTIONS).decode(data)
    return refused.value.reason


def test_missing_rows_of_a_png_are_not_filled_with_what_was_there_before() -> None:
    decoder = ImageDecoder(OPTIONS)
    decoder.decode(media.png(media.flat_picture((200, 100, 50))))
    with pytest.raises(MediaUnreadable, match="it has fewer rows than its header says"):
        decoder.decode(png((64, 48, 8, 2), bytes(20 * (1 + 64 * 3))))


def test_a_jpeg_is_not_shown_with_the_tables_of_the_one_before() -> None:
    assert reason_of(without(_DQT)) == "the JPEG is damaged: it has no quantization tables"
    decoder = ImageDecoder(OPTIONS)
    alone = decoder.decode(without(_DHT)).frame.to_ndarray()
    decoder.decode(media.jpeg(media.flat_picture((9, 200, 90)), optimize=True))
    assert np.array_equal(decoder.decode(without(_DHT)).frame.to_ndarray(), alone)


def decode_packed_text(size: int) -> int:
    text = with_chunks(chunk(b"zTXt", b"a\0\0" + zeros(size)))
    return peak_bytes(ImageDecoder(OPTIONS).decode, text)


def test_text_beside_a_picture_is_not_unpacked() -> None:
    assert in_new_process(decode_packed_text, 256 << 20) < 32 << 20


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("PNG", with_chunks(chunk(b"tEXt", b"a\0b") * (MAX_PARTS + 1))),
        ("JPEG", GOOD[:2] + segment(_COMMENT, b"") * (MAX_PARTS + 1) + GOOD[2:]),
        ("WebP", b"RIFF\xff\xff\xff\0WEBP" + b"JUNK\0\0\0\0" * (MAX_PARTS + 1)),
    ],
)
def test_a_header_of_very_many_parts_is_refused(name: str, data: bytes) -> None:
    reason = f"the {name} has more than {MAX_PARTS} parts beside its image data"
    assert reason_of(data) == reason
    with pytest.raises(MediaUnreadable, match=reason):
        probe_image(data, len(data))


class CountingBytes(bytes):
    """Counts the pieces that are taken out of it."""

    taken = 0

    def __getitem__(self, place: object) -> bytes:  # type: ignore[override]
        self.taken += 1
        return super().__getitem__(place)  # type: ignore[index]


def test_the_end_of_a_png_is_not_read_again_from_each_of_its_chunks() -> None:
    tail = CountingBytes(chunk(b"IDAT", b"") * 1000)
    assert late_exif(b"\x89PNG", tail) is None
    assert tail.taken < 50_000


def test_the_limit_of_scans_is_lower_for_a_large_jpeg() -> None:
    assert ImageDecoder(OPTIONS).decode(many_scans(300)).frame.width == 48
    assert reason_of(many_scans(300, 4000)) == "the JPEG has 308 scans, more than the limit of 250 for its size"


@pytest.mark.parametrize("field", [256, 257, 258])
def test_numbers_that_the_catalogue_cannot_hold_are_no_picture(field: int) -> None:
    (page,) = read_pages(io.BytesIO(tiff({field: 2**32 - 1}))).pages
    with pytest.raises(MediaUnreadable, match="no picture has"):
        probe_tiff_page(page)


def test_nor_are_those_of_a_png() -> None:
    data = png((64, 2**32 - 1, 8, 2), b"")
    with pytest.raises(MediaUnreadable, match="no picture has 64x4294967295 pixels"):
        probe_image(data, len(data))
