"""Scans a dataset: probes every object under its prefix, then replaces the dataset's rows in one transaction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import DatasetId
from service.plan.names.media_names import DELETED, Exclusion, Exclusions, excluded_by_folder, excluded_by_name, not_media
from service.store.catalog import scan as frame_scan
from service.store.catalog.datasets import DatasetRow
from service.store.database import Database
from service.store.objects.object_store import ObjectInfo, ObjectNotFound, ObjectStore
from service.worker.scan.images import FrameRows, ImageScanner, batch_rows
from service.worker.scan.levels import MAX_SAMPLED_FRAMES, LevelScanner
from service.worker.scan.videos import VideoScanner

ProgressCallback = Callable[[int], None]
SKIPPED = {
    "link": Exclusion("link", "links are not followed: put the files there"),
    "special file": Exclusion("special file", "a pipe, socket or device"),
    "name not in UTF-8": Exclusion("name not in UTF-8", "names must be UTF-8: rename the files"),
}
DELETED_MEANWHILE = Exclusion(DELETED, "deleted during the scan")
log = structlog.get_logger("worker")


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
    """A running scan: `examined` objects so far, of which `excluded` are left out."""

    database: Database
    objects: ObjectStore
    dataset: DatasetRow
    on_progress: ProgressCallback
    examined: int = 0
    excluded: Exclusions = field(default_factory=Exclusions)

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
                facts["levels"] = levels
                facts["problems"] = await frame_scan.count_problems(connection, self.dataset.id)
                problem = await frame_scan.first_problem(connection, self.dataset.id)
                return await self._record(connection, facts, problem)

    async def _stage_frames(self, connection: AsyncConnection) -> None:
        scanner = ImageScanner(self.objects, self.dataset.bucket, self._report_progress)
        try:
            await self._count_skipped()
            async for page in self.objects.list(self.dataset.bucket, self.dataset.prefix):
                wanted = self._select_by_name(page)
                page_rows = await scanner.scan_page(wanted)
                for info, rows in zip(wanted, page_rows, strict=True):
                    self._count_if_excluded(info, rows)
                for batch in batch_rows(page_rows):
                    await frame_scan.copy_to_staging(connection, batch)
                await self._advance(len(page))
        except ObjectNotFound:
            return  # the bucket does not exist, so nothing is under the prefix

    async def scan_videos(self) -> ScanSummary:
        scanner = VideoScanner(self.objects, self.dataset.bucket, self._report_progress)
        try:
            await self._count_skipped()
            async for page in self.objects.list(self.dataset.bucket, self.dataset.prefix):
                wanted = self._select_by_name(page)
                scanner.add_page(wanted)
                await self._advance(len(page) - len(wanted))
        except ObjectNotFound:
            pass
        async for deleted in scanner.probe():
            if deleted is not None:
                self.excluded.add(DELETED_MEANWHILE, self._relative(deleted))
            await self._advance(1)
        async with self.database.service_transaction() as connection:
            if not await frame_scan.lock_dataset(connection, self.dataset.id):
                return ScanSummary("gone")
            await frame_scan.replace_sources(connection, self.dataset.id, scanner.rows)
            facts = scanner.dataset_facts() | {"problems": scanner.problems()}
            return await self._record(connection, facts, scanner.first_problem())

    async def _count_skipped(self) -> None:
        """Count the entries of a folder that are no objects."""
        async for page in self.objects.list_skipped(self.dataset.bucket, self.dataset.prefix):
            for entry in page:
                path = self._relative(entry.key)
                self.excluded.add(excluded_by_folder(path) or SKIPPED[entry.kind], path)

    def _select_by_name(self, page: Sequence[ObjectInfo]) -> list[ObjectInfo]:
        """The objects of a page whose names allow a frame or source video; the others are counted."""
        wanted = []
        for info in page:
            exclusion = excluded_by_name(self._relative(info.key), self.dataset.kind)
            if exclusion is None:
                wanted.append(info)
            else:
                self.excluded.add(exclusion, self._relative(info.key))
        return wanted

    def _count_if_excluded(self, info: ObjectInfo, rows: FrameRows | None) -> None:
        path = self._relative(info.key)
        if rows is None:
            self.excluded.add(not_media(path, self.dataset.kind), path)
        elif rows == ():
            self.excluded.add(DELETED_MEANWHILE, path)

    def _relative(self, key: str) -> str:
        """The key below the folder of the prefix; a hidden name that the prefix itself begins is not hidden."""
        prefix = self.dataset.prefix
        folder = prefix.rfind("/") + 1
        return key[len(prefix) if prefix.startswith(".", folder) else folder :]

    def _report_progress(self) -> None:
        self.on_progress(self.examined)

    async def _advance(self, examined: int) -> None:
        self.examined += examined
        self._report_progress()
        async with self.database.service_transaction() as connection:
            await frame_scan.update_dataset(connection, self.dataset.id, {"scanned": self.examined})

    async def _record(self, connection: AsyncConnection, facts: dict[str, Any], problem: str | None) -> ScanSummary:
        error = self._failure_reason(facts, problem)
        state = "failed" if error else "ready"
        problems = [row | {"example": self._relative(row["example"])} for row in facts["problems"]]
        facts |= {"problems": problems, "excluded": self.excluded.counts, "scanned": self.examined}
        await frame_scan.update_dataset(connection, self.dataset.id, {**facts, "state": state, "error": error})
        if self.excluded.total:
            log.info("the scan left out objects", dataset=str(self.dataset.id), excluded=str(self.excluded))
        counts = {name: facts[name] for name in ("frame_count", "bytes", "unreadable_frames", "gap_frames")}
        return ScanSummary(state, **counts, ignored=self.excluded.total, error=error)

    def _failure_reason(self, facts: dict[str, Any], problem: str | None) -> str | None:
        """Why the dataset cannot be rendered, or None."""
        noun = "source videos" if self.dataset.kind == "video" else "frames"
        place = f"under {self.dataset.prefix or 'the top'} in bucket {self.dataset.bucket}"
        if facts["width"] is not None:
            return None
        if problem is not None:
            return f"none of the {noun} {place} can be read; the first: {problem}"
        others = f" (left out: {self.excluded})" if self.excluded.total else ""
        return f"no {noun} {place}{others}: upload some or correct the prefix, then scan again"
