"""What a scan finds, and where it writes to. Slots import it, so it needs no library of a database; the supervisor
imports it, so it needs no codec."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from service.plan.formats import SourceKind
from service.plan.names.media_names import Exclusions
from service.store.catalog.scanned import ScannedFrame

# Frames whose levels are measured: spread over the dataset, they show its range.
MAX_SAMPLED_FRAMES = 64


@dataclass(frozen=True, slots=True)
class ScanTarget:
    """The dataset to scan, and where its objects are. `known` and `after`: see ScanLease."""

    id: UUID
    kind: SourceKind
    bucket: str
    prefix: str
    known: bool = False
    after: str = ""

    def relative(self, key: str) -> str:
        """The key below the folder of the prefix; a hidden name that the prefix itself begins is not hidden."""
        folder = self.prefix.rfind("/") + 1
        return key[len(self.prefix) if self.prefix.startswith(".", folder) else folder :]


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What was found besides the rows: of `examined` objects, `excluded` were left out.

    `digest`, `objects` and `last_key` are of what was listed: see Listing. `levels` are those of frames. `facts` are
    values of the columns of a dataset of source videos, with its `problems`; `first_problem` is why the first
    unreadable one is.
    """

    examined: int
    excluded: Exclusions
    digest: str = ""
    objects: int = 0
    last_key: str = ""
    levels: dict[str, Any] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    first_problem: str | None = None


@dataclass(frozen=True, slots=True)
class ScanSummary:
    """How the scan ended. `ignored` objects were left out; `datasets.excluded` says which."""

    state: str
    frame_count: int = 0
    bytes: int = 0
    unreadable_frames: int = 0
    gap_frames: int = 0
    ignored: int = 0
    error: str | None = None


class ScanStore(Protocol):
    """Where a scan writes to, bound to one dataset. Its methods are called one after the other."""

    async def begin(self) -> ScanTarget | None:
        """Mark the dataset as being scanned; None if it was deleted."""
        ...

    async def advance(self, examined: int) -> None:
        """Show how many objects were examined."""
        ...

    async def reuse(self, objects: Sequence[tuple[str, str, int]]) -> Sequence[str]:
        """Keep the rows that are known of these objects (key, etag, size) for `finish_frames`; returns their keys."""
        ...

    async def stage(self, rows: Sequence[ScannedFrame]) -> None:
        """Keep rows of frames for `finish_frames`."""
        ...

    async def sample(self, count: int) -> list[dict[str, Any]]:
        """Up to `count` of the staged frames whose levels should be measured."""
        ...

    async def finish_frames(self, result: ScanResult) -> ScanSummary:
        """Replace the dataset's rows by the staged frames, in one transaction: readers see old or new."""
        ...

    async def finish_videos(self, rows: Sequence[dict[str, Any]], result: ScanResult) -> ScanSummary:
        """Replace the dataset's rows by these source videos, in one transaction."""
        ...
