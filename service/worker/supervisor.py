"""The supervisor of a worker: takes tasks off the queue and gives each to a free slot."""

import asyncio
import contextlib
import os
import platform
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import structlog

from service import __version__
from service.ids import TaskId, new_uuid
from service.jobs import queue
from service.jobs.queue import QueueConsumer, Retry
from service.store import deletion, workers
from service.store.cache import eviction
from service.store.cache.eviction import PREVIEW_CACHE_DIVISOR
from service.store.database import Database
from service.store.objects.drivers import open_object_store
from service.telemetry import metrics
from service.webhooks.deliverer import WebhookDeliverer
from service.webhooks.settings import WebhookSettings
from service.worker.devices.monitor import DeviceMonitor, DeviceSource, local_device_source
from service.worker.settings import WorkerSettings
from service.worker.slots.messages import SlotConfig
from service.worker.slots.process import SlotDied, SlotProcess
from service.worker.task_runner import TaskRunner

log = structlog.get_logger("worker")
RECONCILE_INTERVAL_S = 10.0
OBJECT_DELETION_INTERVAL_S = 2.0
PREVIEW_EVICTION_INTERVAL_S = 3600.0
SEGMENT_EVICTION_INTERVAL_S = 30.0
HEARTBEAT_INTERVAL_S = 3.0
RECONNECT_DELAY_S = 1.0


