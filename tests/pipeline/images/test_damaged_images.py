"""Damaged images of every kind give a reason or a picture, never a crash, and never half a picture if truncated."""

import io
import struct
import tracemalloc
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.pipeline.frames import MediaUnreadable
from service.pipeline.images.decoder import ImageDecoder
from service.pipeline.images.header import DecodeOptions
from service.pipeline.images.jpeg import jpeg_header, jpeg_layout
from service.pipeline.picture import composite_over
from service.plan.tone import Tone
from tests.pipeline.images.decoding_in_child import decode_all
from tests.pipeline.images.sample_images import HEIGHT, SAMPLE_IMAGES, WIDTH, encode_tiff
from tests.pipeline.rendering import decode_pictures, render
from tests.support.data.colour_profiles import wide_lookup


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """If a process crashes, the pool breaks and the test fails."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("name", SAMPLE_IMAGES)
def test_a_cut_file_is_refused(pool: ProcessPoolExecutor, name: str) -> None:
    """Truncated at 20 offsets; if only data after the image is lost, the image must be complete."""
    data = SAMPLE_IMAGES[name].data
    cuts = [data[: len(data) * place // 20] for place in range(20)] + [data[:-1], data]
    *outcomes, _, whole = pool.submit(decode_all, cuts).result(120)
    assert whole[0] == "shown"
    assert all(outcome == "refused" and reason for outcome, reason in outcomes if (outcome, reason) != whole)
    assert sum(outcome == "refused" for outcome, _ in outcomes) >= 10


@pytest.mark.parametrize("name", SAMPLE_IMAGES)
def test_flipped_bits_and_holes_are_survived(pool: ProcessPoolExecutor, name: str) -> None:
    data, random = SAMPLE_IMAGES[name].data, np.random.default_rng(3)
    variants = [_flip_bits(data, random, count) for count in (1, 1, 1, 2, 4, 8, 16, 32, 64, 128) * 2]
    variants += [_zero_run(data, random) for _ in range(20)]
    for outcome, detail in pool.submit(decode_all, variants).result(120):
        assert detail
        assert outcome == "refused" or "x" in detail


@pytest.mark.parametrize(
    "data", [b"", b"\0", bytes(5000), b"II*\0" + bytes(500), b"RIFF\xff\xff\xff\xffWEBPVP8 " + bytes(99)]
)
def test_nothing_and_nonsense(pool: ProcessPoolExecutor, data: bytes) -> None:
    assert [outcome for outcome, _ in pool.submit(decode_all, [data]).result(60)] == ["refused"]


# The first is what five channels could be used for. The sizes of the second multiply to 1,529 in 32 bits.
WIDE_TABLES = {"small": ((3,) * 5, 3**5), "overflow": ((61, 7, 161, 245, 255), 1529)}


@pytest.mark.parametrize("table", WIDE_TABLES.values(), ids=WIDE_TABLES)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_a_table_that_lcms_reads_outside_of_is_ignored(
    pool: ProcessPoolExecutor, kind: str, table: tuple[tuple[int, ...], int]
) -> None:
    """CVE-2026-41254 of lcms2 2.18, which is inside imagecodecs: such a profile ends the process."""
    image = Image.fromarray(np.random.default_rng(5).integers(0, 256, (64, 64, 3)).astype(np.uint8))
    files = [io.BytesIO() for _ in range(2)]
    image.save(files[0], kind, icc_profile=wide_lookup(*table))
    image.save(files[1], kind)
    with_profile, plain = pool.submit(decode_all, [file.getvalue() for file in files]).result(60)
    assert with_profile == plain and plain[0] == "shown"


def png_with_palette(depth: int) -> bytes:
    """A PNG of 8 x 8 palette entries with transparency."""
    header = struct.pack(">2I5B", 8, 8, depth, 3, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes(depth)) * 8)
    chunks = {b"IHDR": header, b"PLTE": bytes(range(256)) * 3, b"tRNS": bytes(256), b"IDAT": rows, b"IEND": b""}
    parts = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_libpng_gets_no_palette() -> None:
    """CVE-2026-33416, 33636 and 34757 are about palettes; the libpng 1.6.55 inside imagecodecs has them."""
    decoder = ImageDecoder(DecodeOptions(1_000_000))
    assert decoder.decode(png_with_palette(8)).decoder == "pillow-png"
    with pytest.raises(MediaUnreadable, match="bit depth and colour type"):
        decoder.decode(png_with_palette(16))


@pytest.mark.parametrize("compression", ["lzw", "packbits"])
def test_libtiff_gets_no_ycbcr(compression: str) -> None:
    """CVE-2026-4775 is about YCbCr; the libtiff 4.7.1 inside imagecodecs has it."""
    good = encode_tiff(np.full((64, 64, 3), 9, np.uint8), compression=compression)
    photometric = struct.pack("<HHI", 262, 3, 1)
    assert good.count(photometric + b"\2") == 1
    with pytest.raises(MediaUnreadable, match="photometric 6"):
        ImageDecoder(DecodeOptions(1_000_000)).decode(good.replace(photometric + b"\2", photometric + b"\6"))


def _flip_bits(data: bytes, random: np.random.Generator, count: int) -> bytes:
    damaged = np.frombuffer(data, np.uint8).copy()
    places = random.integers(0, len(data), count)
    damaged[places] ^= (1 << random.integers(0, 8, count)).astype(np.uint8)
    return damaged.tobytes()


def _zero_run(data: bytes, random: np.random.Generator) -> bytes:
    """A run of zero bytes, as left by a failing disk."""
    start = int(random.integers(0, len(data)))
    length = int(random.integers(1, max(2, len(data) // 4)))
    return data[:start] + bytes(len(data[start : start + length])) + data[start + length :]


def test_the_corpus_has_one_size() -> None:
    assert {sample.pixels.shape[:2] for sample in SAMPLE_IMAGES.values()} == {(HEIGHT, WIDTH)}


def damaged_variants(data: bytes) -> Iterator[bytes]:
    """Truncated at 20 offsets, flipped bits, zeros, nothing."""
    yield from (data[: len(data) * place // 20] for place in range(20))
    random = np.random.default_rng(len(data))
    for count in (1, 8, 64, 256):
        damaged = np.frombuffer(data, np.uint8).copy()
        damaged[random.integers(0, len(data), count)] ^= np.uint8(1 << int(random.integers(0, 8)))
        yield damaged.tobytes()
    yield bytes(len(data))


@pytest.mark.parametrize("name", SAMPLE_IMAGES)
def test_each_has_its_line(name: str) -> None:
    """All objects are called .jpg, whatever they are: the format does not depend on names."""
    data = SAMPLE_IMAGES[name].data
    frames: list[bytes | None] = [data, *damaged_variants(data), data]
    of: dict[str, Any] = {"width": WIDTH, "height": HEIGHT, "tone": Tone(0, 65535), "codec": "mjpeg"}
    result = render(frames, **of, form="yuvj420p", container="avi", corrupt="hold", mismatch="pad")
    assert [report.source for report in result.reports] == list(range(len(frames)))
    assert result.frames == len(frames) == len(decode_pictures(result.data))
    first, *damaged, last = result.reports
    assert first.outcome == last.outcome == "ok"
    assert all(report.outcome in ("ok", "held", "resized") for report in damaged)
    assert all(report.reason and report.sha256 for report in damaged if report.outcome != "ok")
    assert sum(report.outcome == "held" for report in damaged) >= 11
    assert [report.reason for report in damaged if report.sha256 == damaged[0].sha256] == ["the file is empty"]


@pytest.mark.parametrize("group", ["png", "tiff tifffile rgb", "tiff pillow", "webp", "jpeg pillow"])
def test_the_reasons_are_the_same_in_every_process(group: str) -> None:
    """A receipt must not differ from run to run: no address of an object, nothing of memory that was never written."""
    random = np.random.default_rng(11)
    variants = []
    for name, sample in SAMPLE_IMAGES.items():
        if name.startswith(group):
            head = np.frombuffer(sample.data, np.uint8).copy()
            head[random.integers(0, min(len(head), 120), 3)] ^= 129
            variants += [*damaged_variants(sample.data), head.tobytes()]
    context = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as first, ProcessPoolExecutor(1, mp_context=context) as second:
        outcomes = first.submit(decode_all, variants), second.submit(decode_all, variants)
        ours, theirs = (outcome.result(120) for outcome in outcomes)
    assert ours == theirs
    assert not any("0x" in reason for _, reason in ours)


@pytest.mark.parametrize(
    "tail", [b"\xff\xc0\0\2\xff\xda\0\2", b"\xff\xc0\0\x0b\x08\0\x10\0\x10\1\1\x11\0\xff\xda\0\2", b"\xff\xdb\0\2"]
)
def test_a_jpeg_whose_segments_are_empty(tail: bytes) -> None:
    for ending in (b"", b"\xff\xd9", b"\xff\xdb\0\2"):
        data = b"\xff\xd8" + tail + ending
        with pytest.raises(MediaUnreadable):
            jpeg_header(data)
            jpeg_layout(data)


def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded() -> None:
    """A valid one: its last scan is there 20,000 times. A decoder would go over the picture as often."""
    file = io.BytesIO()
    random = np.random.default_rng(5)
    Image.fromarray(random.integers(0, 256, (48, 64, 3), np.uint8)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    assert render([data]).reports[0].outcome == "ok"
    hostile = data[:-2] + data[last:-2] * 20_000 + data[-2:]
    report = render([hostile]).reports[0]
    assert report.outcome != "ok" and "scans, more than the limit of 500" in str(report.reason)


@pytest.mark.parametrize(("kind", "channels"), [(np.uint8, 4), (np.uint16, 4), (np.uint8, 2), (np.float32, 4)])
def test_transparency_takes_no_multiple_of_the_picture(kind: type, channels: int) -> None:
    """98 megapixels of RGBA in floats of 64 bits took more memory than a slot has."""
    random = np.random.default_rng(7)
    top = np.iinfo(kind).max if kind is not np.float32 else 1
    samples = (random.random((2500, 2000, channels)) * top).astype(kind)
    alpha = samples[..., -1:].astype(np.float64) / top
    expected = samples[..., :-1].astype(np.float64) * alpha + (1 - alpha) * np.array([255, 0, 0]) * (top / 255)
    tracemalloc.start()
    shown = composite_over(samples, "#ff0000")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * shown.nbytes + 150e6
    expected = np.rint(expected) if kind is not np.float32 else expected.astype(kind)
    assert np.array_equal(shown, expected.clip(0, top).astype(kind))
