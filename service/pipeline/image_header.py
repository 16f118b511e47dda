"""What an image says about itself in its first bytes: type by content, size, depth, EXIF. Nothing is decoded."""

import struct
from dataclasses import dataclass
from typing import Literal

from service.pipeline.frames import MediaUnreadable

ImageFormat = Literal["jpeg", "png", "tiff", "webp"]

JPEG_MAGIC = b"\xff\xd8\xff"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
EXIF_PREFIX = b"Exif\0\0"
_NOT_FRAME_HEADERS = {0xC4, 0xC8, 0xCC}  # DHT, JPG, DAC: the three of C0..CF that are no SOF
_STANDALONE_MARKERS = {0x01, *range(0xD0, 0xD9)}
_SOS, _EOI, _APP1 = 0xDA, 0xD9, 0xE1
_RATIO_FREE_BYTES, _MAX_COMPRESSION_RATIO = 64 << 20, 2000
"""Deflate, the strongest that cameras use, reaches 1032 on a blank picture."""


class HeaderIncomplete(MediaUnreadable):
    """The header goes on past the bytes given: pass more of the file, or treat it as cut short."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """`width` x `height` pixels as stored (before orientation); `exif` is the TIFF-shaped payload, empty if none.

    `channels` are 1 for gray, 2 with alpha, 3 or 4 for colour. `body` is the offset of the picture data (JPEG: just
    after the first SOS marker). `plain` says that nothing but the samples matters: no alpha, palette or animation.
    """

    format: ImageFormat
    width: int
    height: int
    bit_depth: int
    channels: int
    exif: bytes = b""
    data_offset: int = 0
    plain: bool = True


def detect_format(head: bytes) -> ImageFormat:
    """The type by magic number, never by name. Raises Unreadable."""
    if not head:
        raise MediaUnreadable("the file is empty")
    if head.startswith(JPEG_MAGIC):
        return "jpeg"
    if head.startswith(PNG_MAGIC):
        return "png"
    if head.startswith(TIFF_MAGICS):
        return "tiff"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    raise MediaUnreadable("not a JPEG, PNG, TIFF or WebP image")


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


def png_header(data: bytes) -> ImageHeader:
    """Read IHDR, and eXIf when it precedes the picture. Raises NeedMore or Unreadable."""
    if len(data) < 33:
        raise HeaderIncomplete("the PNG header is cut short")
    if data[12:16] != b"IHDR":
        raise MediaUnreadable("the PNG does not begin with its header")
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    if not width or not height:
        raise MediaUnreadable("the PNG does not give its size")
    channels = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(colour, 0)
    chunks = _png_chunks(data)
    exif = next((data[start:stop] for kind, start, stop in chunks if kind == b"eXIf"), b"")
    plain = colour in (0, 2) and depth == 8 and all(kind != b"tRNS" for kind, _, _ in chunks)
    return ImageHeader("png", width, height, 8 if colour == 3 else depth, channels, exif, plain=plain)


def _png_chunks(data: bytes) -> list[tuple[bytes, int, int]]:
    """(name, start and stop of its body) of what precedes the picture data."""
    chunks, position = [], 8
    while position + 8 <= len(data) and data[position + 4 : position + 8] != b"IDAT":
        length = int.from_bytes(data[position : position + 4], "big")
        chunks.append((data[position + 4 : position + 8], position + 8, position + 8 + length))
        position += 12 + length
    return chunks


def require_pixel_limit(width: int, height: int, limit: int) -> None:
    """Refuse a pixel bomb before anything is decoded. Raises Unreadable."""
    if width * height > limit:
        raise MediaUnreadable(f"{width}x{height} is more than the limit of {limit} pixels")


def require_compression_ratio(decoded_bytes: int, stored_bytes: int) -> None:
    """Refuse a decompression bomb: a large picture out of next to nothing. Raises Unreadable."""
    if decoded_bytes > max(_RATIO_FREE_BYTES, _MAX_COMPRESSION_RATIO * stored_bytes):
        raise MediaUnreadable(f"{stored_bytes} bytes that claim to be {decoded_bytes >> 20} MiB of picture")
