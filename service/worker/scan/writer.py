"""What a scan writes. The supervisor does it: the slot that reads the files has no database and sends what it found."""

import re
import time
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
from service.store.catalog import datasets, follows, known_frames
from service.store.catalog import scan as frame_scan
from service.store.catalog.datasets import DatasetRow
from service.store.catalog.follows import FollowedScan, FollowState
from service.store.catalog.scanned import Listing, ScannedFrame
from service.store.database import Database
from service.store.tables import sources
from service.telemetry import metrics
from service.worker.scan.store import MAX_SAMPLED_FRAMES, ScanResult, ScanSummary, ScanTarget
from service.worker.scan.unchanged import DAMAGED, STILL_WRITTEN

log = structlog.get_logger("worker")
# Reasons why a frame could not be read that may not hold the next time, though the object is the same.
PASSING_PROBLEMS = (STILL_WRITTEN, DAMAGED)
DIGEST = re.compile("[0-9a-f]{32}")
# The columns of a dataset that a scan of source videos finds out. A slot has no business with any other.
VIDEO_FACTS = frozenset(
    ("frame_count", "bytes", "width", "height", "sizes", "forms", "field_orders", "formats", "captured_from",
     "captured_to", "gaps", "gap_frames", "unreadable_frames", "number_first", "number_stride", "digest", "problems")
)  # fmt: skip
SOURCE_COLUMNS = frozenset(sources.columns.keys()) - {"dataset_id"}


class ScanWriter:
    """Writes the scan of one dataset to the database, fenced by the lease of its task.

    A scan of a followed dataset that takes over what is known leaves the state of the dataset alone until its end, and
    its levels until it has twice as many frames: they shape videos, whose earlier segments are to stay as they are.
    Raises ValueError for rows that do not belong to the dataset, LeaseLost when another worker has taken the task over.
    """

    def __init__(self, database: Database, dataset: UUID, lease: ScanLease | None, opened: AsyncExitStack) -> None:
        self._database, self._dataset, self._lease, self._opened = database, dataset, lease, opened
        self._target: ScanTarget | None = None
        self._before: DatasetRow | None = None
        self._staging: AsyncConnection | None = None
        self._staged, self._measured, self._earlier = 0, True, False
        self._began = time.monotonic()

    async def begin(self) -> ScanTarget | None:
        async with self._database.service_transaction() as connection:
            await self._lock(connection)
            known = self._lease is not None and self._lease.known
            row = await (datasets.get if known else frame_scan.begin_scan)(connection, self._dataset)
        if row is None:
            return None
        after = self._lease.after if self._lease is not None and row.kind == "frames" else ""
        target = ScanTarget(row.id, row.kind, row.bucket, row.prefix, known=known, after=after)
        self._target, self._before = target, row
        if known and row.kind == "frames":
            connection = await self._open_staging()
            await known_frames.prepare_known(connection, target.id, after, PASSING_PROBLEMS)
        return target

    async def _stage_earlier(self) -> None:
        """Stage the frames of the objects that are not listed again, once."""
        after, self._earlier = self._require_target().after if not self._earlier else "", True
        if after:
            async for rows in known_frames.frames_up_to(await self._open_staging(), self._dataset, after):
                await self.stage(rows)

    async def _may_append(self, connection: AsyncConnection) -> bool:
        """Whether what is staged can be written behind the other frames, which need not be staged then."""
        after = self._require_target().after
        return bool(after) and not self._earlier and await known_frames.are_last(connection, self._dataset, after)

    async def advance(self, examined: int) -> None:
        async with self._database.service_transaction() as connection:
            await self._lock(connection)
            if not self._require_target().known:
                await frame_scan.update_dataset(connection, self._dataset, {"scanned": examined})

    async def reuse(self, objects: Sequence[tuple[str, str, int]]) -> Sequence[str]:
        rows = await known_frames.find_known(await self._open_staging(), objects)
        await self.stage(rows)
        return [row.key for row in rows]

    async def stage(self, rows: Sequence[ScannedFrame]) -> None:
        self._require_own(row.key for row in rows)
        await frame_scan.copy_to_staging(await self._open_staging(), rows)
        self._staged += len(rows)

    async def sample(self, count: int) -> list[dict[str, Any]]:
        connection = await self._open_staging()
        if self._require_target().known:
            async with connection.begin():
                state = await follows.lock(connection, self._dataset)
            before = self._before.frame_count if self._before and self._require_target().after else 0
            self._measured = state is None or before + self._staged >= 2 * state.measured
        if not self._measured:
            return []
        await self._stage_earlier()
        return [dict(row) for row in await frame_scan.sample_frames(connection, min(count, MAX_SAMPLED_FRAMES))]

    async def finish_frames(self, result: ScanResult) -> ScanSummary:
        connection, write = await self._open_staging(), frame_scan.replace_frames
        if self._require_target().known:
            write = frame_scan.append_frames if await self._may_append(connection) else frame_scan.update_frames
        if write is not frame_scan.append_frames:
            await self._stage_earlier()
        async with connection.begin():
            if not await self._lock(connection):
                return ScanSummary("gone")
            state, changes = await follows.lock(connection, self._dataset), dict[str, int]()
            if state is not None:
                only_new = write is frame_scan.append_frames
                changes = await known_frames.count_frame_changes(connection, self._dataset, only_new=only_new)
            named = await write(connection, self._dataset)
            facts = await frame_scan.summarize_frames(connection, self._dataset, named=named)
            if self._measured:
                facts["levels"] = result.levels
            if state is not None:
                await self._record_follow(connection, self._listing(result, state), changes)
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
            state = await follows.lock(connection, self._dataset)
            if state is not None:
                changes = await known_frames.count_source_changes(connection, self._dataset, rows)
                await self._record_follow(connection, self._listing(result, state), changes)
            await frame_scan.replace_sources(connection, self._dataset, rows)
            return await self._record(connection, dict(result.facts), result.first_problem, result)

    async def _record_follow(
        self, connection: AsyncConnection, listing: Listing | None, changes: dict[str, int]
    ) -> None:
        """Note what was listed, and tell what has changed."""
        measured = self._staged if self._measured else None
        scan = FollowedScan(listing, changes, time.monotonic() - self._began, measured)
        await follows.record_scan(connection, self._dataset, scan)
        if any(changes.values()):
            log.info("a followed dataset has changed", dataset=str(self._dataset), **changes)
            for kind, count in changes.items():
                metrics.FOLLOWED_OBJECTS.labels(kind).inc(count)

    def _listing(self, result: ScanResult, state: FollowState) -> Listing | None:
        """What the listing shows together with what was not listed again; None if that is not known any more."""
        found, after = Listing(result.digest, result.objects, result.last_key), self._require_target().after
        if not DIGEST.fullmatch(found.digest):
            raise ValueError("the scan sent a digest of its listing that is none")
        if not after:
            return found
        if state.listing is None or state.listing.last_key != after:
            return None
        total = (int(state.listing.digest, 16) + int(found.digest, 16)) % 2**128
        return Listing(f"{total:032x}", state.listing.objects + found.objects, found.last_key or after)

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
        target, excluded, scanned = self._require_target(), result.excluded, result.examined
        if target.after and self._before is not None:
            excluded, scanned = excluded.added_to(self._before.excluded), scanned + self._before.scanned
        error = _failure_reason(target, excluded, problem, readable=facts["width"] is not None)
        problems = [row | {"example": target.relative(row["example"])} for row in facts["problems"]]
        state = "failed" if error else "ready"
        facts |= {"problems": problems, "excluded": excluded.counts, "scanned": scanned}
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
