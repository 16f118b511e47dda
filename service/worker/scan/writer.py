"""What a scan writes. The supervisor does it: the slot that reads the files has no database and sends what it found."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import chain
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from service.jobs import leases
from service.jobs.leases import ScanLease
from service.plan.names.media_names import Exclusions
from service.store.catalog import scan as frame_scan
from service.store.catalog.scanned import ScannedFrame
from service.store.database import Database
from service.store.tables import sources
from service.worker.scan.store import MAX_SAMPLED_FRAMES, ScanResult, ScanSummary, ScanTarget

log = structlog.get_logger("worker")
# The columns of a dataset that a scan of source videos finds out. A slot has no business with any other.
VIDEO_FACTS = frozenset(
    ("frame_count", "bytes", "width", "height", "sizes", "forms", "field_orders", "formats", "captured_from",
     "captured_to", "gaps", "gap_frames", "unreadable_frames", "number_first", "number_stride", "digest", "problems")
)  # fmt: skip
SOURCE_COLUMNS = frozenset(sources.columns.keys()) - {"dataset_id"}


class ScanWriter:
    """Writes the scan of one dataset to the database, fenced by the lease of its task.

    Raises ValueError for rows that do not belong to the dataset, LeaseLost when another worker has taken the task over.
    """

    def __init__(self, database: Database, dataset: UUID, lease: ScanLease | None, opened: AsyncExitStack) -> None:
        self._database, self._dataset, self._lease, self._opened = database, dataset, lease, opened
        self._target: ScanTarget | None = None
        self._staging: AsyncConnection | None = None

    async def begin(self) -> ScanTarget | None:
        async with self._database.service_transaction() as connection:
            await self._lock(connection)
            row = await frame_scan.begin_scan(connection, self._dataset)
        self._target = None if row is None else ScanTarget(row.id, row.kind, row.bucket, row.prefix)
        return self._target

    async def advance(self, examined: int) -> None:
        async with self._database.service_transaction() as connection:
            await self._lock(connection)
            await frame_scan.update_dataset(connection, self._dataset, {"scanned": examined})

    async def stage(self, rows: Sequence[ScannedFrame]) -> None:
        self._require_own(row.key for row in rows)
        await frame_scan.copy_to_staging(await self._open_staging(), rows)

    async def sample(self, count: int) -> list[dict[str, Any]]:
        return [
            dict(row)
            for row in await frame_scan.sample_frames(await self._open_staging(), min(count, MAX_SAMPLED_FRAMES))
        ]

    async def finish_frames(self, result: ScanResult) -> ScanSummary:
        connection = await self._open_staging()
        async with connection.begin():
            if not await self._lock(connection):
                return ScanSummary("gone")
            named = await frame_scan.replace_frames(connection, self._dataset)
            facts = await frame_scan.summarize_frames(connection, self._dataset, named=named)
            facts["levels"] = result.levels
            facts["problems"] = await frame_scan.count_problems(connection, self._dataset)
            problem = await frame_scan.first_problem(connection, self._dataset)
            return await self._record(connection, facts, problem, result)

    async def finish_videos(self, rows: Sequence[dict[str, Any]], result: ScanResult) -> ScanSummary:
        self._require_own(row["key"] for row in rows)
        if not VIDEO_FACTS.issuperset(result.facts) or not SOURCE_COLUMNS.issuperset(chain.from_iterable(rows)):
            raise ValueError("the scan sent columns that a scan does not find out")
        async with self._database.service_transaction() as connection:
            if not await self._lock(connection):
                return ScanSummary("gone")
            await frame_scan.replace_sources(connection, self._dataset, rows)
            return await self._record(connection, dict(result.facts), result.first_problem, result)

    async def _lock(self, connection: AsyncConnection) -> bool:
        """Be the only scan that writes to the dataset until the transaction ends; False if it was deleted.

        Whoever takes the task over waits for the dataset, so that what it writes comes later. Raises LeaseLost.
        """
        found = await frame_scan.lock_dataset(connection, self._dataset)
        if found and self._lease is not None:
            await leases.require(connection, self._lease)
        return found

    async def _open_staging(self) -> AsyncConnection:
        """The connection that has the staging table."""
        if self._staging is None:
            self._staging = await self._opened.enter_async_context(self._database.separate_connection())
            await frame_scan.create_staging_table(self._staging)
        return self._staging

    def _require_own(self, keys: Iterable[str]) -> None:
        """A slot that was taken over must not make objects of others part of this dataset."""
        target = self._require_target()
        if not all(key.startswith(target.prefix) for key in keys):
            raise ValueError("the scan sent an object that is not under the prefix of its dataset")

    def _require_target(self) -> ScanTarget:
        if self._target is None:
            raise ValueError("the scan has not begun")
        return self._target

    async def _record(
        self, connection: AsyncConnection, facts: dict[str, Any], problem: str | None, result: ScanResult
    ) -> ScanSummary:
        target, excluded = self._require_target(), result.excluded
        error = _failure_reason(target, excluded, problem, readable=facts["width"] is not None)
        problems = [row | {"example": target.relative(row["example"])} for row in facts["problems"]]
        state = "failed" if error else "ready"
        facts |= {"problems": problems, "excluded": excluded.counts, "scanned": result.examined}
        await frame_scan.update_dataset(connection, target.id, {**facts, "state": state, "error": error})
        if excluded.total:
            log.info("the scan left out objects", dataset=str(target.id), excluded=str(excluded))
        counts = {name: facts[name] for name in ("frame_count", "bytes", "unreadable_frames", "gap_frames")}
        return ScanSummary(state, **counts, ignored=excluded.total, error=error)


@asynccontextmanager
async def open_scan_writer(
    database: Database, dataset: UUID, lease: ScanLease | None = None
) -> AsyncIterator[ScanWriter]:
    """A writer for one scan of the dataset; what was staged and not finished is dropped at the end.

    Without a lease nobody else may scan the dataset at the same time.
    """
    async with AsyncExitStack() as opened:
        yield ScanWriter(database, dataset, lease, opened)


def _failure_reason(target: ScanTarget, excluded: Exclusions, problem: str | None, *, readable: bool) -> str | None:
    """Why the dataset cannot be rendered, or None."""
    noun = "source videos" if target.kind == "video" else "frames"
    place = f"under {target.prefix or 'the top'} in bucket {target.bucket}"
    if readable:
        return None
    if problem is not None:
        return f"none of the {noun} {place} can be read; the first: {problem}"
    others = f" (left out: {excluded})" if excluded.total else ""
    return f"no {noun} {place}{others}: upload some or correct the prefix, then scan again"
