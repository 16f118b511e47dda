"""Reads a JPEG's markers: chroma subsampling, scan offset, end of image."""

import re
import struct
from dataclasses import dataclass

from service.pipeline.frames import MediaUnreadable
from service.pipeline.images.header import EXIF_PREFIX, HeaderIncomplete, ImageHeader
from service.plan.formats import PixelFormat

_BASELINE, _EOI, _SOS, _APP14 = 0xC0, 0xD9, 0xDA, 0xEE
_FRAME_HEADERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PIXEL_FORMATS: dict[bytes, PixelFormat] = {
    b"\x22\x11\x11": "yuvj420p",
    b"\x21\x11\x11": "yuvj422p",
    b"\x11\x11\x11": "yuvj444p",
}
# In compressed data FF is followed by 00 or a restart marker's number: any other marker ends the scan.
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


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


_NOT_FRAME_HEADERS = {0xC4, 0xC8, 0xCC}  # DHT, JPG, DAC: the three of C0..CF that are no SOF


_STANDALONE_MARKERS = {0x01, *range(0xD0, 0xD9)}


_SOS, _EOI, _APP1 = 0xDA, 0xD9, 0xE1
# Deflate, the strongest that cameras use, reaches 1032 on a blank picture.


def jpeg_header(data: bytes) -> ImageHeader:
    """Walk the marker segments up to the first scan. Raises NeedMore or Unreadable."""
    position, exif, shape = 2, b"", None
    while True:
        marker, start, position = jpeg_segment(data, position)
        if 0xC0 <= marker <= 0xCF and marker not in _NOT_FRAME_HEADERS:
            shape = struct.unpack_from(">BHHB", data, start)
        elif marker == _APP1 and not exif and data.startswith(EXIF_PREFIX, start):
            exif = data[start + len(EXIF_PREFIX) : position]
        elif marker == _SOS:
            return _to_image_header(shape, exif, start)
        elif marker == _EOI:
            raise MediaUnreadable("the JPEG has no picture in it")


def jpeg_segment(data: bytes, position: int) -> tuple[int, int, int]:
    """(marker, offset of its payload, offset of the next marker)."""
    while data[position : position + 2] == b"\xff\xff":
        position += 1
    if len(data) < position + 4:
        raise HeaderIncomplete("the JPEG header is cut short")
    if data[position] != 0xFF:
        raise MediaUnreadable("the JPEG header is damaged")
    marker = data[position + 1]
    if marker in _STANDALONE_MARKERS or marker == _EOI:
        return marker, position + 2, position + 2
    end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    if end > len(data) or end < position + 4:
        raise HeaderIncomplete("the JPEG header is cut short")
    return marker, position + 4, end


def _to_image_header(frame_header: tuple[int, ...] | None, exif: bytes, data_offset: int) -> ImageHeader:
    if frame_header is None or not frame_header[1] or not frame_header[2]:
        raise MediaUnreadable("the JPEG does not give its size")
    depth, height, width, channels = frame_header
    return ImageHeader("jpeg", width, height, depth, channels, exif, data_offset)
