"""Keeps the state of this worker's devices current: probes them, runs one canary at a time, publishes the results."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from uuid import UUID

import structlog

from service.devices.canary import Canary, CanaryResult, FaultResult
from service.devices.canary_process import CanaryProcess
from service.devices.capabilities import CapabilityTable
from service.devices.device import Device
from service.devices.timeout_call import StillRunning, TimeoutCall
from service.plan.capability import CPU, Capability
from service.store import workers
from service.store.database import Database
from service.worker.devices import metrics
from service.worker.devices.canaries import DeviceProbe, DeviceSource
from service.worker.settings import WorkerSettings

log = structlog.get_logger("worker")
PROBE_TIMEOUT_S = 5.0
PROBE_INTERVAL_S = 3.0
RETRY_DELAY_S = 1.0
# Time for a canary process to load its libraries; the first time from a cold disk.
FIRST_START_TIMEOUT_S, START_TIMEOUT_S = 60.0, 12.0
# While every slot works, the canaries of the CPU wait so long: they would take two seconds of a core from the renders,
# and a render proves the CPU as well. A worker that is always busy still tests it.
MAX_CPU_DELAY_S = 60.0


class DeviceInventory:
    """The devices that the probes found last. A device whose probe does not answer stays listed, and its age grows."""

    def __init__(self, probes: Sequence[DeviceProbe], timeout_s: float = PROBE_TIMEOUT_S) -> None:
        self._calls = [TimeoutCall(probe, timeout_s) for probe in probes]
        self._found: list[Sequence[Device]] = [() for _ in probes]
        self._found_at = [time.monotonic() for _ in probes]
        self._silent = [False for _ in probes]

    def devices(self) -> list[Device]:
        return [device for devices in self._found for device in devices]

    def age_s(self, name: str) -> float:
        """Seconds since the device was last found by its probe."""
        indexes = (index for index, found in enumerate(self._found) if any(device.name == name for device in found))
        return time.monotonic() - self._found_at[next(indexes)]

    async def refresh(self) -> list[str]:
        """Run all probes; returns the names of devices whose probe has just stopped answering."""
        newly_silent: list[str] = []
        for index, call in enumerate(self._calls):
            if not await self._probe(index, call) and not self._silent[index]:
                self._silent[index] = True
                newly_silent += [device.name for device in self._found[index]]
        return newly_silent

    async def _probe(self, index: int, call: "TimeoutCall[Sequence[Device]]") -> bool:
        try:
            self._found[index] = await call.result()
        except Exception as error:
            reason = str(error) if isinstance(error, StillRunning) else f"{type(error).__name__}: {error}"
            log.warning("device probe failed", reason=reason)
            return False
        self._found_at[index], self._silent[index] = time.monotonic(), False
        return True


class DeviceMonitor:
    """Probes and tests the devices next to the slots, and never blocks them."""

    def __init__(
        self,
        database: Database,
        worker_id: UUID,
        settings: WorkerSettings,
        source: DeviceSource,
        are_slots_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        """`are_slots_busy` says whether every slot is at work."""
        self._database, self._worker_id, self._source = database, worker_id, source
        self._are_slots_busy = are_slots_busy
        self._canary_timeout_s = settings.canary_timeout_s
        self._cpu_canaries_from = time.monotonic() + settings.cpu_canary_start_s
        self._table = CapabilityTable(settings.canary_period_s, settings.cpu_canary_period_s)
        self._inventory = DeviceInventory(source.probes)
        self._warm: set[str] = set()
        self._changed, self._recheck, self._probed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        """Run until cancelled. That kills the running canary."""
        async with asyncio.TaskGroup() as group:
            group.create_task(_restart_forever(self._publish))
            group.create_task(_restart_forever(self._run_due_canaries))

    def capabilities(self) -> tuple[Capability, ...]:
        """The current state of every capability."""
        return self._table.capabilities()

    async def wait_first_probe(self) -> None:
        """Wait until the devices are known, at most as long as a probe may take."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PROBE_TIMEOUT_S + 1):
                await self._probed.wait()

    def request_recheck(self, device: str | None = None) -> None:
        """Re-run the canaries of this device (all devices if None) now."""
        self._table.request_recheck(device)
        self._recheck.set()

    async def _run_due_canaries(self) -> None:
        cpu_delay_s = self._cpu_delay_s()
        if due := self._table.due_canaries(cpu_delay_s):
            await self._run_canaries(due)
        else:
            await _wait_and_clear(self._recheck, min(self._table.seconds_until_due(cpu_delay_s), PROBE_INTERVAL_S))

    def _cpu_delay_s(self) -> float:
        if self._are_slots_busy():
            return MAX_CPU_DELAY_S
        return max(0.0, self._cpu_canaries_from - time.monotonic())

    async def _run_canaries(self, due: Sequence[Canary]) -> None:
        """Run the canaries of one device in one process, so that its libraries are loaded once.

        Those of the CPU that are left when every slot has got work wait.
        """
        device = due[0].device
        start_timeout_s = START_TIMEOUT_S if device in self._warm else FIRST_START_TIMEOUT_S
        process = CanaryProcess(device, self._canary_timeout_s, start_timeout_s)
        try:
            for canary in due:
                if device == CPU and not self._table.is_due(canary.key, self._cpu_delay_s()):
                    break
                started = time.monotonic()
                verdict = await process.run(canary)
                metrics.count_canary(device, verdict.outcome, time.monotonic() - started)
                self._record_verdict(canary, verdict)
        finally:
            await process.close()
        self._warm.add(device)

    def _record_verdict(self, canary: Canary, verdict: CanaryResult) -> None:
        before, now = self._table.breaker(canary.key), self._table.record(canary.key, verdict)
        if before is None or now is None or now.state == before.state:
            return
        self._changed.set()
        fields = {"device": canary.device, "stage": canary.stage, "what": canary.what, "state": now.state}
        report = log.warning if isinstance(verdict, FaultResult) else log.info
        report("capability", **fields, before=before.state, reason=now.reason or None)

    async def _publish(self) -> None:
        """Probe the devices and write what is known, then wait for three seconds or until something changes."""
        for device in await self._inventory.refresh():
            self.request_recheck(device)
        self._table.update_devices(self._inventory.devices(), self._source.canaries)
        self._probed.set()
        self._recheck.set()
        metrics.update_gauges(self._table.devices(), self.capabilities())
        await _wait_and_clear(self._changed, PROBE_INTERVAL_S if await self._write_rows() else RETRY_DELAY_S)

    async def _write_rows(self) -> bool:
        devices = [{**device.to_json(), "age": self._inventory.age_s(device.name)} for device in self._table.devices()]
        try:
            async with self._database.service_transaction() as connection:
                await workers.write_devices(connection, self._worker_id, devices, self._table.to_json())
        except Exception as error:  # the worker's own row does not exist yet, or the database is unavailable
            log.debug("devices not published", reason=type(error).__name__)
            return False
        return True


async def _restart_forever(step: Callable[[], Awaitable[None]]) -> None:
    """Repeat the step whatever it raises: without the monitor, old test results would stay valid."""
    while True:
        try:
            await step()
        except Exception:
            log.exception("device monitor failed")
            await asyncio.sleep(RETRY_DELAY_S)


async def _wait_and_clear(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(max(seconds, 0.01)):
            await event.wait()
    event.clear()
