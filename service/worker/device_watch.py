"""Keeps the truth about this worker's devices: looks, proves one canary at a time, tells others."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from uuid import UUID

import structlog

from service.devices.canary import Canary, CanaryResult, FaultResult
from service.devices.canary_process import CanaryProcess
from service.devices.table import CapabilityTable
from service.plan.capability import Capability
from service.store import device_rows
from service.store.database import Database
from service.worker import device_metrics
from service.worker.device_looks import PROBE_TIMEOUT_S, DeviceInventory
from service.worker.device_source import DeviceSource
from service.worker.settings import WorkerSettings

log = structlog.get_logger("worker")
PROBE_INTERVAL_S = 3.0
RETRY_DELAY_S = 1.0
FIRST_START_TIMEOUT_S, START_TIMEOUT_S = 60.0, 12.0
"""What a canary process may take to load its libraries; the first time from a cold disk."""


class DeviceMonitor:
    """Runs beside the slots and never holds them up."""

    def __init__(self, database: Database, worker_id: UUID, settings: WorkerSettings, source: DeviceSource) -> None:
        self._database, self._worker, self._source = database, worker_id, source
        self._limit = settings.canary_timeout_s
        self._table = CapabilityTable(settings.canary_period_s, settings.cpu_canary_period_s)
        self._looks = DeviceInventory(source.probes)
        self._started: set[str] = set()
        self._news, self._wanted, self._looked = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        """Until cancelled; the canary under way is killed then."""
        async with asyncio.TaskGroup() as both:
            both.create_task(_restart_forever(self._publish))
            both.create_task(_restart_forever(self._run_due_canaries))

    def capabilities(self) -> tuple[Capability, ...]:
        """What is believed at this moment."""
        return self._table.capabilities()

    async def wait_first_probe(self) -> None:
        """Returns when it is known which devices there are, or when that takes longer than a look may."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._looked.wait(), PROBE_TIMEOUT_S + 1)

    def request_recheck(self, device: str | None = None) -> None:
        """Something went wrong on the device, or nobody knows where: prove it anew, now."""
        self._table.request_recheck(device)
        self._wanted.set()

    async def _run_due_canaries(self) -> None:
        if due := self._table.due_canaries():
            await self._run_canaries(due)
        else:
            await _wait_and_clear(self._wanted, min(self._table.seconds_until_due(), PROBE_INTERVAL_S))

    async def _run_canaries(self, due: Sequence[Canary]) -> None:
        """The canaries of one device share a process for as long as they pass: its libraries are loaded once."""
        device = due[0].device
        process = CanaryProcess(
            device, self._limit, START_TIMEOUT_S if device in self._started else FIRST_START_TIMEOUT_S
        )
        try:
            for canary in due:
                started = time.monotonic()
                verdict = await process.run(canary)
                device_metrics.count_canary(device, verdict.outcome, time.monotonic() - started)
                self._record_verdict(canary, verdict)
        finally:
            await process.close()
        self._started.add(device)

    def _record_verdict(self, canary: Canary, verdict: CanaryResult) -> None:
        before, now = self._table.breaker(canary.key), self._table.record(canary.key, verdict)
        if before is None or now is None or now.state == before.state:
            return
        self._news.set()
        told = {"device": canary.device, "stage": canary.stage, "what": canary.what, "state": now.state}
        tell = log.warning if isinstance(verdict, FaultResult) else log.info
        tell("capability", **told, before=before.state, reason=now.reason or None)

    async def _publish(self) -> None:
        """Look and write, then wait for three seconds or until something changes."""
        for device in await self._looks.refresh():
            self.request_recheck(device)
        self._table.update_devices(self._looks.devices(), self._source.canaries)
        self._looked.set()
        self._wanted.set()
        device_metrics.update_gauges(self._table.devices(), self.capabilities())
        await _wait_and_clear(self._news, PROBE_INTERVAL_S if await self._write_rows() else RETRY_DELAY_S)

    async def _write_rows(self) -> bool:
        devices = [{**device.to_json(), "age": self._looks.age_s(device.name)} for device in self._table.devices()]
        try:
            async with self._database.service_transaction() as connection:
                await device_rows.write_devices(connection, self._worker, devices, self._table.to_json())
        except Exception as error:  # the worker's own row is not there yet, or the database is away
            log.debug("devices not told", reason=type(error).__name__)
            return False
        return True


async def _restart_forever(step: Callable[[], Awaitable[None]]) -> None:
    """Again and again, whatever happens in it: a watch that has ended would let old proofs stand."""
    while True:
        try:
            await step()
        except Exception:
            log.exception("device watch failed")
            await asyncio.sleep(RETRY_DELAY_S)


async def _wait_and_clear(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), max(seconds, 0.01))
    event.clear()
