"""Objects of the store as response bodies: streams, byte ranges, headers and their OpenAPI content."""

import mimetypes
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from service.errors import RangeNotSatisfiable
from service.plan.render_plan import ObjectRef
from service.store.objects.object_store import ObjectStore

UNKNOWN_MEDIA_TYPE = "application/octet-stream"
RANGE_PATTERN = re.compile(r"bytes=([0-9]*)-([0-9]*)")
# More digits than the size of any file has.
MAX_DIGITS = 19
# For artifacts and segments, whose URLs always return the same bytes.
IMMUTABLE_HEADERS = {"Cache-Control": "private, max-age=3600"}


def binary_content(media_type: str, what: str) -> dict[str, Any]:
    """The OpenAPI `content` of a binary body: `what` is, for example, "a JPEG file"."""
    return {media_type: {"schema": {"type": "string", "format": "binary"}, "example": f"(bytes of {what})"}}


def guess_media_type(name: str) -> str:
    """The media type that the extension of a file name stands for."""
    return mimetypes.guess_type(name)[0] or UNKNOWN_MEDIA_TYPE


async def open_stream(
    objects: ObjectStore, ref: ObjectRef, start: int = 0, stop: int | None = None
) -> AsyncIterator[bytes]:
    """Stream bytes [start, stop) of an object. The first chunk is read before the response starts, so that an
    unavailable store is a 503 and not a truncated response. Raises ObjectStoreError."""
    chunks = objects.stream(ref, start, stop)
    first = await anext(chunks, b"")

    async def prepend() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return prepend()


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes [start, stop) of a file of `size` bytes. `partial` if a Range header selected them."""

    start: int
    stop: int
    size: int
    partial: bool


def parse_range(header: str | None, size: int) -> ByteRange:
    """Parse a Range header (RFC 9110, 14.2). Anything but a single range is ignored. Raises RangeNotSatisfiable."""
    match = RANGE_PATTERN.fullmatch(header.strip()) if header else None
    if match is None or match.group(1) == match.group(2) == "":
        return ByteRange(0, size, size, partial=False)
    first, last = match.groups()
    start = _to_position(first) if first else max(size - _to_position(last), 0)
    stop = min(_to_position(last) + 1, size) if first and last else size
    if start >= size or start >= stop:
        headers = {"Content-Range": f"bytes */{size}"}
        raise RangeNotSatisfiable(f"the file has {size} bytes", headers=headers)
    return ByteRange(start, stop, size, partial=True)


def _to_position(digits: str) -> int:
    """The number; of one with more digits than a file can be long, a position behind the end of every file."""
    significant = digits.lstrip("0")
    return int(significant or "0") if len(significant) <= MAX_DIGITS else 10**MAX_DIGITS
