"""What an S3 server's answer to a read must be, so that its bytes are believed: status, ETag, range, length, MD5."""

import asyncio
import hashlib
import re
import time
from dataclasses import dataclass

import aiohttp
import structlog

from service.store.objects.object_store import (
    ObjectChanged,
    ObjectDamaged,
    ObjectStoreError,
    ObjectTooLarge,
    ObjectVersion,
)

MD5_ETAG = re.compile(r"[0-9a-f]{32}")
CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
UNSATISFIED_RANGE = re.compile(r"bytes \*/(\d{1,19})")
# With these the ETag is no MD5 of what is sent. "AES256" (SSE-S3) is not among them.
KMS_HEADER, KMS = "x-amz-server-side-encryption", "aws:kms"
CUSTOMER_KEY_HEADER = "x-amz-server-side-encryption-customer-algorithm"
EMPTY_MD5 = hashlib.md5(b"", usedforsecurity=False).hexdigest()
# In a bucket in which no ETag has been the MD5 yet, the same bytes must differ for so many seconds until its ETags are
# taken for something else, so that a proxy that damages every answer for a moment is not believed.
DOUBT_S = 10.0

# A larger body is digested on another thread, so that the other reads go on: MD5 takes 1.4 ms a megabyte.
MAX_INLINE_BYTES = 4 * 1024 * 1024

log = structlog.get_logger("store")


class ConnectionInterrupted(ObjectStoreError):
    """There was no whole answer, or one that cannot be right; a retry may succeed."""


class DigestDoubted(ConnectionInterrupted):
    """The same bytes came again, and it is not known yet whether they or the ETags are at fault: read again."""


def strip_etag(header: str) -> str:
    """The etag in an `ETag` header. A proxy that compresses marks it as weak; what arrives is checked all the same."""
    return header.removeprefix("W/").strip('"')


def range_header(start: int, stop: int | None) -> str:
    """The value of a `Range` header; HTTP's ranges include their end, ours do not."""
    return f"bytes={start}-{'' if stop is None else stop - 1}"


@dataclass(slots=True)
class ExpectedAnswer:
    """The answer to one read: of which content, of which bytes [start, stop) (None: all), and at most how many.

    `other_etag` and `wrong_md5` are what an earlier attempt has found, the latter first at `wrong_since`, in seconds of
    `time.monotonic`. A proxy may mix answers up, so only the second answer is believed.
    """

    version: ObjectVersion
    span: tuple[int, int] | None
    limit: int
    other_etag: bool = False
    wrong_md5: str | None = None
    wrong_since: float = 0.0

    def request_headers(self) -> dict[str, str]:
        """A second attempt has no condition: some servers get it wrong, and the ETag of the answer says the same."""
        headers = {"Accept-Encoding": "identity"}
        if self.span:
            headers["Range"] = range_header(*self.span)
        if self.version.etag and not self.other_etag:
            headers["If-Match"] = f'"{self.version.etag}"'
        return headers

    def check_version(self, response: aiohttp.ClientResponse) -> str:
        """The etag of the answer. Raises ObjectChanged, ConnectionInterrupted."""
        found, wanted = strip_etag(response.headers.get("ETag", "")), self.version.etag
        if not wanted:
            return found
        if response.status != 412 and found == wanted:
            return found
        if response.status in (200, 206) and not found:
            raise ConnectionInterrupted("its answer has no ETag")
        if not self.other_etag:
            self.other_etag = True
            raise ConnectionInterrupted(f"it answered {response.status} about another ETag")
        if response.status == 416 and not found and not self._must_have_bytes():
            return wanted
        raise ObjectChanged(found or "unknown", wanted)

    def _must_have_bytes(self) -> bool:
        """Whether the version has bytes in the range, as far as one can tell."""
        if self.span is None:
            return False
        from_start = self.span[0] == 0 and self.version.etag not in ("", EMPTY_MD5)
        return from_start or self.version.size > self.span[0]

    def is_whole(self, size: int | None) -> bool:
        """Whether these are all bytes of an object of this size."""
        return self.span is None or (self.span[0] == 0 and size is not None and size <= self.span[1])

    def object_size(self, response: aiohttp.ClientResponse) -> int | None:
        """Of the whole object in bytes; None if neither the answer nor the version says it.

        Raises ConnectionInterrupted if they contradict each other, or the answer is to another question.
        """
        if self.span is None:
            if response.status != 200:
                raise ConnectionInterrupted(f"it answered {response.status} to a read of the whole object")
            found = response.content_length
        elif response.status == 416:
            match = UNSATISFIED_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            found = int(match[1]) if match else None
        elif response.status == 206:
            found = self._ranged_size(response.headers.get("Content-Range", ""))
        else:
            found = response.content_length
            if self.span[0] or found is None or found > self.span[1]:
                raise ObjectStoreError("MINIO_ENDPOINT does not serve ranges")
        known = self.version.size if self.version.etag else 0
        if known and found not in (None, known):
            raise ConnectionInterrupted(f"it says that the object has {found} bytes instead of {known}")
        size = known or found
        if response.status == 416 and self.span and size is not None and size > self.span[0]:
            raise ConnectionInterrupted("it answered 416 to a range that the object has")
        return size

    def _ranged_size(self, content_range: str) -> int | None:
        """The size in `bytes 0-9/100`, of which `bytes 0-9` must be those that were asked for."""
        assert self.span is not None
        match = CONTENT_RANGE.fullmatch(content_range)
        if match is None:
            raise ConnectionInterrupted("its answer does not say which bytes it has")
        first, last = int(match[1]), int(match[2])
        size = None if match[3] == "*" else int(match[3])
        stop = min(self.span[1], last + 1 if size is None else size)
        if (first, last + 1) != (self.span[0], stop):
            raise ConnectionInterrupted("it answered with another range")
        return size

    def body_length(self, response: aiohttp.ClientResponse, size: int | None) -> int | None:
        """Bytes that the body must have; None if nothing says it. Raises ObjectTooLarge, ConnectionInterrupted."""
        length = size
        if self.span is not None and size is not None:
            length = min(self.span[1], size) - self.span[0]
        if length is not None and length > self.limit:
            raise ObjectTooLarge(length, self.limit)
        if length is not None and response.content_length not in (None, length):
            raise ConnectionInterrupted(f"it sends {response.content_length} bytes instead of {length}")
        return length


