"""The housekeeping of a worker: deletes objects, bounds the caches, queues lost tasks again, repairs.

What looks at the queue or the renders one worker does for all. The rest each of them does: the database makes sure that
two at the same time do no harm."""

from collections.abc import Awaitable, Callable

import structlog

from service.jobs import queue
from service.periodic import PeriodicTask
from service.store import fleet, removal, retention, usage
from service.store.cache import eviction, previews
from service.store.cache.eviction import PREVIEW_CACHE_DIVISOR
from service.store.consistency import comparison, rounds
from service.store.database import Database, current_time
from service.store.objects.object_store import ObjectStore
from service.store.renders import invariants
from service.telemetry import metrics
from service.worker.settings import WorkerSettings

log = structlog.get_logger("worker")


class Maintenance:
    """The actions, and how often each of them runs."""

    def __init__(self, database: Database, objects: ObjectStore, settings: WorkerSettings) -> None:
        self._database, self._objects, self._settings = database, objects, settings

    def periodic_tasks(self) -> tuple[PeriodicTask, ...]:
        return (
            PeriodicTask("removal", 2, self.delete_marked_objects),
            self._for_all("retention", 60, self.delete_expired_renders),
            self._for_all("release of lost tasks", 2, self.release_lost_tasks),
            self._for_all("repair of renders", 10, self.repair_renders),
            self._for_all("pruning", 60, self.prune_queue),
            PeriodicTask("comparison of bucket and database", 60, self.compare_next_part),
            PeriodicTask("count of uploads", 30, self.recount_uploads),
            PeriodicTask("eviction", 30, self.evict_segments),
            PeriodicTask("removal of unused segments", 3600, self.remove_unused_segments, starts_at_once=True),
            PeriodicTask("eviction of previews", 3600, self.evict_previews),
            PeriodicTask("ending of unfinished uploads", 3600, self.abort_unfinished_uploads, starts_at_once=True),
        )

    def _for_all(self, name: str, interval_s: float, action: Callable[[], Awaitable[None]]) -> PeriodicTask:
        async def act_if_first() -> None:
            async with self._database.service_transaction() as connection:
                is_first = await fleet.begin_round(connection, name, interval_s)
            if is_first:
                await action()

        return PeriodicTask(name, interval_s, act_if_first)

    async def delete_marked_objects(self) -> None:
        """Delete the objects of deleted experiments, datasets and renders, and of evicted segments."""
        await removal.delete_due_objects(self._database, self._objects)

    async def delete_expired_renders(self) -> None:
        """Delete finished renders whose age has come."""
        age = self._settings.storage.retention
        for expired in await retention.delete_expired_renders(self._database, self._objects.bucket, age):
            log.info("render expired", render=str(expired.id), owner=expired.owner, bytes=expired.bytes)
            metrics.RENDERS_EXPIRED.inc()
            metrics.BYTES_EXPIRED.inc(expired.bytes)

    async def release_lost_tasks(self) -> None:
        """Queue the tasks again that a dead worker has left."""
        async with self._database.service_transaction() as connection:
            kinds = await queue.release_lost_tasks(connection)
        for kind, count in kinds.items():
            log.warning("tasks of a lost worker are queued again", kind=kind, count=count)
            metrics.TASKS_LOST.inc(count)
            metrics.ATTEMPTS.labels(kind, "worker_lost", "retried").inc(count)

    async def repair_renders(self) -> None:
        """Give unfinished renders without a task one again, and end tasks of renders that have ended."""
        async with self._database.service_transaction() as connection:
            repaired = await invariants.repair(connection)
        for kind, count in repaired.items():
            log.error("a broken invariant is repaired", invariant=kind, count=count)
            metrics.INVARIANTS_REPAIRED.labels(kind).inc(count)

    async def prune_queue(self) -> None:
        """Delete old finished tasks."""
        async with self._database.service_transaction() as connection:
            await queue.prune(connection)

    async def recount_uploads(self) -> None:
        """Count what has arrived in datasets into which uploads have ended."""
        await usage.recount_uploads(self._database, self._objects, limit=20)

    async def evict_segments(self) -> None:
        """Keep the segment cache within its bounds."""
        max_bytes, max_days = self._settings.cache_bytes, self._settings.cache_days
        async with self._database.service_transaction() as connection:
            evicted = await eviction.evict_segments(connection, self._objects.bucket, max_bytes, max_days)
        if evicted:
            metrics.SEGMENTS_EVICTED.inc(evicted.segments)
            metrics.BYTES_EVICTED.inc(evicted.bytes)

    async def remove_unused_segments(self) -> None:
        """Drop the cached segments that no render uses any more and no deletion has dropped."""
        async with self._database.service_transaction() as connection:
            count = await eviction.remove_unused_segments(connection, self._objects.bucket)
        if count:
            log.info("unused segments are removed", count=count)

    async def evict_previews(self) -> None:
        """Keep previews within their share of the cache."""
        max_bytes = self._settings.cache_bytes // PREVIEW_CACHE_DIVISOR
        async with self._database.service_transaction() as connection:
            now = await current_time(connection)
        count = await eviction.evict_previews(self._objects, max_bytes, self._settings.cache_days, now)
        async with self._database.service_transaction() as connection:
            await previews.forget_old_previews(connection, self._settings.cache_days)
        if count:
            log.info("previews evicted", count=count)

    async def compare_next_part(self) -> None:
        """Compare a part of the bucket with the database, if it is time and no other worker does."""
        counts = await rounds.compare_next_part(self._database, self._objects)
        if counts is None or not any(counts[name] for name in rounds.PROBLEMS):
            return
        log.warning("bucket and database differ", **counts)
        metrics.ORPHANS_REMOVED.inc(counts["removed_objects"])

    async def abort_unfinished_uploads(self) -> None:
        """Give back the space of uploads that began a day ago and never ended, as their process was killed."""
        for upload in await comparison.list_unfinished_uploads(self._database, self._objects):
            await self._objects.abort(upload)
            log.info("an unfinished upload is aborted", key=upload.key, started=upload.started.isoformat())
            metrics.UPLOADS_ABORTED.inc()
