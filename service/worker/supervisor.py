"""The supervisor of a worker: takes tasks off the queue and gives each to a free slot."""

import asyncio
import os
import platform
import time
from dataclasses import replace
from uuid import UUID

import structlog

from service.ids import new_uuid
from service.jobs.fairness import Turns
from service.jobs.lease_keeper import LeaseKeeper
from service.jobs.routing import Taker
from service.jobs.workload import has_work_left
from service.periodic import PeriodicTask, run_periodically
from service.scratch import sweep_scratch
from service.store import workers
from service.store.database import Database
from service.store.objects.drivers import open_object_store
from service.webhooks.deliverer import WebhookDeliverer
from service.webhooks.settings import WebhookSettings
from service.worker.devices.canaries import DeviceSource, local_device_source
from service.worker.devices.monitor import DeviceMonitor
from service.worker.devices.placement import GpuPlacement
from service.worker.dispatcher import Dispatcher
from service.worker.follow import Follower
from service.worker.maintenance import Maintenance
from service.worker.registration import Registration
from service.worker.settings import WorkerSettings
from service.worker.slots.messages import SlotConfig
from service.worker.slots.pool import SlotPool
from service.worker.task_runner import TaskRunner

log = structlog.get_logger("worker")
HEARTBEAT_INTERVAL_S = 3.0
OBJECTS_INTERVAL_S = 5.0
UNREGISTER_TIMEOUT_S = 2.0
# A worker that runs until it is idle has had nothing to do for so long.
IDLE_INTERVAL_S, IDLE_S = 1.0, 10.0


class Supervisor:
    """Runs the slots, the dispatcher, the heartbeat and the maintenance tasks of one worker."""

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
        self._worker = Taker(self.name, self.id)
        self._registration = Registration(database, self._worker, settings, self.stop)
        self.heartbeat = PeriodicTask("heartbeat", HEARTBEAT_INTERVAL_S, self._send_heartbeat, starts_at_once=True)
        self.slots = SlotPool(slot_config, settings.slots)
        source = devices or local_device_source(settings.gpu_slots != 0)
        self.devices = DeviceMonitor(database, self.id, settings, source, lambda: self.slots.is_exhausted)
        self._placement = GpuPlacement(self.devices, settings.slots, settings.gpu_slots)
        self._webhooks = WebhookDeliverer(
            database, webhooks or WebhookSettings(), self.name, turns=Turns(settings.weights)
        )
        self._keeper = LeaseKeeper(database.service_transaction)
        runner = TaskRunner(database, self._keeper, self._placement, settings.frame_timeout_s)
        self._dispatcher = Dispatcher(database, self.slots, runner, Turns(settings.weights), self._worker)
        self._stopping = False
        self._idle_since: float | None = None

    async def run(self, *, until_idle: bool = False) -> None:
        """Work until `stop` or, with `until_idle`, until there has been nothing to do for IDLE_S. Survives an
        unavailable database."""
        if swept := sweep_scratch():
            log.info("temporary folders of dead processes are removed", count=swept)
        await self.slots.start()
        log.info("worker ready", worker=self.name, slots=len(self.slots.processes))
        for reason in self.slots.sandbox_gaps:
            log.warning("slots are not confined in every way", reason=reason)
        objects = open_object_store(self._config.objects, self._config.home)
        maintenance = Maintenance(self._database, objects, self._settings)
        watching = PeriodicTask("object processes", OBJECTS_INTERVAL_S, self.slots.check_object_processes)
        follower = Follower(self._database, objects, self._config.objects.source_rules, self.name)
        idle = [PeriodicTask("idleness", IDLE_INTERVAL_S, self._stop_when_idle)] if until_idle else []
        periodic = (self.heartbeat, watching, follower.periodic_task(), *maintenance.periodic_tasks(), *idle)
        background = [
            asyncio.create_task(work)
            for work in (*map(run_periodically, periodic), self._keeper.run(), self._webhooks.run(), self.devices.run())
        ]
        try:
            if not self._stopping:  # else the background tasks are cancelled before they open a connection
                await self.devices.wait_first_probe()
                await self._dispatcher.run()
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, follower.stop(), self.slots.stop(), return_exceptions=True)
            await self._unregister()
            await objects.close()

    def stop(self) -> None:
        """Drain: take no new tasks; running ones may finish within the shutdown timeout."""
        self._stopping = True
        self._dispatcher.stop()
        asyncio.get_running_loop().call_later(self._settings.drain_s, self.slots.kill)

    async def _send_heartbeat(self) -> None:
        await self._registration.send_heartbeat(
            self._placement.offers_of_worker(), self._dispatcher.trouble, self.slots.sandbox_gaps
        )

    async def _stop_when_idle(self) -> None:
        worker, now = replace(self._worker, offers=self._placement.offers_of_worker()), time.monotonic()
        async with self._database.service_transaction() as connection:
            if await has_work_left(connection, worker):
                self._idle_since = None
                return
        self._idle_since = self._idle_since or now
        if now - self._idle_since >= IDLE_S and not self._stopping:
            log.info("nothing is left to do: the worker ends", worker=self.name)
            self.stop()

    async def _unregister(self) -> None:
        """Remove the worker's row; if that fails, the row goes stale after 15 seconds."""
        try:
            async with asyncio.timeout(UNREGISTER_TIMEOUT_S), self._database.service_transaction() as connection:
                await workers.unregister_worker(connection, self.id)
        except Exception as error:
            log.warning("worker row not removed", reason=f"{type(error).__name__}: {error}")
