"""Runs one task under its lease: acquire, execute with heartbeats and a watchdog, then write the outcome."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

import structlog
from sqlalchemy import RowMapping
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import RenderId, TaskId
from service.jobs import leases
from service.jobs.leases import MAX_ATTEMPTS, Lease, LeaseLost
from service.jobs.queue import Retry
from service.plan.capability import CapabilityIndex
from service.plan.placement import GpuAllocation, allocate_gpu, gpu_disabled_reason
from service.plan.preview import Preview
from service.plan.render_plan import CPU_ONLY, RenderOptions
from service.store import workers
from service.store.cache import segments
from service.store.database import Database
from service.store.renders import lifecycle, queries
from service.telemetry import metrics
from service.worker import outcomes
from service.worker.devices.monitor import DeviceMonitor
from service.worker.settings import WorkerSettings
from service.worker.slots.messages import (
    AssembleRender,
    AssemblyDone,
    Command,
    EncoderUnavailable,
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
log = structlog.get_logger("worker")
HEARTBEAT_INTERVAL_S = 1.0
MAX_WRITE_ATTEMPTS = 8
# Failures of tasks and of frames that a broken device may be the cause of: all canaries are run at once.
DEVICE_FAULT_CODES = ("hang", "slot_died", "out_of_memory", "device_lost", "device_failed")


# Failures that say nothing against the task: another start will do.
UNCOUNTED_FAILURE_CODES = ("store_unavailable", "encoder_elsewhere")


class TaskRunner:
    """Runs one task on one slot; whatever happens, the task row says so or another worker takes over."""

    def __init__(
        self, database: Database, slot: SlotProcess, settings: WorkerSettings, worker_name: str, devices: DeviceMonitor
    ) -> None:
        self._database, self._slot, self._settings, self._worker = database, slot, settings, worker_name
        self._devices = devices
        self._hung = False
        self._cancelled = False

    async def run(self, task: TaskId) -> None:
        """Raises Retry when the task should be taken up again."""
        lease, command = await self._acquire(task)
        if lease is None or command is None:
            return
        try:
            outcome = await self._execute(lease, command)
            await self._finish(lease, outcome)
        except LeaseLost:
            log.warning("lease lost", task=str(task), lease=lease.lease)

    async def _acquire(self, task: TaskId) -> tuple[Lease | None, Command | None]:
        try:
            async with self._database.service_transaction() as connection:
                lease = await leases.acquire(connection, task, self._worker)
                return lease, await self._build_command(connection, lease) if lease else None
        except (OSError, TimeoutError) as error:
            raise Retry(1.0, f"the database is away: {error}") from error
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            raise Retry(1.0, "the database closed the connection") from error

    async def _build_command(self, connection: AsyncConnection, lease: Lease) -> Command | None:
        """What to tell the slot; None when the task has just ended without work."""
        if lease.starts > MAX_ATTEMPTS:
            last = await leases.previous_error(connection, lease.task)
            await outcomes.fail_task(
                connection, lease, "poison", f"its worker died {MAX_ATTEMPTS} times; the last time: {last}"
            )
            return None
        if lease.kind == "scan":
            assert lease.dataset_id is not None
            return ScanDataset(lease.dataset_id)
        if lease.kind == "preview":
            assert lease.payload is not None
            return RenderPreview(Preview.from_json(lease.payload))
        assert lease.render_id is not None
        await lifecycle.mark_running(connection, lease.render_id)
        if lease.kind == "assemble":
            return await _assemble_command(connection, lease)
        return await _segment_command(connection, lease, self._assign_gpu)

    def _assign_gpu(self, command: RenderSegment, attempt: int) -> RenderSegment:
        """The command with the slot's share of a GPU, if it has one and the render wants one."""
        known, options, own = self._devices.capabilities(), command.plan.options, self._gpu_allocation()
        if own is None or options.family == CPU_ONLY:
            return command
        reason = gpu_disabled_reason(known, own.device, options, attempt)
        return replace(command, gpu=own, gpu_disabled_reason=reason)

    def _gpu_allocation(self) -> GpuAllocation | None:
        known, settings = self._devices.capabilities(), self._settings
        return allocate_gpu(known, self._slot.number, settings.slots, settings.gpu_slots)

    async def _execute(self, lease: Lease, command: Command) -> Outcome:
        working = asyncio.create_task(self._slot.execute(command))
        beating = asyncio.create_task(self._send_heartbeats(lease))
        try:
            await asyncio.wait((working, beating), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                await self._abort(working)
            return await working
        except SlotDied as death:
            return self._outcome_of_death(death)
        finally:
            beating.cancel()
            with suppress(asyncio.CancelledError, LeaseLost):
                await beating

    async def _abort(self, execution: "asyncio.Task[Outcome]") -> None:
        """The heartbeat ended first: cancelled, fenced or hung. The slot is asked, then killed."""
        if self._hung:
            self._slot.kill()
            return
        ending = asyncio.create_task(self._slot.cancel())
        await asyncio.wait((execution,))
        ending.cancel()

    def _outcome_of_death(self, death: SlotDied) -> Outcome:
        if self._cancelled:
            return TaskCancelled()
        if self._hung:
            seconds = self._settings.frame_timeout_s
            return TaskFailed("hang", f"no progress for {seconds:g} s (REELMILL_FRAME_TIMEOUT)", retry=True)
        return TaskFailed("slot_died", str(death), retry=True)

    async def _send_heartbeats(self, lease: Lease) -> None:
        """Returns when the task must be given up; raises Fenced. A database that is away is waited for."""
        while True:
            await asyncio.sleep(HEARTBEAT_INTERVAL_S)
            if asyncio.get_running_loop().time() - self._slot.last_progress_at > self._settings.frame_timeout_s:
                self._hung = True
                return
            try:
                async with self._database.service_transaction() as connection:
                    self._cancelled = await leases.heartbeat(connection, lease, self._slot.progress)
            except LeaseLost:
                self._cancelled = True
            except Exception as error:
                log.warning("heartbeat failed", task=str(lease.task), reason=type(error).__name__)
            if self._cancelled:
                return

    async def _encoder_available_elsewhere(self, lease: Lease) -> bool:
        """Whether a live worker has the render's encoder, which this slot has not for want of a GPU."""
        if lease.render_id is None or self._gpu_allocation() is not None:
            return False
        render = RenderId(lease.render_id)
        return await self._retry_on_database_error(lambda connection: _encoder_has_live_worker(connection, render))

    async def _finish(self, lease: Lease, outcome: Outcome) -> None:
        if isinstance(outcome, EncoderUnavailable) and await self._encoder_available_elsewhere(lease):
            outcome = TaskFailed("encoder_elsewhere", outcome.reason, retry=True)
        if isinstance(outcome, TaskFailed):
            metrics.TASK_FAILURES.labels(lease.kind, outcome.code).inc()
        if _indicates_device_fault(outcome):
            self._devices.request_recheck()
        if isinstance(outcome, TaskFailed) and outcome.retry:
            await self._requeue(lease, outcome)
        elif isinstance(outcome, TaskCancelled) and not self._cancelled:
            await self._requeue(lease, TaskFailed("slot_died", "the worker was stopped", retry=True))
        else:
            await self._retry_on_database_error(lambda connection: outcomes.record_outcome(connection, lease, outcome))
            _count_metrics(outcome)
            await self._observe_estimate_error(lease, outcome)

    async def _observe_estimate_error(self, lease: Lease, outcome: Outcome) -> None:
        """How right the estimate was, for the metric; it is not worth a failure."""
        if isinstance(outcome, AssemblyDone) and lease.render_id is not None:
            with suppress(Exception):
                async with self._database.service_transaction() as connection:
                    ratio = await queries.estimate_ratio(connection, lease.render_id)
                if ratio is not None:
                    metrics.ESTIMATE_RATIO.observe(ratio)

    async def _requeue(self, lease: Lease, failure: TaskFailed) -> None:
        """Back to the queue: an outage is forgiven, a death counts and is the end after the third."""
        forgiven = failure.code in UNCOUNTED_FAILURE_CODES
        if not forgiven and lease.starts >= MAX_ATTEMPTS:
            reason = f"its worker died {lease.starts} times; the last time: {failure.reason}"
            await self._retry_on_database_error(
                lambda connection: outcomes.fail_task(connection, lease, "poison", reason)
            )
            return
        error = {"code": failure.code, "reason": failure.reason}
        await self._retry_on_database_error(
            lambda connection: leases.release(connection, lease, error, forgiven=forgiven)
        )
        raise Retry(min(0.2 * 2 ** min(lease.lease, 6), 10.0), failure.reason)

    async def _retry_on_database_error(self, operation: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """What ends a task outlives a short absence of the database; past that, another worker does the task."""
        for attempt in range(MAX_WRITE_ATTEMPTS):
            try:
                async with self._database.service_transaction() as connection:
                    return await operation(connection)
            except LeaseLost:
                raise
            except Exception as error:
                log.warning("task cannot be ended", attempt=attempt, reason=f"{type(error).__name__}: {error}")
                await asyncio.sleep(min(0.25 * 2**attempt, 5.0))
        raise Retry(1.0, "the database did not take the result")


async def _encoder_has_live_worker(connection: AsyncConnection, render_id: RenderId) -> bool:
    row = await queries.get_render(connection, render_id)
    known = CapabilityIndex(await workers.best_capabilities(connection))
    return row is not None and any(
        known.usable(device, "encode", RenderOptions.from_json(row["options"]).codec) for device in known.devices
    )


async def _assemble_command(connection: AsyncConnection, lease: Lease) -> Command:
    assert lease.render_id is not None
    row: RowMapping | None = await queries.get_render(connection, lease.render_id)
    assert row is not None
    parts = await segments.list_render_segments(connection, lease.render_id)
    facts = {name: row[name] for name in ("request", "stages")} | {
        name: str(row[name]) for name in ("id", "experiment_id", "dataset_id")
    }
    facts |= await segments.timing_summary(connection, lease.render_id)
    return AssembleRender(lease.render_id, RenderOptions.from_json(row["options"]), tuple(parts), facts)


async def _segment_command(
    connection: AsyncConnection, lease: Lease, assign_gpu: Callable[[RenderSegment, int], RenderSegment]
) -> Command | None:
    assert lease.render_id is not None and lease.number is not None
    plan, key = await queries.load_segment_plan(connection, lease.render_id, lease.number)
    made = await segments.find_entry(connection, key)
    if made is not None:
        metrics.SEGMENTS_REUSED.inc()
        await outcomes.complete_cached_segment(connection, lease, made["frames"])
        return None
    return assign_gpu(RenderSegment(plan, key), lease.starts)


def _indicates_device_fault(outcome: Outcome) -> bool:
    match outcome:
        case TaskFailed(code=code):
            return code in DEVICE_FAULT_CODES
        case SegmentDone(device_fallbacks=fallbacks):
            return any(code in DEVICE_FAULT_CODES for _, code in fallbacks)
        case _:
            return isinstance(outcome, EncoderUnavailable)


def _count_metrics(outcome: Outcome) -> None:
    if isinstance(outcome, SegmentDone):
        metrics.FRAMES_RENDERED.inc(outcome.frames)
        metrics.OBJECTS_FETCHED.inc(outcome.fetched_objects)
        metrics.BYTES_FETCHED.inc(outcome.fetched_bytes)
        metrics.BYTES_ENCODED.inc(outcome.size)
        for reason, frames in outcome.frame_outcomes.items():
            metrics.FALLBACKS.labels("decode", reason).inc(frames)
        for (stage, code), frames in outcome.device_fallbacks.items():
            metrics.FALLBACKS.labels(stage, code).inc(frames)
        for stage, seconds in outcome.stage_seconds.items():
            metrics.STAGE_SECONDS.labels(stage).inc(seconds)
