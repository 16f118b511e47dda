"""The object-store interface: what every driver offers, and the errors it raises."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from service.plan.render_plan import ObjectRef


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a listing or HEAD tells of one object; `size` in bytes, `etag` without quotes."""

    key: str
    size: int
    etag: str
    modified: datetime
    content_type: str = "application/octet-stream"


class ObjectStoreError(Exception):
    """The store did not do it (after the driver's own retries); the text names no secret."""


class ObjectNotFound(ObjectStoreError):
    """There is no object under that key (or no such bucket)."""


class ObjectTooLarge(ObjectStoreError):
    """The object has more bytes than the reader allows; none of them was kept."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the object has {size} bytes, more than the limit of {limit}")


@dataclass(frozen=True, slots=True)
class ReadResult:
    """Bytes of an object, and what the store said of the whole it read them from."""

    data: bytes
    size: int
    etag: str


class ObjectStore(Protocol):
    """An S3-shaped store. `bucket` is the service's own bucket; refs may name allowed source buckets too."""

    bucket: str

    async def check(self) -> None:
        """Prove that the own bucket can be used, made when missing; raises ObjectStoreError with a short reason."""

    async def put(self, ref: ObjectRef, data: bytes, content_type: str) -> ObjectInfo:
        """Store a small object whole: visible all at once or not at all."""
        ...

    async def put_file(self, ref: ObjectRef, path: Path, content_type: str) -> ObjectInfo:
        """Store a file of any size (multipart where the store has it): visible all at once or not at all."""
        ...

    async def get(self, ref: ObjectRef, start: int = 0, stop: int | None = None) -> bytes:
        """Bytes [start, stop) of the object; a `stop` beyond its end is cut to it."""
        ...

    def stream(self, ref: ObjectRef, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The same in chunks of at most 1 MiB."""
        ...

    async def head(self, ref: ObjectRef) -> ObjectInfo: ...

    def list(self, bucket: str, prefix: str) -> AsyncIterator[list[ObjectInfo]]:
        """Pages (of up to 1,000) of the objects under a prefix, in ascending order of their UTF-8 keys."""
        ...

    async def delete(self, ref: ObjectRef) -> None:
        """Remove the object; one that is already gone is no error."""

    async def presign_get(self, ref: ObjectRef, seconds: int) -> str | None:
        """A URL that reads the object without our help, or None where the driver has none."""
        ...

    async def presign_put(self, ref: ObjectRef, seconds: int, size: int, content_type: str) -> str | None:
        """A URL that takes a PUT of exactly `size` bytes of this type, or None where the driver has none."""
        ...

    async def close(self) -> None: ...
