"""Hostile JPEGs and WebPs."""

import io
import struct
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.support.data import media

PICTURE = media.numbered_picture(77, 64, 48)


def webp(**options: bool) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, "WEBP", **options)
    return file.getvalue()


GOOD = media.jpeg(PICTURE)
PROGRESSIVE = media.jpeg(PICTURE, progressive=True)
WEBP = webp(lossless=True)
LOSSY = webp()


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def with_segment(marker: int, body: bytes) -> bytes:
    """The good picture with another segment behind its start."""
    return GOOD[:2] + segment(marker, body) + GOOD[2:]


def frame_header(data: bytes) -> int:
    """The offset of the frame header's body: depth, height, width, components."""
    return max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2")) + 4


def sized(width: int, height: int, data: bytes = GOOD) -> bytes:
    at = frame_header(data)
    return data[: at + 1] + struct.pack(">HH", height, width) + data[at + 5 :]


def without(marker: int) -> bytes:
    """The good picture without the segments of one kind."""
    data, start = GOOD, bytes((0xFF, marker))
    while (at := data.find(start)) >= 0:
        data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    return data


def many_scans(count: int, side: int = 48) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    data = media.jpeg(media.flat_picture((90, 80, 70), side, side), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def renamed(old: bytes, new: bytes, data: bytes = GOOD) -> bytes:
    assert old in data
    return data.replace(old, new, 1)


def webp_sized(width: int, height: int) -> bytes:
    """The good lossless WebP with another size in its header, 14 bits each."""
    bits = struct.pack("<I", (width - 1) | (height - 1) << 14 | int.from_bytes(WEBP[21:25], "little") & ~0xFFFFFFF)
    return WEBP[:21] + bits + WEBP[25:]


def riff(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def noise(count: int) -> bytes:
    return bytes(np.random.default_rng(3).integers(0, 255, count, np.uint8))


JPEGS: dict[str, Callable[[], bytes]] = {
    "65500 x 65500": lambda: sized(65_500, 65_500),
    "12000 x 8000 in a kilobyte": lambda: sized(12_000, 8000),
    "12000 x 8000 in a kilobyte, progressive": lambda: sized(12_000, 8000, PROGRESSIVE),
    "no rows": lambda: sized(64, 0),
    "20,000 scans": lambda: many_scans(20_000),
    "300 scans of 16 megapixels": lambda: many_scans(300, 4000),
    "no quantization tables": lambda: without(0xDB),
    "arithmetic coding": lambda: renamed(b"\xff\xc0", b"\xff\xc9"),
    "lossless JPEG": lambda: renamed(b"\xff\xc0", b"\xff\xc3"),
    "12 bits": media.twelve_bit_jpeg,
    "CMYK": lambda: media.cmyk_jpeg(PICTURE),
    "no components": lambda: GOOD[: frame_header(GOOD) + 5] + b"\0" + GOOD[frame_header(GOOD) + 6 :],
    "200 components": lambda: GOOD[: frame_header(GOOD) + 5] + b"\xc8" + GOOD[frame_header(GOOD) + 6 :],
    "sampled 15 x 15": lambda: GOOD[: frame_header(GOOD) + 7] + b"\xff" + GOOD[frame_header(GOOD) + 8 :],
    "cut in the header": lambda: GOOD[:100],
    "cut in the picture": lambda: GOOD[: len(GOOD) - 40],
    "two bytes": lambda: b"\xff\xd8",
    "only markers": lambda: b"\xff\xd8" + b"\xff" * 300_000,
    "a segment of no length": lambda: GOOD[:2] + b"\xff\xe1\0\0" + GOOD[2:],
    "compressed data is noise": lambda: (
        GOOD[: GOOD.index(b"\xff\xda") + 14] + noise(3000).replace(b"\xff", b"") + b"\xff\xd9"
    ),
    "20,000 comments": lambda: GOOD[:2] + segment(0xFE, b"x") * 20_000 + GOOD[2:],
    "a web page": lambda: b"<!doctype html><html><body>404</body></html>",
    "an archive": lambda: b"PK\x03\x04" + bytes(500),
    "a video": lambda: media.video([PICTURE] * 3),
    "empty": lambda: b"",
}
HARMLESS_JPEGS: dict[str, Callable[[], bytes]] = {
    "EXIF that refers to itself": lambda: with_segment(
        0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x08\0\0\0\x08"
    ),
    "EXIF with four billion values": lambda: with_segment(
        0xE1, b"Exif\0\0II*\0\x08\0\0\0\x01\0\x32\x01\x02\0\xff\xff\xff\xff\x08\0\0\0\0\0\0\0"
    ),
    "profile of one part of 255": lambda: with_segment(0xE2, b"ICC_PROFILE\0\x01\xff" + bytes(1000)),
    "profile that lies about its size": lambda: with_segment(
        0xE2, b"ICC_PROFILE\0\x01\x01" + b"\xff\xff\xff\xff" + bytes(32) + b"acsp" + bytes(300)
    ),
    "no Huffman tables": lambda: renamed(b"\xff\xc4", b"\xff\xe9"),
    "restart after each block": lambda: with_segment(0xDD, b"\0\1"),
    "an archive behind the end": lambda: GOOD + b"PK\x03\x04" + bytes(500),
}
WEBPS: dict[str, Callable[[], bytes]] = {
    "16384 x 16384": lambda: webp_sized(16_384, 16_384),
    "7000 x 7000 in a few bytes": lambda: webp_sized(7000, 7000),
    "an animation": lambda: riff(
        b"VP8X\x0a\0\0\0\x02\0\0\0\x3f\0\0\x2f\0\0", b"ANIM\x06\0\0\0" + bytes(6), b"ANMF\x10\0\0\0" + bytes(16)
    ),
    "a chunk of four gigabytes": lambda: WEBP[:16] + b"\xff\xff\xff\xff" + WEBP[20:],
    "longer than it is": lambda: WEBP[:4] + b"\xff\xff\xff\x0f" + WEBP[8:],
    "cut": lambda: WEBP[:-9],
    "only a container": riff,
    "lossy, cut": lambda: riff(b"VP8 \x14\0\0\0" + LOSSY[20:40]),
    "lossless noise": lambda: riff(b"VP8L" + struct.pack("<I", 500) + WEBP[20:25] + noise(495)),
}
