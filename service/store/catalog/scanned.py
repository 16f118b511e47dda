"""What a scan finds, without a library of a database: slots import it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

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
