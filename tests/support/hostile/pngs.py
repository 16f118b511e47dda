"""Hostile PNGs."""

import struct
import zlib
from collections.abc import Callable

import numpy as np

from tests.support.data import media

MAGIC = b"\x89PNG\r\n\x1a\n"
GOOD = media.png(media.flat_picture((90, 120, 60)))


def chunk(name: bytes, body: bytes, checksum: int | None = None) -> bytes:
    checksum = zlib.crc32(name + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


def png(header: tuple[int, int, int, int], data: bytes, before: bytes = b"", interlaced: bool = False) -> bytes:
    """`header` is (width, height, bits, colour type), `data` the image data before it is packed."""
    ihdr = struct.pack(">IIBBBBB", *header, 0, 0, interlaced)
    return MAGIC + chunk(b"IHDR", ihdr) + before + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


def zeros(count: int) -> bytes:
    """So many zero bytes as zlib packs them (RFC 1950): one megabyte, again and again."""
    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, wbits=-15)
    rest = last.compress(bytes(count & 0xFFFFF)) + last.flush()
    return b"\x78\xda" + block * (count >> 20) + rest + struct.pack(">HH", count % 65521, 1)


def huge(width: int, height: int, bits: int, colour: int) -> bytes:
    """A complete picture of zeros, a thousandth of its size."""
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    rows = zeros(height * (1 + width * samples * bits // 8))
    ihdr = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return MAGIC + chunk(b"IHDR", ihdr) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def with_chunks(*chunks: bytes) -> bytes:
    """A good picture with these chunks behind its header."""
    return GOOD[:33] + b"".join(chunks) + GOOD[33:]


def animated() -> bytes:
    control = struct.pack(">IIIIIHHBB", 0, 64, 48, 0, 0, 1, 100, 0, 0)
    return with_chunks(chunk(b"acTL", struct.pack(">II", 1_000_000, 0)), chunk(b"fcTL", control))


def noisy_rows() -> bytes:
    return bytes(np.random.default_rng(5).integers(0, 256, 48 * (1 + 64 * 3), np.uint8))


PNGS: dict[str, Callable[[], bytes]] = {
    "tiny file, 30000 x 30000": media.png_bomb,
    "two billion columns": lambda: png((2**31 - 1, 2**31 - 1, 8, 2), bytes(100)),
    "four billion rows": lambda: png((64, 2**32 - 1, 8, 2), bytes(100)),
    "16-bit RGBA that unpacks to 150 MB": lambda: huge(4800, 3900, 16, 6),
    "16-bit RGB of 24 megapixels": lambda: huge(6000, 4000, 16, 2),
    "rows end early": lambda: png((64, 48, 8, 2), bytes(1000)),
    "wrong checksum of the image": lambda: GOOD[:-20] + b"\0\0\0\0" + GOOD[-16:],
    "wrong checksum of the header": lambda: GOOD[:29] + b"\0\0\0\0" + GOOD[33:],
    "unknown row filter": lambda: png((64, 48, 16, 2), b"\x09" * (48 * (1 + 64 * 6))),
    "interlaced, cut": lambda: png((64, 48, 16, 6), bytes(3000), interlaced=True),
    "palette of one colour, indexes of 255": lambda: png(
        (64, 48, 8, 3), b"\0" + b"\xff" * 3167, chunk(b"PLTE", bytes(3))
    ),
    "chunk of four gigabytes": lambda: GOOD[:33] + struct.pack(">I", 2**32 - 1) + b"tEXt" + GOOD[41:],
    "image data cut": lambda: GOOD[: len(GOOD) // 2],
    "image data is noise": lambda: MAGIC + GOOD[8:33] + chunk(b"IDAT", noisy_rows()) + chunk(b"IEND", b""),
    "no image data": lambda: GOOD[:33] + chunk(b"IEND", b""),
    "100,000 text chunks": lambda: with_chunks(*[chunk(b"tEXt", b"a\0b")] * 100_000),
    "depth 16 of a palette": lambda: png((64, 48, 16, 3), bytes(10_000)),
}
# Their picture is whole, whatever else they carry.
HARMLESS_PNGS: dict[str, Callable[[], bytes]] = {
    "text that unpacks to 1 GiB": lambda: with_chunks(chunk(b"zTXt", b"a\0\0" + zeros(1 << 30))),
    "profile that unpacks to 1 GiB": lambda: with_chunks(chunk(b"iCCP", b"a\0\0" + zeros(1 << 30))),
    "a million animation frames": animated,
    "EXIF that refers to itself": lambda: with_chunks(
        chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x08\0\0\0\x08")
    ),
    "far more rows than it says": lambda: png((64, 48, 8, 6), bytes(64 << 20)),
    "16-bit, more rows than it says": lambda: png((64, 48, 16, 6), bytes(64 << 20)),
    "no palette": lambda: png((64, 48, 8, 3), bytes(48 * 65)),
    "something behind the end": lambda: GOOD + b"PK\x03\x04" + bytes(100),
}
