"""One page of a TIFF as a TIFF of its own, for a decoder that takes only whole files."""

import struct
from typing import Any

_COPIED_TAGS = (256, 257, 258, 259, 262, 277, 278, 284, 317, 322, 323, 338, 339)
"""Size, bits, compression, photometric, samples, rows per strip, planes, predictor, tile size, alpha, sample format."""

_OFFSETS, _COUNTS, _TILE_OFFSETS, _TILE_COUNTS, _FILL_ORDER = 273, 279, 324, 325, 266
_SHORT, _LONG = 3, 4


def single_page_tiff(page: Any) -> bytes:
    """A little or big-endian classic TIFF with the page's pieces in order; `page` is a tifffile.TiffPage."""
    file, order = page.parent.filehandle, page.parent.byteorder
    pieces = []
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        file.seek(offset)
        pieces.append(file.read(count))
    fields = {tag: _tag_values(page, tag) for tag in (*_COPIED_TAGS, _FILL_ORDER) if tag in page.tags}
    places, offset = [], 8
    for piece in pieces:
        places.append(offset)
        offset += len(piece)
    tiled = page.is_tiled
    fields[_TILE_OFFSETS if tiled else _OFFSETS] = places
    fields[_TILE_COUNTS if tiled else _COUNTS] = [len(piece) for piece in pieces]
    start = offset + offset % 2
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, start)
    return head + b"".join(pieces) + bytes(start - offset) + _encode_directory(fields, start, order)


def _tag_values(page: Any, tag: int) -> list[int]:
    value = page.tags[tag].value
    return [int(one) for one in value] if isinstance(value, tuple) else [int(value)]


def _encode_directory(fields: dict[int, list[int]], start: int, order: str) -> bytes:
    entries, beyond = b"", b""
    after = start + 2 + 12 * len(fields) + 4
    for tag in sorted(fields):
        kind = _LONG if max(fields[tag]) > 0xFFFF or tag in (_OFFSETS, _COUNTS, _TILE_OFFSETS, _TILE_COUNTS) else _SHORT
        values = struct.pack(f"{order}{len(fields[tag])}{'I' if kind == _LONG else 'H'}", *fields[tag])
        if len(values) > 4:
            place = struct.pack(order + "I", after + len(beyond))
            beyond += values
        else:
            place = values.ljust(4, b"\0")
        entries += struct.pack(order + "HHI", tag, kind, len(fields[tag])) + place
    return struct.pack(order + "H", len(fields)) + entries + bytes(4) + beyond