class BodyDigests:
    """Compares whole objects with the ETags that are their MD5, as they are for objects that were stored in one part.

    It costs 0.3 ms of CPU for a frame of 210 KB, 0.9 % of rendering it as h264 at 1080p.
    """

    def __init__(self) -> None:
        # Buckets in which an ETag was the MD5, and in which none was but one was something else for DOUBT_S.
        self._md5_buckets, self._other_buckets = set[str](), set[str]()

    def can_check(self, expected: ExpectedAnswer, response: aiohttp.ClientResponse, size: int | None) -> bool:
        """Whether the ETag is the MD5 of what is read of an object of this size, as far as one can tell."""
        version, headers = expected.version, response.headers
        encrypted = CUSTOMER_KEY_HEADER in headers or headers.get(KMS_HEADER, "").startswith(KMS)
        if encrypted or not expected.is_whole(size):
            return False
        return MD5_ETAG.fullmatch(version.etag) is not None

    async def check(self, expected: ExpectedAnswer, body: bytes) -> None:
        """Raises ConnectionInterrupted if the body was damaged on its way.

        If the same bytes come twice where ETags are MD5, the object itself is damaged: ObjectDamaged. Where none has
        been, DigestDoubted, until they have come for DOUBT_S: the ETags of this bucket are no MD5, and bytes that
        differ are believed from then on, until one ETag is the MD5 of its object.
        """
        ref = expected.version.ref
        found = _md5(body) if len(body) <= MAX_INLINE_BYTES else await asyncio.to_thread(_md5, body)
        if found == expected.version.etag:
            self._note_md5(ref.bucket)
        elif ref.bucket not in self._other_buckets:
            self._doubt(expected, found)

    def _note_md5(self, bucket: str) -> None:
        self._md5_buckets.add(bucket)
        if bucket in self._other_buckets:
            self._other_buckets.remove(bucket)
            log.error("the ETags of a bucket are MD5: bytes that differed were damaged and believed", bucket=bucket)

    def _doubt(self, expected: ExpectedAnswer, found: str) -> None:
        ref, now = expected.version.ref, time.monotonic()
        if found != expected.wrong_md5:
            expected.wrong_md5, expected.wrong_since = found, now
            log.warning("bytes differ from their ETag: they are read again", key=ref.key)
            raise ConnectionInterrupted("the bytes differ from their ETag")
        if ref.bucket in self._md5_buckets:
            raise ObjectDamaged("its bytes are not those of its ETag")
        if now - expected.wrong_since < DOUBT_S:
            raise DigestDoubted("the bytes differ from their ETag")
        self._other_buckets.add(ref.bucket)
        log.warning("the ETags of a bucket are no MD5: bytes that differ from them are believed", bucket=ref.bucket)


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
