"""Reads an image's type, size, depth and EXIF payload from its first bytes, and enforces size limits before
decoding.
"""

from dataclasses import dataclass
from typing import Literal

from service.pipeline.frames import MediaUnreadable

ImageFormat = Literal["jpeg", "png", "tiff", "webp"]

JPEG_MAGIC = b"\xff\xd8\xff"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
EXIF_PREFIX = b"Exif\0\0"
_RATIO_FREE_BYTES, _MAX_COMPRESSION_RATIO = 64 << 20, 2000


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


def require_pixel_limit(width: int, height: int, limit: int) -> None:
    """Refuse a pixel bomb before anything is decoded. Raises Unreadable."""
    if width * height > limit:
        raise MediaUnreadable(f"{width}x{height} is more than the limit of {limit} pixels")


def require_compression_ratio(decoded_bytes: int, stored_bytes: int) -> None:
    """Refuse a decompression bomb: a large picture out of next to nothing. Raises Unreadable."""
    if decoded_bytes > max(_RATIO_FREE_BYTES, _MAX_COMPRESSION_RATIO * stored_bytes):
        raise MediaUnreadable(f"{stored_bytes} bytes that claim to be {decoded_bytes >> 20} MiB of picture")
