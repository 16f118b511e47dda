"""Turns a cached segment (fragmented MP4, timestamps from 0) into the init and media sections of an HLS rendition.

Only box headers are rewritten (ISO/IEC 14496-12). All segments of a render have the same moov with the same edit list,
so the decode times alone place a segment on the timeline."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction


class MalformedMp4(Exception):
    """The bytes are not valid MP4 boxes, or a box is missing."""


@dataclass(frozen=True, slots=True)
class Box:
    """Byte offsets of a box: header from `start`, payload [`body`, `stop`)."""

    kind: bytes
    start: int
    body: int
    stop: int


def iter_boxes(data: bytes | bytearray, parent: Box | None = None) -> Iterator[Box]:
    """The boxes of a file, or the direct children of `parent`, in order. Raises MalformedMp4."""
    offset, end = (parent.body, parent.stop) if parent else (0, len(data))
    while offset < end:
        box = _parse_box(data, offset, end)
        yield box
        offset = box.stop


def _parse_box(data: bytes | bytearray, offset: int, end: int) -> Box:
    if end - offset < 8:
        raise MalformedMp4(f"box header at byte {offset} is truncated")
    size, header = int.from_bytes(data[offset : offset + 4], "big"), 8
    if size == 1:
        size, header = int.from_bytes(data[offset + 8 : offset + 16], "big"), 16
    if size == 0:
        size = end - offset
    if size < header or offset + size > end:
        raise MalformedMp4(f"box at byte {offset} has an invalid size of {size} bytes")
    return Box(bytes(data[offset + 4 : offset + 8]), offset, offset + header, offset + size)


def find_box(data: bytes | bytearray, *path: bytes, parent: Box | None = None) -> Box:
    """The first box at a path of kinds, such as find_box(data, b"moov", b"mvhd"). Raises MalformedMp4."""
    for kind in path:
        parent = next((box for box in iter_boxes(data, parent) if box.kind == kind), None)
        if parent is None:
            raise MalformedMp4(f"there is no {kind.decode('latin-1')} box")
    if parent is None:
        raise MalformedMp4("no path was given")
    return parent


def read_uint(data: bytes | bytearray, offset: int, size: int, box: Box) -> int:
    """An unsigned big-endian number of `size` bytes inside `box`. Raises MalformedMp4."""
    if offset + size > box.stop:
        raise MalformedMp4(f"a {box.kind.decode('latin-1')} box is too short")
    return int.from_bytes(data[offset : offset + size], "big")


_INIT_BOXES = (b"ftyp", b"moov")
_MEDIA_BOXES = (b"moof", b"mdat")
_TFHD_DURATION, _TRUN_DURATION = 0x8, 0x100
# Flags for the fields of a sample: duration, size, flags, composition offset.
_TRUN_SAMPLE_FIELDS = (_TRUN_DURATION, 0x200, 0x400, 0x800)


def init_section(segment: bytes) -> bytes:
    """The boxes ftyp and moov, for EXT-X-MAP. Raises MalformedMp4."""
    find_box(segment, b"moov")
    return b"".join(segment[box.start : box.stop] for box in iter_boxes(segment) if box.kind in _INIT_BOXES)


def media_section(segment: bytes, start: Fraction, sequence: int) -> bytes:
    """The boxes moof and mdat, with decode times shifted by `start` seconds.

    `sequence` is the number of the first fragment. Raises MalformedMp4, also if `start` is not a whole number of ticks.
    """
    shift = start * timescale(segment)
    if shift.denominator != 1:
        raise MalformedMp4(f"{start} s is between two ticks of the track's timescale")
    data, parts = bytearray(segment), []
    for box in iter_boxes(segment):
        if box.kind == b"moof":
            header = find_box(data, b"mfhd", parent=box)
            read_uint(data, header.body + 4, 4, header)  # raises if the box is too short
            data[header.body + 4 : header.body + 8] = sequence.to_bytes(4, "big")
            _shift_decode_time(data, box, int(shift))
            sequence += 1
        if box.kind in _MEDIA_BOXES:
            parts.append(bytes(data[box.start : box.stop]))
    if len(parts) < 2:
        raise MalformedMp4("there is no fragment")
    return b"".join(parts)


def timescale(segment: bytes) -> int:
    """Ticks per second of the file's only track. Raises MalformedMp4."""
    header = find_box(segment, b"moov", b"trak", b"mdia", b"mdhd")
    wide = read_uint(segment, header.body, 1, header) == 1
    ticks = read_uint(segment, header.body + (20 if wide else 12), 4, header)
    if ticks == 0:
        raise MalformedMp4("the timescale is 0")
    return ticks


def _shift_decode_time(data: bytearray, moof: Box, ticks: int) -> None:
    """Add to the fragment's base media decode time (tfdt: 32 bits in version 0, 64 in version 1)."""
    header = find_box(data, b"traf", b"tfdt", parent=moof)
    size = 8 if read_uint(data, header.body, 1, header) == 1 else 4
    moved = read_uint(data, header.body + 4, size, header) + ticks
    if moved >= 1 << (8 * size):
        raise MalformedMp4("the decode time does not fit its field")
    data[header.body + 4 : header.body + 4 + size] = moved.to_bytes(size, "big")


def segment_duration(segment: bytes) -> Fraction:
    """Duration of all fragments together, in seconds. Raises MalformedMp4."""
    ticks = sum(_fragment_ticks(segment, box) for box in iter_boxes(segment) if box.kind == b"moof")
    return Fraction(ticks, timescale(segment))


def _fragment_ticks(data: bytes, moof: Box) -> int:
    track = find_box(data, b"traf", parent=moof)
    default_duration = _default_sample_duration(data, find_box(data, b"tfhd", parent=track))
    return sum(_run_ticks(data, run, default_duration) for run in iter_boxes(data, track) if run.kind == b"trun")


def _default_sample_duration(data: bytes, header: Box) -> int:
    """default_sample_duration of the fragment (tfhd), else of the file (trex)."""
    flags = read_uint(data, header.body, 4, header) & 0xFFFFFF
    if flags & _TFHD_DURATION:
        before = 8 * bool(flags & 0x1) + 4 * bool(flags & 0x2)
        return read_uint(data, header.body + 8 + before, 4, header)
    extends = find_box(data, b"moov", b"mvex", b"trex")
    return read_uint(data, extends.body + 12, 4, extends)


def _run_ticks(data: bytes, run: Box, default_duration: int) -> int:
    """Total duration of a run: each sample's own duration (its first field) if given, else the default."""
    flags, count = read_uint(data, run.body, 4, run) & 0xFFFFFF, read_uint(data, run.body + 4, 4, run)
    if not flags & _TRUN_DURATION:
        return count * default_duration
    first = run.body + 8 + 4 * bool(flags & 0x1) + 4 * bool(flags & 0x4)
    step = 4 * sum(bool(flags & field) for field in _TRUN_SAMPLE_FIELDS)
    return sum(read_uint(data, first + index * step, 4, run) for index in range(count))
