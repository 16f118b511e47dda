"""Scans a dataset: probes every object under its prefix, and sends what it found to where scans are written."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.plan.names.media_names import (
    DELETED,
    Exclusion,
    Exclusions,
    excluded_by_folder,
    excluded_by_name,
    not_media,
)
from service.store.catalog.scanned import ListingDigest
from service.store.objects.object_store import ObjectAccess, ObjectInfo, ObjectNotFound
from service.worker.scan.images import FrameRows, ImageScanner, batch_rows
from service.worker.scan.levels import LevelScanner
from service.worker.scan.store import MAX_SAMPLED_FRAMES, ScanResult, ScanStore, ScanSummary, ScanTarget
from service.worker.scan.videos import VideoScanner
from service.worker.scan.watch import ObjectWatch

ProgressCallback = Callable[[int], None]
SKIPPED = {
    "link": Exclusion("link", "links are not followed: put the files there"),
    "special file": Exclusion("special file", "a pipe, socket or device"),
    "name not in UTF-8": Exclusion("name not in UTF-8", "names must be UTF-8: rename the files"),
}
DELETED_MEANWHILE = Exclusion(DELETED, "deleted during the scan")


async def scan_objects(
    store: ScanStore,
    objects: ObjectAccess,
    on_progress: ProgressCallback,
    watch: ObjectWatch,
) -> ScanSummary:
    """Find and probe the frames or source videos; `store` then replaces the dataset's rows in one transaction.

    `on_progress` is called with the number of objects examined, and may raise to stop the scan. Memory does not grow
    with the number of frames. Raises ObjectStoreError if the store is unavailable; the rows are then unchanged.
    """
    target = await store.begin()
    if target is None:
        return ScanSummary("gone")
    scan = _DatasetScan(store, objects, target, on_progress, watch)
    return await (scan.scan_videos() if target.kind == "video" else scan.scan_frames())


@dataclass(slots=True)
class _DatasetScan:
    """A running scan: `examined` objects so far, of which `excluded` are left out."""

    store: ScanStore
    objects: ObjectAccess
    target: ScanTarget
    on_progress: ProgressCallback
    watch: ObjectWatch
    examined: int = 0
    excluded: Exclusions = field(default_factory=Exclusions)
    digest: ListingDigest = field(default_factory=ListingDigest)

    async def scan_frames(self) -> ScanSummary:
        await self._stage_frames()
        sampler = LevelScanner(self.objects, self.target.bucket, self._report_progress, self.watch)
        levels = await sampler.scan(await self.store.sample(MAX_SAMPLED_FRAMES))
        return await self.store.finish_frames(self._result(levels=levels))

    def _result(self, **found: Any) -> ScanResult:
        return ScanResult(self.examined, self.excluded, *self.digest.listing(), **found)

    async def _stage_frames(self) -> None:
        scanner = ImageScanner(self.objects, self.target.bucket, self._report_progress, self.watch)
        try:
            await self._count_skipped()
            async for page in self._list_pages():
                wanted = await self._without_known(self._select_by_name(page))
                page_rows = await scanner.scan_page(wanted)
                for info, rows in zip(wanted, page_rows, strict=True):
                    self._count_if_excluded(info, rows)
                for batch in batch_rows(page_rows):
                    await self.store.stage(batch)
                await self._advance(len(page))
        except ObjectNotFound:
            if self.target.known:  # the bucket was there, and may come back
                raise

    async def _list_pages(self) -> AsyncIterator[list[ObjectInfo]]:
        async for page in self.objects.list(self.target.bucket, self.target.prefix, self.target.after):
            self.digest.add((info.key, info.etag, info.size) for info in page)
            yield page

    async def _without_known(self, page: list[ObjectInfo]) -> list[ObjectInfo]:
        if not self.target.known:
            return page
        reused = frozenset(await self.store.reuse([(info.key, info.etag, info.size) for info in page]))
        return [info for info in page if info.key not in reused]

    async def scan_videos(self) -> ScanSummary:
        scanner = VideoScanner(self.objects, self.target.bucket, self._report_progress, self.watch)
        try:
            await self._count_skipped()
            async for page in self._list_pages():
                wanted = self._select_by_name(page)
                scanner.add_page(wanted)
                await self._advance(len(page) - len(wanted))
        except ObjectNotFound:
            if self.target.known:
                raise
        async for deleted in scanner.probe():
            if deleted is not None:
                self.excluded.add(DELETED_MEANWHILE, self.target.relative(deleted))
            await self._advance(1)
        facts = scanner.dataset_facts() | {"problems": scanner.problems()}
        result = self._result(facts=facts, first_problem=scanner.first_problem())
        return await self.store.finish_videos(scanner.rows, result)

    async def _count_skipped(self) -> None:
        """Count the entries of a folder that are no objects."""
        if self.target.after:
            return
        async for page in self.objects.list_skipped(self.target.bucket, self.target.prefix):
            for entry in page:
                path = self.target.relative(entry.key)
                self.excluded.add(excluded_by_folder(path) or SKIPPED[entry.kind], path)

    def _select_by_name(self, page: Sequence[ObjectInfo]) -> list[ObjectInfo]:
        """The objects of a page whose names allow a frame or source video; the others are counted."""
        wanted = []
        for info in page:
            exclusion = excluded_by_name(self.target.relative(info.key), self.target.kind)
            if exclusion is None:
                wanted.append(info)
            else:
                self.excluded.add(exclusion, self.target.relative(info.key))
        return wanted

    def _count_if_excluded(self, info: ObjectInfo, rows: FrameRows | None) -> None:
        path = self.target.relative(info.key)
        if rows is None:
            self.excluded.add(not_media(path, self.target.kind), path)
        elif rows == ():
            self.excluded.add(DELETED_MEANWHILE, path)

    def _report_progress(self) -> None:
        self.on_progress(self.examined)

    async def _advance(self, examined: int) -> None:
        self.examined += examined
        self._report_progress()
        await self.store.advance(self.examined)
