"""Finds EXIF among the chunks of a PNG or WebP, also behind the image data, of which a scan has only a part.

PNG 3, sections 5.3 and 11.3.3.6 (eXIf may follow the image data); RFC 9649, section 2.7.1.5.
"""

import binascii
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice, takewhile
from typing import NamedTuple

from service.pipeline.images.header import EXIF_PREFIX, PNG_MAGIC, HeaderIncomplete, require_few_parts

# How much of the end of a PNG is read first: its last part of image data, 64 KiB as Pillow writes, and what follows.
TAIL_BYTES = 96 * 1024
_HEADER_BYTES, _CHECKSUM_BYTES, _MAX_PROFILE_BYTES = 8, 4, 1 << 20
# Compressed data has those four letters by chance, but hardly twice.
_MOST_OFFSETS = 8
# ImageMagick writes EXIF as hexadecimal text: "\nexif\n   1234\n4578...", before there was eXIf.
_PROFILE_KEYWORDS = (b"Raw profile type exif", b"Raw profile type APP1")


class Chunk(NamedTuple):
    """`start` and `stop` are the offsets of its body."""

    name: bytes
    start: int
    stop: int


def png_chunks(data: bytes, position: int = len(PNG_MAGIC)) -> Iterator[Chunk]:
    """Every chunk whose header is in `data`, from the one at `position` to IEND. Raises MediaUnreadable."""
    name, others = b"", 0
    while name != b"IEND" and position + _HEADER_BYTES <= len(data):
        name, start = data[position + 4 : position + 8], position + _HEADER_BYTES
        stop = start + int.from_bytes(data[position : position + 4], "big")
        others += name != b"IDAT"
        require_few_parts(others, "PNG")
        yield Chunk(name, start, stop)
        position = stop + _CHECKSUM_BYTES


def webp_chunks(data: bytes, position: int = 12) -> Iterator[Chunk]:
    """Every chunk whose header is in `data`, from the one at `position`. Raises MediaUnreadable."""
    count = 0
    while position + _HEADER_BYTES <= len(data):
        start = position + _HEADER_BYTES
        stop = start + int.from_bytes(data[position + 4 : start], "little")
        count += 1
        require_few_parts(count, "WebP")
        yield Chunk(data[position : position + 4], start, stop)
        position = stop + stop % 2


def png_exif(data: bytes) -> bytes:
    """EXIF wherever it lies in `data`, a whole PNG or its beginning; empty if there is none. Raises HeaderIncomplete.

    The many chunks of image data are not walked through if the end of the file shows what follows them.
    """
    early = _exif_of_chunks(data, takewhile(lambda chunk: chunk.name != b"IDAT", png_chunks(data)))
    if early:
        return early
    late = late_exif(data, data[-TAIL_BYTES:]) if len(data) > 2 * TAIL_BYTES else None
    return _exif_of_chunks(data, png_chunks(data)) if late is None else late


def _exif_of_chunks(data: bytes, chunks: Iterable[Chunk]) -> bytes:
    """The TIFF structure of eXIf, or of ImageMagick's profile; empty if there is none. Raises HeaderIncomplete."""
    profile = b""
    for chunk in chunks:
        if chunk.name == b"eXIf":
            return _whole_body(data, chunk).removeprefix(EXIF_PREFIX)
        if chunk.name in (b"tEXt", b"zTXt", b"iTXt") and data.startswith(_PROFILE_KEYWORDS, chunk.start):
            profile = profile or _decode_profile(chunk.name, _whole_body(data, chunk))
    return profile


def webp_exif(data: bytes, chunks: Iterable[Chunk], end: int) -> bytes:
    """The TIFF structure of the EXIF chunk; empty if there is none that ends before offset `end`, where the file ends.

    Raises HeaderIncomplete.
    """
    for chunk in chunks:
        if chunk.name == b"EXIF" and chunk.stop <= end:
            return _whole_body(data, chunk).removeprefix(EXIF_PREFIX)
    return b""


def webp_end(data: bytes) -> int:
    """Where the file ends by its own header."""
    return int.from_bytes(data[4:8], "little") + _HEADER_BYTES


def late_span(head: bytes, size: int) -> tuple[int, int] | None:
    """The part of an object of `size` bytes to read for `late_exif`; None if no chunk follows those in `head`."""
    if head.startswith(PNG_MAGIC):
        *_, last = png_chunks(head)
        following = last.stop + _CHECKSUM_BYTES
        if last.name == b"IEND" or following + _HEADER_BYTES + _CHECKSUM_BYTES >= size:
            return None
        return max(following, size - TAIL_BYTES), size
    if head.startswith(b"RIFF"):
        *_, last = webp_chunks(head)
        end = min(size, webp_end(head))
        following = last.stop + last.stop % 2
        return (following, end) if following + _HEADER_BYTES < end else None
    return None


def late_exif(head: bytes, tail: bytes) -> bytes | None:
    """EXIF in `tail`, the part that `late_span` names; empty if there is none, None if `tail` does not show it."""
    if head.startswith(b"RIFF"):
        return webp_exif(tail, webp_chunks(tail, 0), len(tail))
    for position in islice(_chunk_offsets(tail), _MOST_OFFSETS):
        chunks = tuple(png_chunks(tail, position))
        if chunks and chunks[-1].name == b"IEND":
            return _exif_of_chunks(tail, chunks)
    return None


def _chunk_offsets(tail: bytes) -> Iterator[int]:
    """Where a chunk of a PNG may begin: at the start, or at the last part of the image data."""
    yield 0
    found = tail.rfind(b"IDAT")
    while found >= 0:
        yield max(found - 4, 0)
        found = tail.rfind(b"IDAT", 0, found)


def _whole_body(data: bytes, chunk: Chunk) -> bytes:
    if chunk.stop > len(data):
        raise HeaderIncomplete("the EXIF is cut short")
    return data[chunk.start : chunk.stop]


def _decode_profile(name: bytes, body: bytes) -> bytes:
    """ImageMagick's text: a newline, the profile's name, its length, then its bytes in hexadecimal."""
    _, _, text = body.partition(b"\0")
    try:
        if name == b"iTXt":
            compressed, text = text[:1] == b"\1", text[2:].split(b"\0", 2)[2]
        else:
            compressed, text = name == b"zTXt", text[1:] if name == b"zTXt" else text
        if compressed:
            text = zlib.decompressobj().decompress(text, _MAX_PROFILE_BYTES)
        return binascii.unhexlify(b"".join(text.split()[2:])).removeprefix(EXIF_PREFIX)
    except (ValueError, IndexError, zlib.error):  # binascii.Error is a ValueError: damaged EXIF is ignored
        return b""
