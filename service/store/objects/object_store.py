"""The object-store interface: what every driver offers, and the errors it raises."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from service.errors import Interruption
from service.plan.render_plan import ObjectRef
from service.store.objects.file_part import FilePart


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object, as a listing or HEAD describes it; `size` in bytes, `etag` without quotes."""

    key: str
    size: int
    etag: str
    modified: datetime
    content_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class SkippedEntry:
    """An entry of a folder that is no object; `key` can be printed."""

    key: str
    kind: Literal["link", "special file", "name not in UTF-8"]


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """Parts of an object that was never completed: they take space, and no listing of objects shows them."""

    key: str
    id: str
    started: datetime


class ObjectStoreError(Interruption):
    """The store failed, after the driver's own retries; the text contains no secret."""


class ObjectStoreFull(ObjectStoreError):
    """There is no space left for the object, on the disk or in the bucket's quota."""


class ClockSkewed(ObjectStoreError):
    """The store refuses requests because the clock of this machine is wrong."""


class ObjectNotFound(ObjectStoreError):
    """There is no object with this key, or no such bucket."""


class ObjectChanged(ObjectStoreError):
    """The object is another one than the caller asked for, by its etag."""

    def __init__(self, found: str, wanted: str) -> None:
        super().__init__(f"its etag is {found} and not {wanted}")


class ObjectDamaged(ObjectStoreError):
    """The store sends the same wrong bytes again and again: they are not those of the etag."""


class ObjectTooLarge(ObjectStoreError):
    """The object has more bytes than the reader allows."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"the object has {size} bytes, more than the limit of {limit}")


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One content of an object: `etag` and `size` as they were noted. An empty etag is any, size 0 is unknown."""

    ref: ObjectRef
    etag: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class ReadResult:
    """Bytes read from an object, with the object's full size and etag."""

    data: bytes
    size: int
    etag: str


class ObjectAccess(Protocol):
    """Reads and writes objects in buckets. `bucket` is the service's own; refs may also name source buckets."""

    bucket: str

    async def put(self, ref: ObjectRef, data: bytes, content_type: str) -> ObjectInfo:
        """Store a small object; readers see all of it or nothing."""
        ...

    async def put_file(self, ref: ObjectRef, path: Path, content_type: str) -> ObjectInfo:
        """Store a file of any size; readers see all of it or nothing."""
        ...

    async def get(self, ref: ObjectRef, start: int = 0, stop: int | None = None, etag: str = "") -> bytes:
        """Bytes [start, stop) of the object, or fewer if it ends before `stop`.

        Raises ObjectChanged if the object has another etag than the one given, ObjectDamaged if its bytes are not those
        of the etag.
        """
        ...

    async def head(self, ref: ObjectRef) -> ObjectInfo: ...

    def list(self, bucket: str, prefix: str, after: str = "") -> AsyncIterator[list[ObjectInfo]]:
        """Objects under a prefix and behind `after`, in pages of up to 1,000, ordered by their keys as UTF-8."""
        ...

    def list_skipped(self, bucket: str, prefix: str) -> AsyncIterator[Sequence[SkippedEntry]]:
        """What lies under a prefix and is no object, in pages. Only a folder has such entries."""
        ...


class ObjectStore(ObjectAccess, Protocol):
    """A store of objects: what a driver offers."""

    async def check(self) -> None:
        """Check that the own bucket can be used, and create it if it is missing. Raises ObjectStoreError."""

    async def free_bytes(self) -> int | None:
        """How much more can be stored; None if the store does not tell."""
        ...

    def stream(self, ref: ObjectRef, start: int = 0, stop: int | None = None, etag: str = "") -> AsyncIterator[bytes]:
        """The same bytes as `get`, in chunks of at most 1 MiB. A change may be noticed after the first chunks."""
        ...

    async def restore(self, source: FilePart, info: ObjectInfo) -> ObjectInfo:
        """Store an object of the own bucket as `info` describes it: with the same etag, if this kind of store can."""
        ...

    def list_unfinished(self, before: datetime) -> AsyncIterator[Sequence[UnfinishedUpload]]:
        """Uploads of the service into its own bucket that began before this time and have not ended, in pages."""
        ...

    async def abort(self, upload: UnfinishedUpload) -> None:
        """Delete what has arrived of the upload; nothing happens if it has ended meanwhile."""

    async def delete(self, ref: ObjectRef) -> None:
        """Delete the object if it exists."""

    async def presign_get(self, ref: ObjectRef, seconds: int) -> str | None:
        """A URL to read the object without the service; None if the driver has no such URLs."""
        ...

    async def presign_put(self, ref: ObjectRef, seconds: int, size: int, content_type: str) -> str | None:
        """A URL for a PUT of exactly `size` bytes of this type; None if the driver has no such URLs."""
        ...

    async def close(self) -> None: ...
