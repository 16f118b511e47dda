"""Reads a JPEG's markers (ITU-T T.81): header, chroma subsampling, scan offset, end of image."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from service.pipeline.frames import MediaUnreadable
from service.pipeline.images.header import EXIF_PREFIX, HeaderIncomplete, ImageHeader, require_few_parts
from service.pipeline.images.stored_colour import MAX_PROFILE_BYTES, TOO_LARGE, UNSTATED, StoredColour, profile_colour
from service.plan.formats import PixelFormat

_BASELINE, _PROGRESSIVE, _EOI, _SOS, _APP0, _APP1, _APP2, _APP14 = (
    0xC0,
    (0xC2, 0xCA),
    0xD9,
    0xDA,
    0xE0,
    0xE1,
    0xE2,
    0xEE,
)
_DQT = 0xDB
# ICC.1:2022, annex B.4: then the number of this part, from 1, and how many there are.
_ICC_PREFIX = b"ICC_PROFILE\0"
# C0 to CF are frame headers (SOF) but for DHT, JPG and DAC.
_FRAME_HEADERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_FRAME_HEADER_BYTES = 6
# Their samples are not quantized: they need no tables for it.
_LOSSLESS_FRAMES = {0xC3, 0xC7, 0xCB, 0xCF}
_STANDALONE_MARKERS = {0x01, *range(0xD0, 0xD9)}
# Sampling factors of Y, Cb and Cr.
_PIXEL_FORMATS: dict[bytes, PixelFormat] = {
    b"\x22\x11\x11": "yuvj420p",
    b"\x21\x11\x11": "yuvj422p",
    b"\x11\x11\x11": "yuvj444p",
}
# In compressed data FF is followed by 00 or by the number of a restart marker: any other marker ends the scan.
_FILL_BYTES = re.compile(rb"\xff+")
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


@dataclass(frozen=True, slots=True)
class JpegLayout:
    """`pixel_format` is the format that the JPEG decodes to; a `plain` JPEG is baseline, has one scan and decodes to
    that format without conversion. `scan_offset` is where the compressed data of the first scan begins. An `ambiguous`
    one says in two places that it is YCbCr and that it is RGB: libjpeg believes the first. A `progressive` one is
    held as coefficients until its last scan."""

    pixel_format: PixelFormat
    plain: bool
    scan_offset: int
    ambiguous: bool = False
    progressive: bool = False


def jpeg_header(data: bytes) -> ImageHeader:
    """Raises HeaderIncomplete, MediaUnreadable."""
    exif, frame_header, icc_parts, is_quantized = b"", None, [], False
    *segments, (_, scan_header, _) = _segments(data)
    for marker, start, end in segments:
        if marker in _FRAME_HEADERS:
            if end - start < _FRAME_HEADER_BYTES:
                raise MediaUnreadable("the JPEG header is damaged")
            frame_header = struct.unpack_from(">BHHB", data, start)
            is_quantized |= marker in _LOSSLESS_FRAMES
        elif marker == _DQT:
            is_quantized = True
        elif marker == _APP1 and not exif and data.startswith(EXIF_PREFIX, start):
            exif = data[start + len(EXIF_PREFIX) : end]
        elif marker == _APP2 and data.startswith(_ICC_PREFIX, start):
            icc_parts.append(data[start + len(_ICC_PREFIX) : end])
    if frame_header is None or not frame_header[1] or not frame_header[2]:
        raise MediaUnreadable("the JPEG does not give its size")
    if not is_quantized:  # FFmpeg would use those of the JPEG before
        raise MediaUnreadable("the JPEG is damaged: it has no quantization tables")
    depth, height, width, channels = frame_header
    colour = _joined_profile(icc_parts) if icc_parts else UNSTATED
    return ImageHeader("jpeg", width, height, depth, channels, exif, scan_header, colour=colour)


def _joined_profile(parts: list[bytes]) -> StoredColour:
    """The ICC profile of its parts, which may be in any order."""
    numbered = {part[0]: part[2:] for part in parts if len(part) >= 2}
    count = max(part[1] for part in parts if len(part) >= 2) if numbered else 0
    if len(numbered) != len(parts) or sorted(numbered) != [*range(1, count + 1)]:
        return StoredColour(problem="the colour profile is incomplete (parts of it are missing) and was ignored")
    if sum(map(len, parts)) > MAX_PROFILE_BYTES:
        return TOO_LARGE
    return profile_colour(b"".join(numbered[number] for number in range(1, count + 1)))


def jpeg_layout(data: bytes) -> JpegLayout:
    """Raises HeaderIncomplete, MediaUnreadable."""
    frame_header, baseline, progressive, transform, jfif = b"", False, False, b"", False
    *segments, (_, scan_header, scan_offset) = _segments(data)
    for marker, start, end in segments:
        if marker in _FRAME_HEADERS:
            frame_header, baseline = data[start:end], marker == _BASELINE and data[start] == 8
            progressive = marker in _PROGRESSIVE
        elif marker == _APP14 and data.startswith(b"Adobe", start):
            transform = data[start + 11 : start + 12]
        elif marker == _APP0 and data.startswith(b"JFIF\0", start):
            jfif = True
    if scan_header == scan_offset:
        raise MediaUnreadable("the JPEG header is damaged")
    # A frame header is depth, height, width, count, then (id, sampling, table) of each component.
    ids, samplings = frame_header[6::3], frame_header[7::3]
    one_scan = baseline and data[scan_header] == len(ids)
    if len(ids) == 1:
        return JpegLayout("gray", one_scan, scan_offset, progressive=progressive)
    ambiguous = False
    if transform == b"\0" or ids == b"RGB":
        ambiguous = jfif or transform not in (b"", b"\0")
        if not ambiguous:
            return JpegLayout("bgr0", False, scan_offset, progressive=progressive)
    pixel_format = _PIXEL_FORMATS.get(samplings)
    plain = one_scan and pixel_format is not None and not ambiguous
    return JpegLayout(pixel_format or "yuvj444p", plain, scan_offset, ambiguous, progressive)


def as_ycbcr(data: bytes) -> bytes:
    """An ambiguous JPEG with nothing left that says RGB: FFmpeg would believe it."""
    patched = bytearray(data)
    for marker, start, _ in _segments(data):
        if marker == _APP14 and data.startswith(b"Adobe", start):
            patched[start + 11] = 1
        elif marker in _FRAME_HEADERS and data[start + 6 : start + 6 + 9 : 3] == b"RGB":
            patched[start + 6 : start + 6 + 9 : 3] = b"\1\2\3"
        elif marker == _SOS and data[start + 1 : start + 1 + 6 : 2] == b"RGB":
            patched[start + 1 : start + 1 + 6 : 2] = b"\1\2\3"
    return bytes(patched)


def end_of_image(data: bytes, scan_offset: int) -> int | None:
    """The offset after the end-of-image marker; None if another scan comes before it. Raises MediaUnreadable."""
    found = _SCAN_END.search(data, scan_offset)
    if found is None:
        raise MediaUnreadable("the JPEG is truncated: it has no end-of-image marker")
    return found.end() if data[found.end() - 1] == _EOI else None


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, offset of its payload, offset after it) of each segment; the last one is the first scan's header.

    Raises HeaderIncomplete, MediaUnreadable.
    """
    marker, end, count = 0, 2, 0
    while marker != _SOS:
        count += 1
        require_few_parts(count, "JPEG")
        fill = _FILL_BYTES.match(data, end)
        position = fill.end() - 1 if fill else end
        if len(data) < position + 4:
            raise HeaderIncomplete("the JPEG header is cut short")
        if data[position] != 0xFF:
            raise MediaUnreadable("the JPEG header is damaged")
        marker = data[position + 1]
        if marker == _EOI:
            raise MediaUnreadable("the JPEG has no picture in it")
        if marker in _STANDALONE_MARKERS:
            end = position + 2
            continue
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if end > len(data) or end < position + 4:
            raise HeaderIncomplete("the JPEG header is cut short")
        yield marker, position + 4, end
