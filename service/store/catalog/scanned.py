"""What a scan finds, without a library of a database: slots import it."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from service.plan.names.time_names import named_time

# Reasons why frames cannot be read that are kept with a dataset.
MAX_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class ScannedFrame:
    """A row of the staging table; the fields are in the order of its columns."""

    sort_key: str
    key: str
    number: int | None
    size: int
    etag: str
    format: str | None = None
    width: int | None = None
    height: int | None = None
    captured_at: datetime | None = None
    problem: str | None = None
    page: int | None = None
    page_offset: int = 0
    bits: int | None = None
    gray: bool | None = None
    form: str | None = None
    # The time in the name, if it has one, and whether the number is part of it: see `time_names`.
    named_at: datetime | None = None
    named_kind: str | None = None
    named_number: bool = False

    def to_record(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in COLUMNS)


COLUMNS = tuple(ScannedFrame.__dataclass_fields__)


def digest_line(key: str, etag: str, size: int) -> bytes:
    return f"{key}\0{etag}\0{size}\n".encode()


def time_columns(key: str) -> dict[str, Any]:
    """The time in a frame's name, as columns of the staging table."""
    found = named_time(key)
    return {"named_at": found.moment, "named_kind": found.kind, "named_number": found.is_number} if found else {}


class Listing(NamedTuple):
    """What a listing showed: `digest` is of all keys, ETags and sizes, in any order."""

    digest: str
    objects: int
    last_key: str


class ListingDigest:
    """Adds up a listing. The sum of two parts is that of the whole, so that what was not listed again can be added."""

    def __init__(self, before: Listing | None = None) -> None:
        known = before or Listing("0", 0, "")
        self._sum, self._objects, self._last_key = int(known.digest, 16), known.objects, known.last_key

    def add(self, objects: Iterable[tuple[str, str, int]]) -> None:
        """Add (key, etag, size) of objects in the order of the listing."""
        for key, etag, size in objects:
            self._sum += int.from_bytes(hashlib.sha256(digest_line(key, etag, size)).digest()[:16])
            self._objects += 1
            self._last_key = max(self._last_key, key)

    def listing(self) -> Listing:
        return Listing(f"{self._sum % 2**128:032x}", self._objects, self._last_key)
