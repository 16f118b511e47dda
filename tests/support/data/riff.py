"""A small writer of uncompressed AVIs, as ImageJ and Windows write them: palettes, rows from the bottom up."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Levels = np.ndarray[Any, np.dtype[np.uint8]]
Palette = Sequence[tuple[int, ...]]
_PALETTE_CHANGES = 0x0001_0000


def gray_ramp(bits: int) -> list[tuple[int, ...]]:
    """The palette of gray levels that ImageJ writes for 8-bit images."""
    last = (1 << bits) - 1
    return [(level * 255 // last,) * 3 for level in range(last + 1)]


def palette_avi(
    pictures: Sequence[Levels], bits: int, palette: Palette, changes: Mapping[int, Palette] | None = None
) -> bytes:
    """An AVI of palette indexes, (height, width) each; `changes` has the palettes that hold from a picture on."""
    height, width = pictures[0].shape
    frames = [_bottom_up(picture, bits) for picture in pictures]
    movi, index = b"", b""
    for number, frame in enumerate(frames):
        if changes and number in changes:
            entries = b"".join(struct.pack("4B", *colour, 0) for colour in changes[number])
            chunk = _chunk(b"00pc", struct.pack("<BBH", 0, len(changes[number]) & 255, 0) + entries)
            index += struct.pack("<4sIII", b"00pc", 0x100, 4 + len(movi), len(chunk) - 8)
            movi += chunk
        index += struct.pack("<4sIII", b"00db", 0x10, 4 + len(movi), len(frame))
        movi += _chunk(b"00db", frame)
    header = _header((width, height), len(frames), bits, palette, flags=_PALETTE_CHANGES if changes else 0)
    body = b"AVI " + _list(b"hdrl", header) + _list(b"movi", movi) + _chunk(b"idx1", index)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _header(size: tuple[int, int], count: int, bits: int, palette: Palette, flags: int) -> bytes:
    main = struct.pack("<14I", 40_000, 0, 0, 0x10, count, 0, 1, 0, *size, 0, 0, 0, 0)
    rates = struct.pack("<IHHIIIIIIII4H", flags, 0, 0, 0, 1, 25, 0, count, 0, 0, 0, 0, 0, *size)
    picture = struct.pack("<IiiHHIIiiII", 40, *size, 1, bits, 0, 0, 0, 0, len(palette), 0)
    colours = b"".join(struct.pack("4B", blue, green, red, 0) for red, green, blue in palette)
    stream = _chunk(b"strh", b"vidsDIB " + rates) + _chunk(b"strf", picture + colours)
    return _chunk(b"avih", main) + _list(b"strl", stream)


def _bottom_up(picture: Levels, bits: int) -> bytes:
    """Rows of packed indexes, the last one first, each filled up to four bytes."""
    rows = picture[::-1]
    per_byte = 8 // bits
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % per_byte))).reshape(len(rows), -1, per_byte)
    shifts = np.arange(per_byte - 1, -1, -1, dtype=np.uint8) * bits
    packed = (rows << shifts).sum(2).astype(np.uint8)
    return np.pad(packed, ((0, 0), (0, -packed.shape[1] % 4))).tobytes()


def _list(kind: bytes, body: bytes) -> bytes:
    return _chunk(b"LIST", kind + body)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
