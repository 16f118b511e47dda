"""The chain of directories of a TIFF or BigTIFF, read field by field: what its pictures are and where they begin.

TIFF 6.0 section 2, and BigTIFF (version 43: 8-byte offsets and counts). Nothing is decoded.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from service.pipeline.frames import Unreadable

_WIDTH, _HEIGHT, _BITS, _ORIENTATION, _SAMPLES, _TAKEN, _SUBFILE = 256, 257, 258, 274, 277, 306, 254
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 13: 4, 16: 8, 18: 8}
_LETTERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_REDUCED, _MASK = 1, 4
_MOST_FIELDS, _MOST_PAGES = 4096, 1_000_000


@dataclass(frozen=True, slots=True)
class Directory:
    """One page. `offset` is the directory's own place in the file; sizes are in pixels as stored."""

    offset: int
    width: int
    height: int
    bits: int
    samples: int
    orientation: int
    subfile: int
    taken: datetime | None

    @property
    def is_picture(self) -> bool:
        """Whether it is a full picture, not a thumbnail, a pyramid level or a transparency mask."""
        return not self.subfile & (_REDUCED | _MASK)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Byte order and the sizes of counts and offsets."""

    order: str
    big: bool

    def number(self, file: BinaryIO, size: int) -> int:
        letter = {2: "H", 4: "I", 8: "Q"}[size]
        return int(struct.unpack(self.order + letter, _read(file, size))[0])

    @property
    def word(self) -> int:
        return 8 if self.big else 4


def directories(file: BinaryIO) -> Iterator[Directory]:
    """Every page in order. Raises Unreadable at the first that is damaged, also when the chain bites its tail."""
    layout = _layout(_read(file, 8))
    offset, seen = _first(file, layout), set[int]()
    while offset:
        if offset in seen or len(seen) >= _MOST_PAGES:
            raise Unreadable("the TIFF is damaged: its directories do not come to an end")
        seen.add(offset)
        file.seek(offset)
        fields = _fields(file, layout)
        following = layout.number(file, layout.word)
        yield _directory(file, layout, offset, fields)
        offset = following


def _layout(head: bytes) -> _Layout:
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    version = struct.unpack((order or "<") + "H", head[2:4])[0]
    if order is None or version not in (42, 43):
        raise Unreadable("the TIFF is damaged: it does not begin as one")
    return _Layout(order, version == 43)


def _first(file: BinaryIO, layout: _Layout) -> int:
    file.seek(8 if layout.big else 4)
    offset = layout.number(file, layout.word)
    if not offset:
        raise Unreadable("the TIFF has no picture in it")
    return offset


_Field = tuple[int, int, bytes]


def _fields(file: BinaryIO, layout: _Layout) -> dict[int, _Field]:
    """Tag -> (type, count, value or where it is); the file is left at the offset of the next directory."""
    count = layout.number(file, 8 if layout.big else 2)
    if not 0 < count <= _MOST_FIELDS:
        raise Unreadable("the TIFF is damaged: a directory is out of place")
    size = 20 if layout.big else 12
    entries = _read(file, size * count)
    fields = {}
    for start in range(0, len(entries), size):
        tag, kind, length = struct.unpack_from(layout.order + ("HHQ" if layout.big else "HHI"), entries, start)
        fields[tag] = (kind, length, entries[start + size - layout.word : start + size])
    return fields


def _directory(file: BinaryIO, layout: _Layout, offset: int, fields: dict[int, _Field]) -> Directory:
    def number(tag: int, default: int) -> int:
        return _number(file, layout, fields[tag]) if tag in fields else default

    width, height = number(_WIDTH, 0), number(_HEIGHT, 0)
    if not width or not height:
        raise Unreadable("the TIFF does not give its size")
    turn = number(_ORIENTATION, 1)
    return Directory(
        offset,
        width,
        height,
        number(_BITS, 1),
        number(_SAMPLES, 1),
        turn if 1 <= turn <= 8 else 1,
        number(_SUBFILE, 0),
        _moment(_bytes(file, layout, fields[_TAKEN])) if _TAKEN in fields else None,
    )


def _number(file: BinaryIO, layout: _Layout, field: _Field) -> int:
    kind, count, _ = field
    if kind not in _LETTERS or not count:
        raise Unreadable("the TIFF is damaged: a field has a type that makes no sense")
    return int(struct.unpack_from(layout.order + _LETTERS[kind], _bytes(file, layout, (kind, 1, field[2]), count))[0])


def _bytes(file: BinaryIO, layout: _Layout, field: _Field, stored: int | None = None) -> bytes:
    """The value's bytes; `stored` is how many values the file has where only the first is wanted."""
    kind, count, place = field
    size = _SIZES.get(kind, 1)
    if size * (stored or count) <= layout.word:
        return place[: size * count]
    file.seek(struct.unpack(layout.order + ("Q" if layout.big else "I"), place)[0])
    return _read(file, min(size * count, 64))


def _moment(text: bytes) -> datetime | None:
    try:
        return datetime.strptime(text.decode("ascii").strip("\0 "), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None


def _read(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise Unreadable("the TIFF is cut short: a directory lies beyond its end")
    return data
