"""Orientation and capture time wherever a file has them: scan and render must see the same, without reading it all."""

import io
import zlib
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image, ImageOps

from service.pipeline.images.chunk_exif import TAIL_BYTES
from service.pipeline.images.exif import parse_time
from service.plan.render_plan import ObjectRef
from service.store.objects.files import FileObjectStore
from service.worker.scan.images import HEADER_BYTES, as_utc
from tests.pipeline.images.image_kinds import png_chunk
from tests.pipeline.rendering import decode_pictures, render
from tests.support.data import media
from tests.support.data.dataset_folder import DatasetFolder

TAKEN = datetime(2024, 5, 6, 7, 8, 9, 250_000, tzinfo=UTC)
# Stored on its side, 240 wide and 360 high when shown; noise, so that no format compresses it below 64 KiB.
STORED = np.random.default_rng(1).integers(0, 256, (240, 360, 3), np.uint8)
STORED[:80, :90] = (250, 10, 10)


def exif() -> bytes:
    """A TIFF structure: turned by 90 degrees, taken at TAKEN."""
    fields = Image.Exif()
    fields[0x0112] = 6
    fields.get_ifd(0x8769).update({0x9003: "2024:05:06 09:08:09", 0x9291: "25", 0x9011: "+02:00"})
    return fields.tobytes().removeprefix(b"Exif\0\0")


def saved(kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(STORED).save(out, kind, **options)
    return out.getvalue()


def webp(prefix: bytes = b"", **options: object) -> bytes:
    """Pillow's, whose last chunk is EXIF."""
    data = saved("WEBP", exif=prefix + exif(), **options)
    assert data.index(b"EXIF") > HEADER_BYTES
    return data


def png(before: bytes = b"", after: bytes = b"", part: int = 8192) -> bytes:
    """With chunks before and after the image data, which is in parts of so many bytes."""
    data = saved("PNG")
    pixels, position = b"", 33
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] == b"IDAT":
            pixels += data[position + 8 : position + 8 + length]
        position += 12 + length
    parts = (png_chunk(b"IDAT", pixels[start : start + part]) for start in range(0, len(pixels), part))
    return data[:33] + before + b"".join(parts) + after + png_chunk(b"IEND", b"")


def imagemagick_profile(name: bytes) -> bytes:
    """As ImageMagick writes EXIF into tEXt, zTXt and iTXt chunks."""
    payload = b"Exif\0\0" + exif()
    digits = payload.hex()
    lines = "\n".join(digits[start : start + 72] for start in range(0, len(digits), 72))
    text = f"\nexif\n{len(payload):8}\n{lines}\n".encode()
    body = {b"tEXt": text, b"zTXt": b"\0" + zlib.compress(text), b"iTXt": b"\1\0\0\0" + zlib.compress(text)}[name]
    return png_chunk(name, b"Raw profile type exif\0" + body)


def jpeg(*segments: bytes) -> bytes:
    data = saved("JPEG", quality=95)
    parts = (b"\xff" + part[:1] + (len(part) + 1).to_bytes(2, "big") + part[1:] for part in segments)
    return data[:2] + b"".join(parts) + data[2:]


EXIF_CHUNK, TEXT = png_chunk(b"eXIf", exif()), png_chunk(b"tEXt", b"Comment\0" + b"x" * 90_000)
EXIF_SEGMENT = b"\xe1Exif\0\0" + exif()
XMP_SEGMENT = b"\xe1http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>" + b" " * 60_000
FLASHPIX = b"\xe2FPXR\0" + bytes(65_000)


def tiff_with_exif_at_its_end() -> bytes:
    """tifffile's, with an EXIF directory (TIFF 6.0, section 2) behind the pixels."""
    data = media.tiff(STORED, extratags=[(274, 3, 1, 6, True), (34666, 4, 1, 0x7A7A7A7A, True)])
    texts = {0x9003: b"2024:05:06 09:08:09\0", 0x9011: b"+02:00\0\0", 0x9291: b"25\0\0"}
    place = len(data) + 2 + 12 * len(texts) + 4
    entries = len(texts).to_bytes(2, "little")
    for tag, text in texts.items():
        value = text if len(text) == 4 else place.to_bytes(4, "little")
        entries += tag.to_bytes(2, "little") + b"\2\0" + len(text).to_bytes(4, "little") + value
        place += len(text) if len(text) > 4 else 0
    exif_directory = b"\x69\x87\4\0\1\0\0\0" + len(data).to_bytes(4, "little")
    pointed = data.replace(b"\x6a\x87\4\0\1\0\0\0zzzz", exif_directory)  # tifffile does not write tag 34665
    return pointed + entries + bytes(4) + b"".join(text for text in texts.values() if len(text) > 4)


