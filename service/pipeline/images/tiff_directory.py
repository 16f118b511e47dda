"""Reads the image file directories (IFDs) of a TIFF or BigTIFF without decoding anything.

TIFF 6.0 section 2, and BigTIFF (version 43: 8-byte offsets and counts)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from service.pipeline.frames import MediaUnreadable

_WIDTH, _HEIGHT, _BITS, _ORIENTATION, _SAMPLES, _DATETIME, _SUBFILE_TYPE = 256, 257, 258, 274, 277, 306, 254
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 13: 4, 16: 8, 18: 8}
_STRUCT_CODES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_REDUCED_IMAGE, _MASK = 1, 4
_MAX_FIELDS, _MAX_PAGES = 4096, 1_000_000


@dataclass(frozen=True, slots=True)
class TiffDirectory:
    """One page. `offset` is the directory's own place in the file; sizes are in pixels as stored."""

    offset: int
    width: int
    height: int
    bits_per_sample: int
    samples_per_pixel: int
    orientation: int
    subfile_type: int
    captured_at: datetime | None

    @property
    def is_picture(self) -> bool:
        """Whether it is a full picture, not a thumbnail, a pyramid level or a transparency mask."""
        return not self.subfile_type & (_REDUCED_IMAGE | _MASK)


@dataclass(frozen=True, slots=True)
class _ByteLayout:
    """Byte order and the sizes of counts and offsets."""

    order: str
    big: bool

    def read_number(self, file: BinaryIO, size: int) -> int:
        letter = {2: "H", 4: "I", 8: "Q"}[size]
        return int(struct.unpack(self.order + letter, _read_exactly(file, size))[0])

    @property
    def offset_size(self) -> int:
        return 8 if self.big else 4


def read_directories(file: BinaryIO) -> Iterator[TiffDirectory]:
    """Every page in order. Raises Unreadable at the first that is damaged, also when the chain bites its tail."""
    layout = _read_layout(_read_exactly(file, 8))
    offset, seen = _first_offset(file, layout), set[int]()
    while offset:
        if offset in seen or len(seen) >= _MAX_PAGES:
            raise MediaUnreadable("the TIFF is damaged: its directories do not come to an end")
        seen.add(offset)
        file.seek(offset)
        fields = _read_fields(file, layout)
        following = layout.read_number(file, layout.offset_size)
        yield _to_directory(file, layout, offset, fields)
        offset = following


def _read_layout(head: bytes) -> _ByteLayout:
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    version = struct.unpack((order or "<") + "H", head[2:4])[0]
    if order is None or version not in (42, 43):
        raise MediaUnreadable("the TIFF is damaged: it does not begin as one")
    return _ByteLayout(order, version == 43)


def _first_offset(file: BinaryIO, layout: _ByteLayout) -> int:
    file.seek(8 if layout.big else 4)
    offset = layout.read_number(file, layout.offset_size)
    if not offset:
        raise MediaUnreadable("the TIFF has no picture in it")
    return offset


_Field = tuple[int, int, bytes]


def _read_fields(file: BinaryIO, layout: _ByteLayout) -> dict[int, _Field]:
    """Tag -> (type, count, value or where it is); the file is left at the offset of the next directory."""
    count = layout.read_number(file, 8 if layout.big else 2)
    if not 0 < count <= _MAX_FIELDS:
        raise MediaUnreadable("the TIFF is damaged: a directory is out of place")
    size = 20 if layout.big else 12
    entries = _read_exactly(file, size * count)
    fields = {}
    for start in range(0, len(entries), size):
        tag, kind, length = struct.unpack_from(layout.order + ("HHQ" if layout.big else "HHI"), entries, start)
        fields[tag] = (kind, length, entries[start + size - layout.offset_size : start + size])
    return fields


def _to_directory(file: BinaryIO, layout: _ByteLayout, offset: int, fields: dict[int, _Field]) -> TiffDirectory:
    def number(tag: int, default: int) -> int:
        return _field_number(file, layout, fields[tag]) if tag in fields else default

    width, height = number(_WIDTH, 0), number(_HEIGHT, 0)
    if not width or not height:
        raise MediaUnreadable("the TIFF does not give its size")
    turn = number(_ORIENTATION, 1)
    return TiffDirectory(
        offset,
        width,
        height,
        number(_BITS, 1),
        number(_SAMPLES, 1),
        turn if 1 <= turn <= 8 else 1,
        number(_SUBFILE_TYPE, 0),
        _parse_time(_field_bytes(file, layout, fields[_DATETIME])) if _DATETIME in fields else None,
    )


def _field_number(file: BinaryIO, layout: _ByteLayout, field: _Field) -> int:
    kind, count, _ = field
    if kind not in _STRUCT_CODES or not count:
        raise MediaUnreadable("the TIFF is damaged: a field has a type that makes no sense")
    return int(
        struct.unpack_from(layout.order + _STRUCT_CODES[kind], _field_bytes(file, layout, (kind, 1, field[2]), count))[
            0
        ]
    )


def _field_bytes(file: BinaryIO, layout: _ByteLayout, field: _Field, stored_count: int | None = None) -> bytes:
    """The value's bytes; `stored` is how many values the file has where only the first is wanted."""
    kind, count, place = field
    size = _TYPE_SIZES.get(kind, 1)
    if size * (stored_count or count) <= layout.offset_size:
        return place[: size * count]
    file.seek(struct.unpack(layout.order + ("Q" if layout.big else "I"), place)[0])
    return _read_exactly(file, min(size * count, 64))


def _parse_time(text: bytes) -> datetime | None:
    try:
        return datetime.strptime(text.decode("ascii").strip("\0 "), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None


def _read_exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise MediaUnreadable("the TIFF is cut short: a directory lies beyond its end")
    return data
