"""What the markers of a JPEG say about its samples and its end; nothing is decoded."""

import re
from dataclasses import dataclass

from service.pipeline.frames import MediaUnreadable
from service.pipeline.image_header import jpeg_segment
from service.plan.formats import PixelFormat

_BASELINE, _EOI, _SOS, _APP14 = 0xC0, 0xD9, 0xDA, 0xEE
_FRAME_HEADERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PIXEL_FORMATS: dict[bytes, PixelFormat] = {
    b"\x22\x11\x11": "yuvj420p",
    b"\x21\x11\x11": "yuvj422p",
    b"\x11\x11\x11": "yuvj444p",
}
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""In compressed data FF is followed by 00 or a restart marker's number: any other marker ends the scan."""


@dataclass(frozen=True, slots=True)
class JpegLayout:
    """`form` is what it decodes to; `plain` says baseline, one scan, and of that very form without conversion.

    `scan` is the offset of the compressed data of the first scan.
    """

    pixel_format: PixelFormat
    plain: bool
    scan_offset: int


def jpeg_layout(data: bytes) -> JpegLayout:
    """Walk the markers up to the first scan. Raises NeedMore or Unreadable."""
    frame, baseline, untransformed, position = b"", False, False, 2
    while True:
        marker, start, position = jpeg_segment(data, position)
        if marker in _FRAME_HEADERS:
            frame, baseline = data[start:position], marker == _BASELINE and data[start] == 8
        elif marker == _APP14 and data.startswith(b"Adobe", start):
            untransformed = data[start + 11 : start + 12] == b"\0"
        elif marker == _SOS:
            return _to_layout(frame, (baseline, untransformed), data[start], position)
        elif marker == _EOI:
            raise MediaUnreadable("the JPEG has no picture in it")


def _to_layout(frame: bytes, facts: tuple[bool, bool], scanned: int, scan: int) -> JpegLayout:
    """`frame` is a frame header: depth, height, width, count, then (id, sampling, table) for each component."""
    (baseline, untransformed), ids, samplings = facts, frame[6::3], frame[7::3]
    whole = baseline and scanned == len(ids)
    if len(ids) == 1:
        return JpegLayout("gray", whole, scan)
    if untransformed or ids == b"RGB":
        return JpegLayout("bgr0", False, scan)
    form = _PIXEL_FORMATS.get(samplings)
    return JpegLayout(form or "yuvj444p", whole and form is not None, scan)


def end_of_image(data: bytes, scan_offset: int) -> int | None:
    """The offset after the end-of-image marker, None when more than one scan comes first. Raises Unreadable."""
    found = _SCAN_END.search(data, scan_offset)
    if found is None:
        raise MediaUnreadable("the JPEG is truncated: it has no end-of-image marker")
    return found.end() if data[found.end() - 1] == _EOI else None
