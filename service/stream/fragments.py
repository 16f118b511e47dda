"""A cached segment (fragmented MP4, timestamps from 0) -> the init and media sections of one HLS rendition.

Only boxes are rewritten: every segment of a render has the same moov, its edit list included, so a segment goes to its
place on the time line by its decode times alone.
"""

from fractions import Fraction

from service.stream.boxes import Box, BrokenFile, boxes, find, number

_HEADERS = (b"ftyp", b"moov")
_FRAGMENTS = (b"moof", b"mdat")
_TFHD_DURATION, _TRUN_DURATION = 0x8, 0x100
_TRUN_FIELDS = (_TRUN_DURATION, 0x200, 0x400, 0x800)
"""Flags of the fields that a sample may have: duration, size, flags, composition offset."""


def init_section(segment: bytes) -> bytes:
    """What EXT-X-MAP points to: ftyp and moov. Raises BrokenFile."""
    find(segment, b"moov")
    return b"".join(segment[box.start : box.stop] for box in boxes(segment) if box.kind in _HEADERS)


def media_section(segment: bytes, start: Fraction, sequence: int) -> bytes:
    """moof and mdat, moved so that what was decoded at 0 is decoded at `start` seconds.

    `sequence` numbers the first fragment. Raises BrokenFile, also when `start` is no whole number of ticks.
    """
    moved = start * timescale(segment)
    if moved.denominator != 1:
        raise BrokenFile(f"{start} s is between two ticks of the track's timescale")
    data, parts = bytearray(segment), []
    for box in boxes(segment):
        if box.kind == b"moof":
            _renumber(data, box, sequence)
            _move(data, box, int(moved))
            sequence += 1
        if box.kind in _FRAGMENTS:
            parts.append(bytes(data[box.start : box.stop]))
    if len(parts) < 2:
        raise BrokenFile("there is no fragment")
    return b"".join(parts)


def timescale(segment: bytes) -> int:
    """Ticks per second of the file's one track. Raises BrokenFile."""
    header = find(segment, b"moov", b"trak", b"mdia", b"mdhd")
    wide = number(segment, header.body, 1, header) == 1
    ticks = number(segment, header.body + (20 if wide else 12), 4, header)
    if ticks == 0:
        raise BrokenFile("the timescale is 0")
    return ticks


def _renumber(data: bytearray, moof: Box, sequence: int) -> None:
    header = find(data, b"mfhd", within=moof)
    number(data, header.body + 4, 4, header)
    data[header.body + 4 : header.body + 8] = sequence.to_bytes(4, "big")


def _move(data: bytearray, moof: Box, ticks: int) -> None:
    """Add to the fragment's base media decode time (tfdt: 32 bits in version 0, 64 in version 1)."""
    header = find(data, b"traf", b"tfdt", within=moof)
    size = 8 if number(data, header.body, 1, header) == 1 else 4
    moved = number(data, header.body + 4, size, header) + ticks
    if moved >= 1 << (8 * size):
        raise BrokenFile("the decode time does not fit its field")
    data[header.body + 4 : header.body + 4 + size] = moved.to_bytes(size, "big")


def duration(segment: bytes) -> Fraction:
    """Seconds that the samples of all fragments last together. Raises BrokenFile."""
    ticks = sum(_ticks(segment, box) for box in boxes(segment) if box.kind == b"moof")
    return Fraction(ticks, timescale(segment))


def _ticks(data: bytes, moof: Box) -> int:
    track = find(data, b"traf", within=moof)
    usual = _usual_duration(data, find(data, b"tfhd", within=track))
    return sum(_run_ticks(data, run, usual) for run in boxes(data, track) if run.kind == b"trun")


def _usual_duration(data: bytes, header: Box) -> int:
    """default_sample_duration of the fragment (tfhd), else of the file (trex)."""
    flags = number(data, header.body, 4, header) & 0xFFFFFF
    if flags & _TFHD_DURATION:
        before = 8 * bool(flags & 0x1) + 4 * bool(flags & 0x2)
        return number(data, header.body + 8 + before, 4, header)
    extends = find(data, b"moov", b"mvex", b"trex")
    return number(data, extends.body + 12, 4, extends)


def _run_ticks(data: bytes, run: Box, usual: int) -> int:
    """The samples' own durations where the run has them (the first field of each), else the usual one."""
    flags, count = number(data, run.body, 4, run) & 0xFFFFFF, number(data, run.body + 4, 4, run)
    if not flags & _TRUN_DURATION:
        return count * usual
    first = run.body + 8 + 4 * bool(flags & 0x1) + 4 * bool(flags & 0x4)
    step = 4 * sum(bool(flags & field) for field in _TRUN_FIELDS)
    return sum(number(data, first + place * step, 4, run) for place in range(count))
