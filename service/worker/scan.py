"""Register what lies under a dataset's prefix: rows in natural order, and what they say about the whole."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import DatasetId
from service.store import frame_scan
from service.store.database import Database
from service.store.objects import ObjectMissing, ObjectStore
from service.worker.scan_images import ImageProbe, batches
from service.worker.scan_levels import FRAMES, LevelScan
from service.worker.scan_videos import VideoScan

Report = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class ScanSummary:
    """How the scan ended; `ignored` objects neither are frames nor claim to be."""

    state: str
    frame_count: int = 0
    bytes: int = 0
    unreadable_frames: int = 0
    gap_frames: int = 0
    ignored: int = 0
    error: str | None = None


async def scan_dataset(
    database: Database, objects: ObjectStore, dataset_id: DatasetId, progress: Report
) -> ScanSummary:
    """Find and probe the frames, then replace the dataset's rows in one transaction: readers see old or new.

    `progress` hears how many objects have been looked at, and may raise to stop the scan. Memory does not grow with the
    number of frames. Raises ObjectStoreError when the store is away; the rows are then as they were.
    """
    async with database.service() as connection:
        dataset = await frame_scan.begin(connection, dataset_id)
    if dataset is None:
        return ScanSummary("gone")
    scan = _Scan(database, objects, dataset, progress)
    return await (scan.videos() if dataset["kind"] == "video" else scan.frames())


@dataclass(slots=True)
class _Scan:
    """One scan under way; `seen` objects have been looked at, `ignored` of them are no frames."""

    database: Database
    objects: ObjectStore
    dataset: RowMapping
    progress: Report
    seen: int = 0
    ignored: int = 0

    @property
    def id(self) -> UUID:
        found: UUID = self.dataset["id"]
        return found

    async def frames(self) -> ScanSummary:
        async with self.database.engine.connect() as connection:
            await frame_scan.open_staging(connection)
            await self._stage_all(connection)
            levels = await self._levels(connection)
            async with connection.begin():
                if await frame_scan.lock_dataset(connection, self.id) is None:
                    return ScanSummary("gone")
                await frame_scan.replace_frames(connection, self.id)
                facts = await frame_scan.frame_facts(connection, self.id) | {"levels": levels}
                return await self._record(connection, facts, await frame_scan.first_problem(connection, self.id))

    async def _stage_all(self, connection: AsyncConnection) -> None:
        probe = ImageProbe(self.objects, self.dataset["bucket"], self._tick)
        try:
            async for page in self.objects.list(self.dataset["bucket"], self.dataset["prefix"]):
                found = await probe.all(page)
                for rows in batches(found):
                    await frame_scan.stage(connection, rows)
                await self._moved(len(page), sum(rows is None for rows in found))
        except ObjectMissing:
            return  # the bucket does not exist: nothing is under the prefix

    async def _levels(self, connection: AsyncConnection) -> dict[str, Any] | None:
        rows = await frame_scan.spread(connection, FRAMES)
        return await LevelScan(self.objects, self.dataset["bucket"], self._tick).levels(rows)

    async def videos(self) -> ScanSummary:
        scan = VideoScan(self.objects, self.dataset["bucket"], self._tick)
        try:
            async for page in self.objects.list(self.dataset["bucket"], self.dataset["prefix"]):
                await self._moved(0, scan.take(page))
        except ObjectMissing:
            pass
        async for _ in scan.probe():
            await self._moved(1, 0)
        async with self.database.service() as connection:
            if await frame_scan.lock_dataset(connection, self.id) is None:
                return ScanSummary("gone")
            await frame_scan.replace_sources(connection, self.id, scan.rows)
            return await self._record(connection, scan.facts(), scan.first_problem())

    def _tick(self) -> None:
        self.progress(self.seen)

    async def _moved(self, seen: int, ignored: int) -> None:
        self.seen, self.ignored = self.seen + seen, self.ignored + ignored
        self._tick()
        async with self.database.service() as connection:
            await frame_scan.record(connection, self.id, {"scanned": self.seen})

    async def _record(self, connection: AsyncConnection, facts: dict[str, Any], problem: str | None) -> ScanSummary:
        error = self._error(facts, problem)
        state = "failed" if error else "ready"
        await frame_scan.record(connection, self.id, {**facts, "state": state, "error": error, "scanned": self.seen})
        counts = {name: facts[name] for name in ("frame_count", "bytes", "unreadable_frames", "gap_frames")}
        return ScanSummary(state, **counts, ignored=self.ignored, error=error)

    def _error(self, facts: dict[str, Any], problem: str | None) -> str | None:
        """Why the dataset cannot be rendered, or None."""
        noun = "source videos" if self.dataset["kind"] == "video" else "frames"
        place = f"under {self.dataset['prefix'] or 'the top'} in bucket {self.dataset['bucket']}"
        if facts["width"] is not None:
            return None
        if problem is not None:
            return f"none of the {noun} {place} can be read; the first: {problem}"
        others = f" ({self.ignored} other objects are there)" if self.ignored else ""
        return f"no {noun} {place}{others}: upload some or correct the prefix, then scan again"