FILES: dict[str, Callable[[], bytes]] = {
    "lossy.webp": lambda: webp(quality=100),
    "lossless.webp": lambda: webp(lossless=True),
    "prefixed.webp": lambda: webp(b"Exif\0\0", quality=100),
    "after-text.png": lambda: png(before=TEXT + EXIF_CHUNK),
    "prefixed.png": lambda: png(before=TEXT + png_chunk(b"eXIf", b"Exif\0\0" + exif())),
    "behind-pixels.png": lambda: png(after=EXIF_CHUNK),
    "behind-one-part.png": lambda: png(after=EXIF_CHUNK, part=1 << 30),
    "behind-large-parts.png": lambda: png(after=EXIF_CHUNK, part=110_000),
    "behind-large-text.png": lambda: png(after=EXIF_CHUNK + TEXT + TEXT),
    "profile.png": lambda: png(before=imagemagick_profile(b"zTXt")),
    "profile-text.png": lambda: png(before=TEXT + imagemagick_profile(b"tEXt")),
    "profile-behind.png": lambda: png(after=imagemagick_profile(b"iTXt")),
    "second.jpg": lambda: jpeg(XMP_SEGMENT, EXIF_SEGMENT),
    "late.jpg": lambda: jpeg(FLASHPIX, FLASHPIX, XMP_SEGMENT, EXIF_SEGMENT),
    "end.tif": tiff_with_exif_at_its_end,
}


@pytest.mark.anyio
async def test_a_scan_finds_orientation_and_time(lab: DatasetFolder) -> None:
    for name, make in FILES.items():
        lab.write_at(name, make())
    summary = await lab.scan()
    assert summary.unreadable_frames == 0
    facts = {
        row["key"].rpartition("/")[2]: (row["width"], row["height"], row["captured_at"]) for row in await lab.rows()
    }
    assert facts == dict.fromkeys(FILES, (240, 360, TAKEN))


@pytest.mark.parametrize("name", FILES)
def test_a_render_turns_the_frame_as_the_scan_does(name: str) -> None:
    """The reference is Pillow's; "fail" would end the render if the shape were another."""
    with Image.open(io.BytesIO(FILES[name]())) as image:
        image.load()
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    result = render([FILES[name]()], width=240, height=360, mismatch="fail", corrupt="fail", quality=95)
    assert result.reports[0].outcome == "ok"
    shown = decode_pictures(result.data)[0].astype(int)
    for y, x in ((30, 200), (60, 180)):
        assert expected.shape == shown.shape
        assert np.abs(shown[y, x] - expected[y, x]).max() <= 12


@pytest.mark.anyio
async def test_what_is_read_of_a_large_png(lab: DatasetFolder) -> None:
    """The beginning and the end; of one whose image data is one part, only the beginning."""
    noise = np.random.default_rng(2).integers(0, 256, (700, 900, 3), np.uint8)
    lab.write_at("parts.png", media.png(noise))
    fetched: list[int] = []

    class Counting(FileObjectStore):
        async def get(self, ref: ObjectRef, start: int = 0, stop: int | None = None, etag: str = "") -> bytes:
            data = await super().get(ref, start, stop, etag)
            fetched.append(len(data))
            return data

    lab.objects = Counting(lab.objects.root, "reelmill")
    await lab.scan()
    assert fetched == [HEADER_BYTES, TAIL_BYTES]
    (lab.folder / "parts.png").unlink()
    lab.write_at("one.png", png(part=1 << 30))
    lab.write_at("plain.webp", saved("WEBP", quality=100))
    fetched.clear()
    await lab.scan()
    assert fetched == [HEADER_BYTES, HEADER_BYTES]


@pytest.mark.parametrize("damage", [b"", b"II*\0", bytes(range(200)), b"II*\0\xff\xff\xff\x7f" + bytes(20)])
@pytest.mark.parametrize(
    "make", [lambda body: png(before=png_chunk(b"eXIf", body)), lambda body: jpeg(b"\xe1Exif\0\0" + body)]
)
def test_damaged_exif_costs_no_picture(make: Callable[[bytes], bytes], damage: bytes) -> None:
    """FFmpeg refuses such a PNG; Pillow shows it."""
    data = make(damage)
    shown = decode_pictures(render([data], width=360, height=240, corrupt="fail", quality=95).data)[0].astype(int)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert np.abs(shown[30:50, 30:50] - expected[30:50, 30:50]).max() <= 12


def test_times_out_of_the_calendar_are_none() -> None:
    """A camera may say anything; one such frame would have made every scan fail."""
    assert as_utc(parse_time("0001:01:01 00:00:00", offset="+14:00")) is None
    assert as_utc(parse_time("9999:12:31 23:59:59", offset="-12:00")) is None
    assert as_utc(parse_time("9999:12:31 23:59:59")) == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert as_utc(None) is None
