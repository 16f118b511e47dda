"""The worker's supervisor: takes tasks off the queue, gives each to a free slot, writes down how it ended."""

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
from service.jobs import reconcile
from service.jobs.queue import QueueRunner, Retry
from service.store import eviction, preview_eviction, removals, worker_rows
from service.store.database import Database
from service.store.object_settings import open_store
from service.store.preview_eviction import PART
from service.telemetry import metrics
from service.webhooks.settings import WebhookSettings
from service.worker.device_source import DeviceSource, this_machine
from service.worker.device_watch import DeviceWatch
from service.worker.leased import LeasedTask
from service.worker.settings import WorkerSettings
from service.worker.slot import SlotConfig
from service.worker.slot_process import SlotDied, SlotProcess
from service.worker.webhook_errands import WebhookErrands

log = structlog.get_logger("worker")
RECONCILE_S = 10.0
SWEEP_S = 2.0
THIN_S = 3600.0
EVICT_S = 30.0
PRESENCE_S = 3.0
RESTART_S = 1.0


class Supervisor:
    """N slots, one queue connection, and a presence row that says both are alive."""

    def __init__(
        self,
        database: Database,
        config: SlotConfig,
        settings: WorkerSettings,
        webhooks: WebhookSettings | None = None,
        devices: DeviceSource | None = None,
    ) -> None:
        self._database, self._config, self._settings = database, config, settings
        self.id: UUID = new_uuid()
        self.name = f"{platform.node()}:{os.getpid()}"
        self._errands = WebhookErrands(database, webhooks or WebhookSettings(), self.name)
        self.devices = DeviceWatch(database, self.id, settings, devices or this_machine(settings.gpu_slots != 0))
        self._slots = [SlotProcess(config, number) for number in range(settings.slots)]
        self._free: asyncio.Queue[SlotProcess] = asyncio.Queue()
        self._stopping = asyncio.Event()
        self._runner: QueueRunner | None = None

    async def run(self) -> None:
        """Work until `stop`; survives a database that goes away and comes back."""
        await self._start_slots()
        keeping = (self._sweep(), self._evict(), self._thin_previews())
        beside = (self._presence(), self._reconcile(), *keeping, self._errands.run(), self.devices.run())
        side = [asyncio.create_task(work) for work in beside]
        try:
            while not self._stopping.is_set():
                await self._take_tasks()
        finally:
            for task in side:
                task.cancel()
            await asyncio.gather(*side, *(slot.stop() for slot in self._slots), return_exceptions=True)
            with suppress(Exception):
                await self._leave()

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

    async def _take_tasks(self) -> None:
        await self.devices.first_look()
        if self._stopping.is_set():
            return
        ahead = min(self._settings.slots, 4)
        handlers = dict.fromkeys(("segment", "assemble", "scan", "preview"), self._handle)
        self._runner = QueueRunner(self._database.url, handlers, self._settings.slots + ahead)
        try:
            await self._runner.run()
        except Exception as error:
            log.warning("queue connection lost", reason=f"{type(error).__name__}: {error}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), RESTART_S)

    async def _handle(self, task: TaskId) -> None:
        async with self._slot() as slot:
            await LeasedTask(self._database, slot, self._settings, self.name, self.devices).run(task)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[SlotProcess]:
        slot = await self._next_slot()
        try:
            if not slot.alive:
                await slot.start()
            yield slot
        except SlotDied as error:
            raise Retry(1.0, str(error)) from error
        finally:
            await self._put_back(slot)

    async def _put_back(self, slot: SlotProcess) -> None:
        """With a fresh process, before the next task wants one, if this one has left."""
        if not slot.alive and not self._stopping.is_set():
            with suppress(SlotDied, TimeoutError):
                await slot.start()
        self._free.put_nowait(slot)

    async def _next_slot(self) -> SlotProcess:
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

    async def _presence(self) -> None:
        while True:
            try:
                async with self._database.service() as connection:
                    await worker_rows.beat(connection, self.id, self.name, self._settings.slots, __version__)
                    facts = {"figures": metrics.worker_figures(), "gpu_slots": self._settings.gpu_slots}
                    await worker_rows.tell(connection, self.id, facts)
            except Exception as error:
                log.warning("heartbeat failed", reason=f"{type(error).__name__}: {error}")
            await asyncio.sleep(PRESENCE_S)

    async def _leave(self) -> None:
        async with asyncio.timeout(2), self._database.service() as connection:
            await worker_rows.leave(connection, self.id)

    async def _sweep(self) -> None:
        """Remove the files of what was deleted; a store that is away is asked again."""
        objects = open_store(self._config.objects, self._config.home)
        try:
            while True:
                await asyncio.sleep(SWEEP_S)
                try:
                    await removals.sweep(self._database, objects)
                except Exception as error:
                    log.warning("removal failed", reason=f"{type(error).__name__}: {error}")
        finally:
            await objects.close()

    async def _evict(self) -> None:
        """Keep the segment cache within its bounds; one worker at a time does it."""
        bucket, own = self._config.objects.bucket, self._settings
        while True:
            await asyncio.sleep(EVICT_S)
            try:
                async with self._database.service() as connection:
                    gone = await eviction.evict(connection, bucket, own.cache_bytes, own.cache_days)
                if gone:
                    metrics.SEGMENTS_EVICTED.inc(gone.segments)
                    metrics.BYTES_EVICTED.inc(gone.bytes)
            except Exception as error:
                log.warning("eviction failed", reason=f"{type(error).__name__}: {error}")

    async def _thin_previews(self) -> None:
        """Keep previews within their part of the cache."""
        own, objects = self._settings, open_store(self._config.objects, self._config.home)
        try:
            while True:
                await asyncio.sleep(THIN_S)
                try:
                    gone = await preview_eviction.evict(objects, own.cache_bytes // PART, own.cache_days)
                    if gone:
                        log.info("previews evicted", count=gone)
                except Exception as error:
                    log.warning("eviction of previews failed", reason=f"{type(error).__name__}: {error}")
        finally:
            await objects.close()

    async def _reconcile(self) -> None:
        while True:
            await asyncio.sleep(RECONCILE_S)
            try:
                async with self._database.service() as connection:
                    found = await reconcile.requeue_lost(connection)
                if found:
                    log.warning("lost tasks queued again", count=found)
            except Exception as error:
                log.warning("reconcile failed", reason=f"{type(error).__name__}: {error}")
