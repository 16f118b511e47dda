"""Objects of the store as response bodies: streams, byte ranges, headers and their OpenAPI content."""

import asyncio
import mimetypes
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from service.errors import RangeNotSatisfiable
from service.plan.render_plan import ObjectRef
from service.routers.http.exception_mapping import is_database_unavailable
from service.store.objects.object_store import ObjectStore

UNKNOWN_MEDIA_TYPE = "application/octet-stream"
RANGE_PATTERN = re.compile(r"bytes=([0-9]*)-([0-9]*)")
# More digits than the size of any file has.
MAX_DIGITS = 19
# How long a signed address of a video works: redirects are followed at once, and the clocks of the machines may differ
# by some minutes. The store does not ask whether a share has ended; nor does it cut a download that has begun.
PRESIGN_EXPIRY_S = 300
# A stream under way asks this often whether the caller may still see what is sent.
RIGHT_CHECK_INTERVAL_S = 5.0
# A database that does not answer holds the stream up no longer than this.
RIGHT_CHECK_TIMEOUT_S = 2.0
Chunk = TypeVar("Chunk", bytes, str)


def binary_content(media_type: str, what: str) -> dict[str, Any]:
    """The OpenAPI `content` of a binary body: `what` is, for example, "a JPEG file"."""
    return {media_type: {"schema": {"type": "string", "format": "binary"}, "example": f"(bytes of {what})"}}


def guess_media_type(name: str) -> str:
    """The media type that the extension of a file name stands for."""
    return mimetypes.guess_type(name)[0] or UNKNOWN_MEDIA_TYPE


async def open_stream(
    objects: ObjectStore, ref: ObjectRef, start: int = 0, stop: int | None = None, etag: str = ""
) -> AsyncIterator[bytes]:
    """Stream bytes [start, stop) of an object (see `read_ahead`). Raises ObjectStoreError, also if the object has
    another etag than the one given."""
    return await read_ahead(objects.stream(ref, start, stop, etag))


async def read_ahead(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same chunks. The first is read before the response starts, so that an unavailable store is a 503 and not a
    truncated response. Raises ObjectStoreError."""
    first = await anext(chunks, b"")

    async def prepend() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return prepend()


async def stream_while_visible(
    chunks: AsyncIterator[Chunk], check: Callable[[], Awaitable[object]]
) -> AsyncIterator[Chunk]:
    """Pass the chunks on. `check` raises NotFound when the caller may not see them any more, or when they are deleted:
    that cuts the response. While the database does not answer no share can end, and the stream goes on."""
    clock = asyncio.get_running_loop().time
    checked = clock()
    async for chunk in chunks:
        if clock() - checked >= RIGHT_CHECK_INTERVAL_S:
            try:
                async with asyncio.timeout(RIGHT_CHECK_TIMEOUT_S):
                    await check()
            except Exception as error:
                if not (isinstance(error, TimeoutError) or is_database_unavailable(error)):
                    raise
            checked = clock()
        yield chunk


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
