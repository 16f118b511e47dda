"""Keeps the state of this worker's devices current: probes them, runs one canary at a time, publishes the results."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

import structlog

from service.devices.canary import Canary, CanaryResult, FaultResult
from service.devices.canary_process import CanaryProcess
from service.devices.capabilities import CapabilityTable
from service.devices.cpu_probe import CpuProbe
from service.devices.device import Device
from service.devices.nvml import NvmlProbe, set_pci_bus_order
from service.devices.timeout_call import StillRunning, TimeoutCall
from service.plan.capability import Capability
from service.store import workers
from service.store.database import Database
from service.worker.devices import metrics
from service.worker.devices.canaries import canaries_for
from service.worker.settings import WorkerSettings

log = structlog.get_logger("worker")
PROBE_TIMEOUT_S = 5.0
DeviceProbe = Callable[[], Sequence[Device]]


class DeviceInventory:
    """`devices` are those last seen; one whose source does not answer is kept, and its age tells."""

    def __init__(self, probes: Sequence[DeviceProbe], timeout_s: float = PROBE_TIMEOUT_S) -> None:
        self._calls = [TimeoutCall(look, timeout_s) for look in probes]
        self._seen: list[Sequence[Device]] = [() for _ in probes]
        self._seen_at = [time.monotonic() for _ in probes]
        self._silent = [False for _ in probes]

    def devices(self) -> list[Device]:
        return [device for devices in self._seen for device in devices]

    def age_s(self, name: str) -> float:
        """Since the device was looked at."""
        places = [place for place, devices in enumerate(self._seen) if any(device.name == name for device in devices)]
        return time.monotonic() - self._seen_at[places[0]]

    async def refresh(self) -> list[str]:
        """Look at all; returns the names of devices whose source has just fallen silent."""
        silent: list[str] = []
        for place, call in enumerate(self._calls):
            fell_silent = not await self._probe(place, call) and not self._silent[place]
            self._silent[place] = self._silent[place] or fell_silent
            silent += [device.name for device in self._seen[place]] if fell_silent else []
        return silent

    async def _probe(self, index: int, call: "TimeoutCall[Sequence[Device]]") -> bool:
        try:
            self._seen[index] = await call.result()
        except Exception as error:
            reason = str(error) if isinstance(error, StillRunning) else f"{type(error).__name__}: {error}"
            log.warning("devices cannot be looked at", reason=reason)
            return False
        self._seen_at[index], self._silent[index] = time.monotonic(), False
        return True


@dataclass(frozen=True, slots=True)
class DeviceSource:
    """Each look may block for ever; `canaries` are those of a device by its name."""

    probes: Sequence[DeviceProbe]
    canaries: Callable[[str], Sequence[Canary]]


def local_device_source(include_gpus: bool) -> DeviceSource:
    """The CPU and, where they are wanted, NVIDIA's devices or why there are none."""
    set_pci_bus_order()
    machine = CpuProbe()
    looks: list[DeviceProbe] = [lambda: [machine.read_device()]]
    return DeviceSource((*looks, NvmlProbe().read_devices) if include_gpus else looks, canaries_for)


log = structlog.get_logger("worker")
PROBE_INTERVAL_S = 3.0
RETRY_DELAY_S = 1.0
# What a canary process may take to load its libraries; the first time from a cold disk.
FIRST_START_TIMEOUT_S, START_TIMEOUT_S = 60.0, 12.0


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
                metrics.count_canary(device, verdict.outcome, time.monotonic() - started)
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
        metrics.update_gauges(self._table.devices(), self.capabilities())
        await _wait_and_clear(self._news, PROBE_INTERVAL_S if await self._write_rows() else RETRY_DELAY_S)

    async def _write_rows(self) -> bool:
        devices = [{**device.to_json(), "age": self._looks.age_s(device.name)} for device in self._table.devices()]
        try:
            async with self._database.service_transaction() as connection:
                await workers.write_devices(connection, self._worker, devices, self._table.to_json())
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
