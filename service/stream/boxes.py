"""The boxes of an ISO base media file (ISO/IEC 14496-12, 4.2), found by their headers alone."""

from collections.abc import Iterator
from dataclasses import dataclass


class BrokenFile(Exception):
    """The bytes are not the boxes that were expected."""


@dataclass(frozen=True, slots=True)
class Box:
    """Where a box lies: header from `start`, payload [`body`, `stop`)."""

    kind: bytes
    start: int
    body: int
    stop: int


def boxes(data: bytes | bytearray, within: Box | None = None) -> Iterator[Box]:
    """The boxes of a file, or those right inside a box, in order. Raises BrokenFile."""
    at, end = (within.body, within.stop) if within else (0, len(data))
    while at < end:
        box = _box(data, at, end)
        yield box
        at = box.stop


def _box(data: bytes | bytearray, at: int, end: int) -> Box:
    if end - at < 8:
        raise BrokenFile(f"a box header at byte {at} is cut off")
    size, header = int.from_bytes(data[at : at + 4], "big"), 8
    if size == 1:
        size, header = int.from_bytes(data[at + 8 : at + 16], "big"), 16
    if size == 0:
        size = end - at
    if size < header or at + size > end:
        raise BrokenFile(f"a box at byte {at} says it has {size} bytes")
    return Box(bytes(data[at + 4 : at + 8]), at, at + header, at + size)


def find(data: bytes | bytearray, *path: bytes, within: Box | None = None) -> Box:
    """The first box at the end of a path of kinds: find(data, b"moov", b"mvhd"). Raises BrokenFile."""
    for kind in path:
        within = next((box for box in boxes(data, within) if box.kind == kind), None)
        if within is None:
            raise BrokenFile(f"there is no {kind.decode('latin-1')} box")
    if within is None:
        raise BrokenFile("no path was given")
    return within


def number(data: bytes | bytearray, at: int, size: int, box: Box) -> int:
    """An unsigned big-endian number of `size` bytes inside `box`. Raises BrokenFile."""
    if at + size > box.stop:
        raise BrokenFile(f"a {box.kind.decode('latin-1')} box is too short")
    return int.from_bytes(data[at : at + size], "big")