class Supervisor:
    """N slots, one queue connection, and a presence row that says both are alive."""

    def __init__(
        self,
        database: Database,
        slot_config: SlotConfig,
        settings: WorkerSettings,
        webhooks: WebhookSettings | None = None,
        devices: DeviceSource | None = None,
    ) -> None:
        self._database, self._config, self._settings = database, slot_config, settings
        self.id: UUID = new_uuid()
        self.name = f"{platform.node()}:{os.getpid()}"
        self._errands = WebhookDeliverer(database, webhooks or WebhookSettings(), self.name)
        self.devices = DeviceMonitor(
            database, self.id, settings, devices or local_device_source(settings.gpu_slots != 0)
        )
        self._slots = [SlotProcess(slot_config, number) for number in range(settings.slots)]
        self._free: asyncio.Queue[SlotProcess] = asyncio.Queue()
        self._stopping = asyncio.Event()
        self._runner: QueueConsumer | None = None

    async def run(self) -> None:
        """Work until `stop`; survives a database that goes away and comes back."""
        await self._start_slots()
        keeping = (self._delete_marked_objects(), self._evict_segments(), self._evict_previews())
        beside = (
            self._send_heartbeats(),
            self._requeue_lost_tasks(),
            *keeping,
            self._errands.run(),
            self.devices.run(),
        )
        side = [asyncio.create_task(work) for work in beside]
        try:
            while not self._stopping.is_set():
                await self._consume_queue()
        finally:
            for task in side:
                task.cancel()
            await asyncio.gather(*side, *(slot.stop() for slot in self._slots), return_exceptions=True)
            with suppress(Exception):
                await self._unregister()

    def stop(self) -> None:
        """Drain: no new tasks, those under way may finish within the drain time."""
        self._stopping.set()
        if self._runner is not None:
            self._runner.stop()
        asyncio.get_running_loop().call_later(self._settings.drain_s, self._kill_slots)

    async def _start_slots(self) -> None:
        await asyncio.gather(*(slot.start() for slot in self._slots))
        for slot in self._slots:
            self._free.put_nowait(slot)
        log.info("worker ready", worker=self.name, slots=len(self._slots))

    async def _consume_queue(self) -> None:
        await self.devices.wait_first_probe()
        if self._stopping.is_set():
            return
        ahead = min(self._settings.slots, 4)
        handlers = dict.fromkeys(("segment", "assemble", "scan", "preview"), self._run_task)
        self._runner = QueueConsumer(self._database.url, handlers, self._settings.slots + ahead)
        try:
            await self._runner.run()
        except Exception as error:
            log.warning("queue connection lost", reason=f"{type(error).__name__}: {error}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), RECONNECT_DELAY_S)

    async def _run_task(self, task: TaskId) -> None:
        async with self._borrow_slot() as slot:
            await TaskRunner(self._database, slot, self._settings, self.name, self.devices).run(task)

    @asynccontextmanager
    async def _borrow_slot(self) -> AsyncIterator[SlotProcess]:
        slot = await self._acquire_slot()
        try:
            if not slot.is_alive:
                await slot.start()
            yield slot
        except SlotDied as error:
            raise Retry(1.0, str(error)) from error
        finally:
            await self._release_slot(slot)

    async def _release_slot(self, slot: SlotProcess) -> None:
        """With a fresh process, before the next task wants one, if this one has left."""
        if not slot.is_alive and not self._stopping.is_set():
            with suppress(SlotDied, TimeoutError):
                await slot.start()
        self._free.put_nowait(slot)

    async def _acquire_slot(self) -> SlotProcess:
        """Wait for a free slot; a worker that is stopping gives the task back instead."""
        waiting = asyncio.ensure_future(self._free.get())
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait((waiting, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if self._stopping.is_set():
            if waiting.done():
                self._free.put_nowait(waiting.result())
            waiting.cancel()
            raise Retry(0.0, "the worker is stopping")
        return waiting.result()

    def _kill_slots(self) -> None:
        for slot in self._slots:
            slot.kill()

    async def _send_heartbeats(self) -> None:
        while True:
            try:
                async with self._database.service_transaction() as connection:
                    await workers.record_heartbeat(connection, self.id, self.name, self._settings.slots, __version__)
                    facts = {"figures": metrics.collect_worker_metrics(), "gpu_slots": self._settings.gpu_slots}
                    await workers.update_facts(connection, self.id, facts)
            except Exception as error:
                log.warning("heartbeat failed", reason=f"{type(error).__name__}: {error}")
            await asyncio.sleep(HEARTBEAT_INTERVAL_S)

    async def _unregister(self) -> None:
        async with asyncio.timeout(2), self._database.service_transaction() as connection:
            await workers.unregister_worker(connection, self.id)

    async def _delete_marked_objects(self) -> None:
        """Remove the files of what was deleted; a store that is away is asked again."""
        objects = open_object_store(self._config.objects, self._config.home)
        try:
            while True:
                await asyncio.sleep(OBJECT_DELETION_INTERVAL_S)
                try:
                    await deletion.delete_due_objects(self._database, objects)
                except Exception as error:
                    log.warning("removal failed", reason=f"{type(error).__name__}: {error}")
        finally:
            await objects.close()

    async def _evict_segments(self) -> None:
        """Keep the segment cache within its bounds; one worker at a time does it."""
        bucket, own = self._config.objects.bucket, self._settings
        while True:
            await asyncio.sleep(SEGMENT_EVICTION_INTERVAL_S)
            try:
                async with self._database.service_transaction() as connection:
                    gone = await eviction.evict_segments(connection, bucket, own.cache_bytes, own.cache_days)
                if gone:
                    metrics.SEGMENTS_EVICTED.inc(gone.segments)
                    metrics.BYTES_EVICTED.inc(gone.bytes)
            except Exception as error:
                log.warning("eviction failed", reason=f"{type(error).__name__}: {error}")

    async def _evict_previews(self) -> None:
        """Keep previews within their part of the cache."""
        own, objects = self._settings, open_object_store(self._config.objects, self._config.home)
        try:
            while True:
                await asyncio.sleep(PREVIEW_EVICTION_INTERVAL_S)
                try:
                    gone = await eviction.evict_previews(
                        objects, own.cache_bytes // PREVIEW_CACHE_DIVISOR, own.cache_days
                    )
                    if gone:
                        log.info("previews evicted", count=gone)
                except Exception as error:
                    log.warning("eviction of previews failed", reason=f"{type(error).__name__}: {error}")
        finally:
            await objects.close()

    async def _requeue_lost_tasks(self) -> None:
        while True:
            await asyncio.sleep(RECONCILE_INTERVAL_S)
            try:
                async with self._database.service_transaction() as connection:
                    found = await queue.requeue_lost_tasks(connection)
                if found:
                    log.warning("lost tasks queued again", count=found)
            except Exception as error:
                log.warning("reconcile failed", reason=f"{type(error).__name__}: {error}")
