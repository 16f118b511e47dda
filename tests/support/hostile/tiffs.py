"""Hostile TIFFs: directories that loop, lie or name more than there is, and packed data that swells."""

import lzma
import struct
from collections.abc import Callable

import numpy as np

from tests.support.data import media
from tests.support.hostile.pngs import zeros

Fields = dict[int, int | tuple[int, ...]]
# Gray, 64 x 48, 8 bits, one strip behind the header.
PLAIN: Fields = {256: 64, 257: 48, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 48, 279: 64 * 48}
NOISE = bytes(np.random.default_rng(7).integers(0, 256, 64 * 48, np.uint8))
RGB: Fields = {262: 2, 277: 3, 258: (8, 8, 8)}


def tiff(changes: Fields, data: bytes = NOISE, following: int | None = 0) -> bytes:
    """A classic TIFF with the plain fields and these `changes`; its directory lies behind the strip. `following` is the
    offset of the next directory, None for its own."""
    fields = PLAIN | changes
    start = 8 + len(data) + len(data) % 2
    overflow = start + 2 + 12 * len(fields) + 4
    entries, more = b"", b""
    for tag, value in sorted(fields.items()):
        values = value if isinstance(value, tuple) else (value,)
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            place = struct.pack("<I", overflow + len(more))
            more += packed
        else:
            place = packed
        entries += struct.pack("<HHI", tag, 4, len(values)) + place
    end = struct.pack("<I", start if following is None else following)
    head = b"II*\0" + struct.pack("<I", start) + data + bytes(len(data) % 2)
    return head + struct.pack("<H", len(fields)) + entries + end + more


def packed(method: int, data: bytes, side: int = 5000) -> bytes:
    """A large picture of one strip."""
    return tiff({256: side, 257: side, 278: side, 259: method, 279: len(data)}, data)


def big(directory: bytes) -> bytes:
    return b"II+\0\x08\0\0\0" + struct.pack("<Q", 16) + directory


def counted(tag: int, count: int) -> bytes:
    """The plain file with another count of values of one field."""
    data = bytearray(tiff({}))
    at = data.index(struct.pack("<HHI", tag, 4, 1), 8 + len(NOISE)) + 4
    data[at : at + 4] = struct.pack("<I", count)
    return bytes(data)


def floats(value: float, kind: str = "f4") -> bytes:
    return media.tiff(np.full((48, 64), value, kind))


TIFFS: dict[str, Callable[[], bytes]] = {
    "tiny file, 30000 x 30000": media.tiff_bomb,
    "four billion columns": lambda: tiff({256: 2**32 - 1}),
    "strip far behind the end": lambda: tiff({273: 2**31}),
    "strip longer than the file": lambda: tiff({279: 2**31}),
    "four billion strips": lambda: counted(273, 2**32 - 1),
    "rows of no strip": lambda: tiff({278: 0}),
    "a million strips of one place": lambda: tiff(
        {257: 60_000, 278: 1, 273: (8,) * 60_000, 279: (64,) * 60_000, 256: 1500, 259: 8}
    ),
    "200 samples": lambda: tiff({277: 200}),
    "four billion bits": lambda: tiff({258: 2**32 - 1}),
    "64 bits": lambda: tiff({258: 64}),
    "Deflate that unpacks to 25 GB": lambda: packed(8, zeros(1 << 28)),
    "Deflate of noise": lambda: packed(8, NOISE),
    "LZW of noise": lambda: packed(5, NOISE, 64),
    "PackBits of noise": lambda: packed(32773, NOISE, 2000),
    "LZMA of noise": lambda: packed(34925, NOISE, 64),
    "Zstandard of noise": lambda: packed(50000, NOISE, 64),
    "JPEG of noise": lambda: packed(7, NOISE, 64),
    "WebP inside": lambda: packed(50001, NOISE, 64),
    "a method that nobody has": lambda: packed(31_337, NOISE, 64),
    "fax of noise": lambda: tiff({258: 1, 259: 4, 256: 4000, 257: 4000, 278: 4000}),
    "tile of 65535 x 65535": lambda: tiff({322: 65_535, 323: 65_535, 324: 8, 325: 3072}),
    "tile of no width": lambda: tiff({322: 0, 323: 16, 324: 8, 325: 3072}),
    "palette without colours": lambda: tiff({262: 3}),
    "CMYK": lambda: media.cmyk_tiff(media.flat_picture((9, 9, 9))),
    "raw sensor data": lambda: tiff({262: 32_803}),
    "no field": lambda: b"II*\0\x08\0\0\0\0\0" + bytes(100),
    "the directory lies behind the end": lambda: b"II*\0\xff\xff\xff\x7f" + bytes(100),
    "BigTIFF with 2^63 fields": lambda: big(struct.pack("<Q", 2**63) + bytes(100)),
    "BigTIFF whose directory is nowhere": lambda: b"II+\0\x08\0\0\0" + struct.pack("<Q", 2**63) + bytes(100),
    "cut": lambda: tiff({})[:-30],
    "all samples are NaN": lambda: floats(float("nan")),
    "all samples are infinite": lambda: floats(float("-inf"), "f8"),
}
HARMLESS_TIFFS: dict[str, Callable[[], bytes]] = {
    "EXIF directory that is its own": lambda: tiff({34665: 8 + len(NOISE)}),
    "sub-directories that loop": lambda: tiff({330: 8 + len(NOISE)}),
    "a profile of four gigabytes": lambda: tiff({34675: 2**31}),
    "four billion bits fields": lambda: counted(258, 2**32 - 1),
    "LZMA that swells": lambda: packed(34925, lzma.compress(bytes(1 << 24)), 64),
    "JPEG of another size": lambda: packed(7, media.jpeg(media.flat_picture((9, 9, 9), 500, 400)), 64),
    "overlapping strips": lambda: tiff({278: 24, 273: (8, 8), 279: (1536, 1536)}),
}
# These give more rows than one in a scan: pages, and where reading ended.
LOOPING_TIFFS: dict[str, Callable[[], bytes]] = {
    "the directory is its own next one": lambda: tiff({}, following=None),
    "the next directory is nowhere": lambda: tiff({}, following=2**31),
}
