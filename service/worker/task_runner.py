"""Runs one task under its lease: acquire, execute with heartbeats and a watchdog, then write the outcome."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Literal, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from service.jobs import attempts, leases
from service.jobs.lease_keeper import EndOfLease, LeaseKeeper
from service.jobs.leases import Failure, Lease, LeaseLost, RenderLease, ScanLease
from service.jobs.retries import MAX_ATTEMPTS, retry_class
from service.store.database import Database
from service.telemetry import metrics
from service.worker import outcomes
from service.worker.commands import load_command
from service.worker.devices.placement import GpuPlacement
from service.worker.scan.writer import open_scan_writer
from service.worker.slots.messages import (
    AssemblyDone,
    Command,
    Outcome,
    RenderPreview,
    RenderSegment,
    ScanDataset,
    SegmentDone,
    TaskCancelled,
    TaskFailed,
)
from service.worker.slots.process import SlotDied, SlotProcess

T = TypeVar("T")


class NotWritten(Exception):
    """The database was away for too long. The lease runs out, and the task is done again."""


log = structlog.get_logger("worker")
MAX_WRITE_ATTEMPTS = 8
# Why a command was stopped before its end.
StopReason = Literal["hung"] | EndOfLease


class TaskRunner:
    """Runs tasks on slots. If the worker dies, the heartbeats stop and another worker takes its tasks over."""

    def __init__(
        self, database: Database, keeper: LeaseKeeper, placement: GpuPlacement, frame_timeout_s: float
    ) -> None:
        self._database, self._keeper, self._placement = database, keeper, placement
        self._frame_timeout_s = frame_timeout_s

    def offers(self, slot: SlotProcess) -> frozenset[str]:
        """What the slot can do, in the words of `plan.needs`."""
        return self._placement.offers(slot.number)

    async def load(self, connection: AsyncConnection, lease: Lease, slot: SlotProcess) -> Command | None:
        """The command for the slot. None if there is nothing to execute: `load_command` or this has ended the task."""
        if lease.attempts > MAX_ATTEMPTS:
            reason = await leases.previous_error(connection, lease.task_id)
            await _fail_as_poison(connection, lease, MAX_ATTEMPTS, reason)
            return None
        command = await load_command(connection, lease, slot.config.objects.source_rules)
        if command is None:
            return None
        if lease.token > 1:
            command = _warn(command, await attempts.deadly_items(connection, lease.task_id))
        command = self._placement.assign(command, slot.number, lease.attempts)
        if isinstance(command, RenderSegment) and command.gpu is not None:
            await leases.set_device(connection, lease, command.gpu.device)
        return command

    async def run(self, slot: SlotProcess, lease: Lease, command: Command) -> Outcome:
        """Execute the command and write how it ended."""
        outcome, stopped = await self._execute(slot, lease, command)
        try:
            await self._finish(lease, outcome, stopped)
        except LeaseLost:
            log.warning("lease lost", task=str(lease.task_id), lease=lease.token)
        except NotWritten:
            log.error("a result is lost: the task will be done again", task=str(lease.task_id))
        return outcome

    async def _execute(self, slot: SlotProcess, lease: Lease, command: Command) -> tuple[Outcome, StopReason | None]:
        """The outcome of the command, and why it was stopped if it was."""
        execution = asyncio.create_task(self._execute_on_slot(slot, lease, command))
        ended = self._keeper.hold(lease, lambda: slot.progress)
        hung = asyncio.create_task(self._wait_hung(slot))
        stopped: StopReason | None = None
        try:
            await asyncio.wait((execution, ended, hung), return_when=asyncio.FIRST_COMPLETED)
            stopped = ended.result() if ended.done() else "hung" if hung.done() else None
            if not execution.done():
                await self._stop(slot, execution, stopped)
            return await execution, stopped
        except SlotDied as death:
            return self._outcome_of_death(death, stopped, _item_to_blame(command, death)), stopped
        finally:
            hung.cancel()
            self._keeper.drop(lease)

    async def _wait_hung(self, slot: SlotProcess) -> None:
        """Return when the slot has made no progress for `frame_timeout_s`."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._frame_timeout_s
        while deadline > clock():
            await asyncio.sleep(deadline - clock())
            deadline = slot.last_progress_at + self._frame_timeout_s

    async def _execute_on_slot(self, slot: SlotProcess, lease: Lease, command: Command) -> Outcome:
        """The outcome; in a new process if this one has lost the memory that the command takes. Raises SlotDied."""
        outcome = await self._execute_once(slot, lease, command)
        if not (isinstance(outcome, TaskFailed) and outcome.code == "out_of_memory" and outcome.retry):
            return outcome
        log.warning("a slot has lost its memory and is replaced", slot=slot.number, reason=outcome.reason)
        metrics.TASK_FAILURES.labels(lease.kind, outcome.code).inc()
        await slot.start()
        return await self._execute_once(slot, lease, command)

    async def _execute_once(self, slot: SlotProcess, lease: Lease, command: Command) -> Outcome:
        """Raises SlotDied."""
        if not isinstance(lease, ScanLease):
            return await slot.execute(command)
        async with open_scan_writer(self._database, lease.dataset_id, lease) as writer:
            return await slot.execute(command, writer)

    async def _stop(self, slot: SlotProcess, execution: "asyncio.Task[Outcome]", reason: StopReason | None) -> None:
        """Kill a slot that hangs; ask any other to stop, and kill it if it does not."""
        if reason == "hung":
            slot.kill()
            return
        cancelling = asyncio.create_task(slot.cancel())
        await asyncio.wait((execution,))
        cancelling.cancel()

    def _outcome_of_death(self, death: SlotDied, stopped: StopReason | None, item: str) -> Outcome:
        if stopped in ("cancelled", "lease_lost"):
            return TaskCancelled()
        if stopped == "hung":
            reason = f"no progress for {self._frame_timeout_s:g} s (REELMILL_FRAME_TIMEOUT)"
            return TaskFailed("hang", reason, retry=True, item=item)
        return TaskFailed(death.code, str(death), retry=True, item=item)

    async def _finish(self, lease: Lease, outcome: Outcome, stopped: StopReason | None) -> None:
        """Write the outcome, or return the task to the queue. Raises LeaseLost, NotWritten."""
        if isinstance(outcome, TaskFailed):
            metrics.TASK_FAILURES.labels(lease.kind, outcome.code).inc()
        self._placement.check_health(outcome)
        if isinstance(outcome, TaskCancelled) and stopped not in ("cancelled", "lease_lost"):
            outcome = TaskFailed("worker_stopped", "the worker was stopped", retry=True)
        if isinstance(outcome, TaskFailed) and outcome.retry:
            retried = await self._requeue(lease, outcome)
        else:
            retried = False
            await self._write(lambda connection: outcomes.record_outcome(connection, lease, outcome))
        outcomes.count_attempt(lease, outcome, retried=retried)
        if isinstance(outcome, SegmentDone):
            outcomes.count_segment(outcome)
        if isinstance(outcome, AssemblyDone) and isinstance(lease, RenderLease):
            with suppress(Exception):  # a metric is not worth a failure
                async with self._database.service_transaction() as connection:
                    await outcomes.observe_estimate_error(connection, lease.render_id)

    async def _requeue(self, lease: Lease, failure: TaskFailed) -> bool:
        """Return the task to the queue, or fail it as poison; whether it is tried again.

        Raises LeaseLost, NotWritten.
        """
        kind = retry_class(failure.code)
        barring = await self._bars(lease, failure)
        times, is_poison = lease.attempts, kind.is_strike and not barring and lease.attempts >= MAX_ATTEMPTS
        if kind.most is not None:
            times = await self._write(lambda db: attempts.count_by_code(db, lease.task_id, failure.code)) + 1
            is_poison = times >= kind.most
        if is_poison:
            await self._write(lambda db: _fail_as_poison(db, lease, times, failure.reason))
            return False
        uncounted = attempts.DEATHS_TO_BAR if barring else 0
        ended = Failure(failure.code, failure.reason, failure.item, counted=kind.is_strike, uncounted=uncounted)
        await self._write(lambda db: leases.release(db, lease, ended, kind.gap_s(lease.token) or 0.0))
        return True

    async def _bars(self, lease: Lease, failure: TaskFailed) -> bool:
        """Whether this death shows that one frame or object is to blame: the task goes on without it."""
        if not failure.item or not retry_class(failure.code).is_strike:
            return False
        return await self._write(lambda connection: attempts.is_barred_by(connection, lease.task_id, failure.item))

    async def _write(self, operation: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Retry a transaction while the database is unavailable. Raises NotWritten after eight attempts."""
        for attempt in range(MAX_WRITE_ATTEMPTS):
            try:
                async with self._database.service_transaction() as connection:
                    return await operation(connection)
            except LeaseLost:
                raise
            except Exception as error:
                log.warning("final write failed", attempt=attempt, reason=f"{type(error).__name__}: {error}")
                await asyncio.sleep(min(0.25 * 2**attempt, 5.0))
        raise NotWritten


def _item_to_blame(command: Command, death: SlotDied) -> str:
    """What the slot worked on. A GPU may be broken itself, and reads frames ahead: the attempt on the CPU will show."""
    on_gpu = isinstance(command, RenderSegment) and command.gpu is not None and command.gpu_disabled_reason is None
    return "" if on_gpu else death.item


def _warn(command: Command, deadly: attempts.DeadlyItems) -> Command:
    """The command, for a slot that knows at which frames or objects others ended."""
    match command:
        case RenderSegment():
            return replace(command, barred=deadly.barred, suspects=deadly.suspects)
        case RenderPreview() | ScanDataset():
            return replace(command, barred=deadly.barred)
    return command


async def _fail_as_poison(connection: AsyncConnection, lease: Lease, attempts: int, reason: str) -> None:
    await outcomes.fail_task(connection, lease, "poison", f"it failed {attempts} times; the last time: {reason}")
