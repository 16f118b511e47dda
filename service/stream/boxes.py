"""The boxes of an ISO base media file (ISO/IEC 14496-12, 4.2), found by their headers alone."""

from collections.abc import Iterator
from dataclasses import dataclass


class MalformedMp4(Exception):
    """The bytes are not the boxes that were expected."""


@dataclass(frozen=True, slots=True)
class Box:
    """Where a box lies: header from `start`, payload [`body`, `stop`)."""

    kind: bytes
    start: int
    body: int
    stop: int


def iter_boxes(data: bytes | bytearray, parent: Box | None = None) -> Iterator[Box]:
    """The boxes of a file, or those right inside a box, in order. Raises BrokenFile."""
    at, end = (parent.body, parent.stop) if parent else (0, len(data))
    while at < end:
        box = _parse_box(data, at, end)
        yield box
        at = box.stop


def _parse_box(data: bytes | bytearray, offset: int, end: int) -> Box:
    if end - offset < 8:
        raise MalformedMp4(f"a box header at byte {offset} is cut off")
    size, header = int.from_bytes(data[offset : offset + 4], "big"), 8
    if size == 1:
        size, header = int.from_bytes(data[offset + 8 : offset + 16], "big"), 16
    if size == 0:
        size = end - offset
    if size < header or offset + size > end:
        raise MalformedMp4(f"a box at byte {offset} says it has {size} bytes")
    return Box(bytes(data[offset + 4 : offset + 8]), offset, offset + header, offset + size)


def find_box(data: bytes | bytearray, *path: bytes, parent: Box | None = None) -> Box:
    """The first box at the end of a path of kinds: find(data, b"moov", b"mvhd"). Raises BrokenFile."""
    for kind in path:
        parent = next((box for box in iter_boxes(data, parent) if box.kind == kind), None)
        if parent is None:
            raise MalformedMp4(f"there is no {kind.decode('latin-1')} box")
    if parent is None:
        raise MalformedMp4("no path was given")
    return parent


def read_uint(data: bytes | bytearray, offset: int, size: int, box: Box) -> int:
    """An unsigned big-endian number of `size` bytes inside `box`. Raises BrokenFile."""
    if offset + size > box.stop:
        raise MalformedMp4(f"a {box.kind.decode('latin-1')} box is too short")
    return int.from_bytes(data[offset : offset + size], "big")
