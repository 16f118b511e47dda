"""Scans a dataset: probes every object under its prefix, then replaces the dataset's rows in one transaction."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import DatasetId
from service.store.catalog import scan as frame_scan
from service.store.catalog.datasets import DatasetRow
from service.store.database import Database
from service.store.objects.object_store import ObjectNotFound, ObjectStore
from service.worker.scan.images import ImageScanner, batch_rows
from service.worker.scan.levels import MAX_SAMPLED_FRAMES, LevelScanner
from service.worker.scan.videos import VideoScanner

ProgressCallback = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class ScanSummary:
    """How the scan ended. `ignored` objects are not frames, and their names do not claim so."""

    state: str
    frame_count: int = 0
    bytes: int = 0
    unreadable_frames: int = 0
    gap_frames: int = 0
    ignored: int = 0
    error: str | None = None


async def scan_dataset(
    database: Database, objects: ObjectStore, dataset_id: DatasetId, on_progress: ProgressCallback
) -> ScanSummary:
    """Find and probe the frames, then replace the dataset's rows in one transaction: readers see old or new.

    `on_progress` is called with the number of objects examined, and may raise to stop the scan. Memory does not grow
    with the number of frames. Raises ObjectStoreError if the store is unavailable; the rows are then unchanged.
    """
    async with database.service_transaction() as connection:
        dataset = await frame_scan.begin_scan(connection, dataset_id)
    if dataset is None:
        return ScanSummary("gone")
    scan = _DatasetScan(database, objects, dataset, on_progress)
    return await (scan.scan_videos() if dataset.kind == "video" else scan.scan_frames())


@dataclass(slots=True)
class _DatasetScan:
    """A running scan: `examined` objects so far, of which `ignored` are not frames."""

    database: Database
    objects: ObjectStore
    dataset: DatasetRow
    on_progress: ProgressCallback
    examined: int = 0
    ignored: int = 0

    async def scan_frames(self) -> ScanSummary:
        async with self.database.engine.connect() as connection:
            await frame_scan.create_staging_table(connection)
            await self._stage_frames(connection)
            sample = await frame_scan.sample_frames(connection, MAX_SAMPLED_FRAMES)
            sampler = LevelScanner(self.objects, self.dataset.bucket, self._report_progress)
            levels = await sampler.scan(sample)
            async with connection.begin():
                if not await frame_scan.lock_dataset(connection, self.dataset.id):
                    return ScanSummary("gone")
                named = await frame_scan.replace_frames(connection, self.dataset.id)
                facts = await frame_scan.summarize_frames(connection, self.dataset.id, named=named)
                facts |= {"levels": levels}
                problem = await frame_scan.first_problem(connection, self.dataset.id)
                return await self._record(connection, facts, problem)

    async def _stage_frames(self, connection: AsyncConnection) -> None:
        scanner = ImageScanner(self.objects, self.dataset.bucket, self._report_progress)
        try:
            async for page in self.objects.list(self.dataset.bucket, self.dataset.prefix):
                page_rows = await scanner.scan_page(page)
                for rows in batch_rows(page_rows):
                    await frame_scan.copy_to_staging(connection, rows)
                await self._advance(len(page), sum(rows is None for rows in page_rows))
        except ObjectNotFound:
            return  # the bucket does not exist, so nothing is under the prefix

    async def scan_videos(self) -> ScanSummary:
        scanner = VideoScanner(self.objects, self.dataset.bucket, self._report_progress)
        try:
            async for page in self.objects.list(self.dataset.bucket, self.dataset.prefix):
                await self._advance(0, scanner.add_page(page))
        except ObjectNotFound:
            pass
        async for _ in scanner.probe():
            await self._advance(1, 0)
        async with self.database.service_transaction() as connection:
            if not await frame_scan.lock_dataset(connection, self.dataset.id):
                return ScanSummary("gone")
            await frame_scan.replace_sources(connection, self.dataset.id, scanner.rows)
            return await self._record(connection, scanner.dataset_facts(), scanner.first_problem())

    def _report_progress(self) -> None:
        self.on_progress(self.examined)

    async def _advance(self, examined: int, ignored: int) -> None:
        self.examined, self.ignored = self.examined + examined, self.ignored + ignored
        self._report_progress()
        async with self.database.service_transaction() as connection:
            await frame_scan.update_dataset(connection, self.dataset.id, {"scanned": self.examined})

    async def _record(self, connection: AsyncConnection, facts: dict[str, Any], problem: str | None) -> ScanSummary:
        error = self._failure_reason(facts, problem)
        state = "failed" if error else "ready"
        await frame_scan.update_dataset(
            connection, self.dataset.id, {**facts, "state": state, "error": error, "scanned": self.examined}
        )
        counts = {name: facts[name] for name in ("frame_count", "bytes", "unreadable_frames", "gap_frames")}
        return ScanSummary(state, **counts, ignored=self.ignored, error=error)

    def _failure_reason(self, facts: dict[str, Any], problem: str | None) -> str | None:
        """Why the dataset cannot be rendered, or None."""
        noun = "source videos" if self.dataset.kind == "video" else "frames"
        place = f"under {self.dataset.prefix or 'the top'} in bucket {self.dataset.bucket}"
        if facts["width"] is not None:
            return None
        if problem is not None:
            return f"none of the {noun} {place} can be read; the first: {problem}"
        others = f" ({self.ignored} other objects are there)" if self.ignored else ""
        return f"no {noun} {place}{others}: upload some or correct the prefix, then scan again"
