"""Runs one task under its lease: acquire, execute with heartbeats and a watchdog, then write the outcome."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal, TypeVar

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import RenderId, TaskId
from service.jobs import leases
from service.jobs.leases import MAX_ATTEMPTS, Lease, LeaseLost, RenderLease, ScanLease, SegmentLease
from service.jobs.queue import Retry
from service.plan.capability import CapabilityIndex
from service.plan.render_plan import RenderOptions
from service.store import workers
from service.store.database import Database
from service.store.renders import queries
from service.telemetry import metrics
from service.worker import outcomes
from service.worker.commands import load_command
from service.worker.devices.placement import GpuPlacement
from service.worker.scan.writer import open_scan_writer
from service.worker.slots.messages import (
    AssemblyDone,
    Command,
    EncoderUnavailable,
    Outcome,
    SegmentDone,
    TaskCancelled,
    TaskFailed,
)
from service.worker.slots.process import SlotDied, SlotProcess

T = TypeVar("T")
log = structlog.get_logger("worker")
HEARTBEAT_INTERVAL_S = 1.0
MAX_WRITE_ATTEMPTS = 8
# Failures that are not the task's fault: the attempt does not count.
UNCOUNTED_FAILURE_CODES = ("store_unavailable", "encoder_elsewhere")
# Why a command was stopped before its end.
StopReason = Literal["hung", "cancelled", "lease_lost"]


class TaskRunner:
    """Runs one task on one slot. If the worker dies, the heartbeats stop and another worker takes the task over."""

    def __init__(
        self, database: Database, slot: SlotProcess, placement: GpuPlacement, worker_name: str, frame_timeout_s: float
    ) -> None:
        self._database, self._slot, self._placement, self._worker_name = database, slot, placement, worker_name
        self._frame_timeout_s = frame_timeout_s

    async def run(self, task: TaskId) -> None:
        """Raises Retry if the task should run again."""
        acquired = await self._acquire(task)
        if acquired is None:
            return
        lease, command = acquired
        try:
            outcome, stopped = await self._execute(lease, command)
            await self._finish(lease, outcome, stopped)
        except LeaseLost:
            log.warning("lease lost", task=str(task), lease=lease.token)

    async def _acquire(self, task: TaskId) -> tuple[Lease, Command] | None:
        """None if there is nothing to execute: the task has ended, or `load_command` or this ended it."""
        try:
            async with self._database.service_transaction() as connection:
                lease = await leases.acquire(connection, task, self._worker_name)
                if lease is None:
                    return None
                if lease.attempts > MAX_ATTEMPTS:
                    reason = await leases.previous_error(connection, task)
                    await _fail_as_poison(connection, lease, MAX_ATTEMPTS, reason)
                    return None
                command = await load_command(connection, lease, self._slot.config.objects.source_rules)
        except (OSError, TimeoutError) as error:
            raise Retry(1.0, f"the database is unavailable: {error}") from error
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            raise Retry(1.0, "the database closed the connection") from error
        if command is None:
            return None
        return lease, self._placement.assign(command, self._slot.number, lease.attempts)

    async def _execute(self, lease: Lease, command: Command) -> tuple[Outcome, StopReason | None]:
        """The outcome of the command, and why it was stopped if it was."""
        execution = asyncio.create_task(self._execute_on_slot(lease, command))
        heartbeats = asyncio.create_task(self._send_heartbeats(lease))
        stopped: StopReason | None = None
        try:
            await asyncio.wait((execution, heartbeats), return_when=asyncio.FIRST_COMPLETED)
            stopped = heartbeats.result() if heartbeats.done() else None
            if not execution.done():
                await self._stop(execution, stopped)
            return await execution, stopped
        except SlotDied as death:
            return self._outcome_of_death(death, stopped), stopped
        finally:
            heartbeats.cancel()
            with suppress(asyncio.CancelledError):
                await heartbeats

    async def _execute_on_slot(self, lease: Lease, command: Command) -> Outcome:
        """Raises SlotDied."""
        if not isinstance(lease, ScanLease):
            return await self._slot.execute(command)
        async with open_scan_writer(self._database, lease.dataset_id, lease) as writer:
            return await self._slot.execute(command, writer)

    async def _stop(self, execution: "asyncio.Task[Outcome]", reason: StopReason | None) -> None:
        """Kill a slot that hangs; ask any other to stop, and kill it if it does not."""
        if reason == "hung":
            self._slot.kill()
            return
        cancelling = asyncio.create_task(self._slot.cancel())
        await asyncio.wait((execution,))
        cancelling.cancel()

    def _outcome_of_death(self, death: SlotDied, stopped: StopReason | None) -> Outcome:
        if stopped in ("cancelled", "lease_lost"):
            return TaskCancelled()
        if stopped == "hung":
            reason = f"no progress for {self._frame_timeout_s:g} s (REELMILL_FRAME_TIMEOUT)"
            return TaskFailed("hang", reason, retry=True)
        return TaskFailed("slot_died", str(death), retry=True)

    async def _send_heartbeats(self, lease: Lease) -> StopReason:
        """Keep the lease until the command has to be stopped. An unavailable database does not stop it."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(HEARTBEAT_INTERVAL_S)
            if loop.time() - self._slot.last_progress_at > self._frame_timeout_s:
                return "hung"
            try:
                async with self._database.service_transaction() as connection:
                    if await leases.heartbeat(connection, lease, self._slot.progress):
                        return "cancelled"
            except LeaseLost:
                return "lease_lost"
            except Exception as error:
                log.warning("heartbeat failed", task=str(lease.task_id), reason=type(error).__name__)

    async def _finish(self, lease: Lease, outcome: Outcome, stopped: StopReason | None) -> None:
        """Write the outcome, or return the task to the queue. Raises LeaseLost, Retry."""
        if isinstance(outcome, EncoderUnavailable) and await self._is_encoder_elsewhere(lease):
            outcome = TaskFailed("encoder_elsewhere", outcome.reason, retry=True)
        if isinstance(outcome, TaskFailed):
            metrics.TASK_FAILURES.labels(lease.kind, outcome.code).inc()
        self._placement.check_health(outcome)
        if isinstance(outcome, TaskFailed) and outcome.retry:
            await self._requeue(lease, outcome)
        elif isinstance(outcome, TaskCancelled) and stopped not in ("cancelled", "lease_lost"):
            await self._requeue(lease, TaskFailed("slot_died", "the worker was stopped", retry=True))
        else:
            await self._write(lambda connection: outcomes.record_outcome(connection, lease, outcome))
        if isinstance(outcome, SegmentDone):
            outcomes.count_segment(outcome)
        if isinstance(outcome, AssemblyDone) and isinstance(lease, RenderLease):
            with suppress(Exception):  # a metric is not worth a failure
                async with self._database.service_transaction() as connection:
                    await outcomes.observe_estimate_error(connection, lease.render_id)

    async def _is_encoder_elsewhere(self, lease: Lease) -> bool:
        """Whether a live worker has the render's encoder, which this slot lacks because it has no GPU."""
        if not isinstance(lease, SegmentLease) or self._placement.allocation(self._slot.number) is not None:
            return False
        render_id = lease.render_id
        return await self._write(lambda connection: _has_live_encoder(connection, render_id))

    async def _requeue(self, lease: Lease, failure: TaskFailed) -> None:
        """Return the task to the queue, or fail it after its third counted attempt. Raises LeaseLost, Retry."""
        count_attempt = failure.code not in UNCOUNTED_FAILURE_CODES
        if count_attempt and lease.attempts >= MAX_ATTEMPTS:
            await self._write(lambda connection: _fail_as_poison(connection, lease, lease.attempts, failure.reason))
            return
        error = {"code": failure.code, "reason": failure.reason}
        await self._write(lambda connection: leases.release(connection, lease, error, count_attempt=count_attempt))
        raise Retry(min(0.2 * 2 ** min(lease.token, 6), 10.0), failure.reason)

    async def _write(self, operation: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Retry a transaction while the database is unavailable. After eight attempts it raises Retry."""
        for attempt in range(MAX_WRITE_ATTEMPTS):
            try:
                async with self._database.service_transaction() as connection:
                    return await operation(connection)
            except LeaseLost:
                raise
            except Exception as error:
                log.warning("final write failed", attempt=attempt, reason=f"{type(error).__name__}: {error}")
                await asyncio.sleep(min(0.25 * 2**attempt, 5.0))
        raise Retry(1.0, "the result could not be written to the database")


async def _fail_as_poison(connection: AsyncConnection, lease: Lease, attempts: int, reason: str) -> None:
    await outcomes.fail_task(connection, lease, "poison", f"it failed {attempts} times; the last time: {reason}")


async def _has_live_encoder(connection: AsyncConnection, render_id: RenderId) -> bool:
    render = await queries.get_render(connection, render_id)
    index = CapabilityIndex(await workers.best_capabilities(connection))
    return render is not None and any(
        index.usable(device, "encode", RenderOptions.from_json(render["options"]).codec) for device in index.devices
    )
