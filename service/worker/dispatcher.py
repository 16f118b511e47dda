"""Gives each free slot of a worker the next task, and runs it."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import TaskId
from service.jobs import leases
from service.jobs.fairness import Turns
from service.jobs.leases import Lease, TaskKind
from service.jobs.picker import Picked, Picker
from service.jobs.picking import Lane
from service.jobs.queue import WakeUpCall
from service.jobs.routing import Taker
from service.store.database import Database
from service.worker.slots.messages import AssembleRender, Command, Outcome, RenderSegment, TaskFailed
from service.worker.slots.pool import PoolClosed, SlotPool
from service.worker.slots.process import SlotProcess
from service.worker.task_runner import TaskRunner

log = structlog.get_logger("worker")
# After this a worker whose clock was refused tries once more.
CLOCK_REST_S = 30.0


# What a slot renders, roughly; for work that is only known when it is done.
MEGAPIXELS_A_SECOND = 50
# Joining segments is so much less work than rendering them.
ASSEMBLY_WORK = 0.02


def known_work(command: Command) -> float:
    """Megapixels that the slot will write; 0 if nobody knows how long the command takes."""
    match command:
        case RenderSegment(plan=plan):
            frames = len(plan.outputs()) if plan.options.grid else len(plan.frames)
            return frames * plan.options.width * plan.options.height / 1e6
        case AssembleRender(options=options, segments=segments):
            return ASSEMBLY_WORK * len(segments) * options.width * options.height / 1e6
    return 0.0


@dataclass(frozen=True, slots=True)
class Taken:
    """A task that this worker has taken for a slot; without a command it has ended already."""

    lane: Lane
    owner: str
    lease: Lease
    command: Command | None


class NotLoaded(Exception):
    """A task that was taken cannot be started, whatever the database says: its rows make no command."""

    def __init__(self, task: TaskId, reason: str) -> None:
        super().__init__(reason)
        self.task = task


class Dispatcher:
    """Takes tasks for the slots of one worker, fairly.

    Urgent tasks and those of renders take turns while both wait, so that neither keeps the other from the slots. Where
    there are several slots, one is left to renders, and scans have half of them.

    `trouble` says why the worker takes no tasks for a while; empty if it does. Where the object store refuses its
    clock, it would take one task after the other from workers that can do them.
    """

    def __init__(self, database: Database, slots: SlotPool, runner: TaskRunner, turns: Turns, worker: Taker) -> None:
        self._database, self._slots, self._runner, self._turns, self._worker = database, slots, runner, turns, worker
        self._wake_up = WakeUpCall(database.direct_url)
        self._picker = Picker(turns, self._wake_up)
        self._running: dict[asyncio.Task[None], Taken] = {}
        self._last_lane: Lane = "render"
        self._failing = False
        self._rests_until = 0.0
        self.trouble = ""

    async def run(self) -> None:
        """Run until the pool is closed. Returns when the running tasks have ended."""
        listening = asyncio.create_task(self._wake_up.run())
        try:
            with suppress(PoolClosed):
                while True:
                    if not await self._serve(await self._slots.take()):
                        await self._wake_up.wait()
            await asyncio.gather(*self._running, return_exceptions=True)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    def stop(self) -> None:
        """Take no more tasks."""
        self._slots.close()
        self._wake_up.ring()

    async def _serve(self, slot: SlotProcess) -> bool:
        """Give the slot a task, or give it back. False if there is none, or none can be taken at this moment."""
        taken = None
        try:
            if not slot.is_alive:
                await slot.start()
            if not self._rests():
                taken = await self._take(slot)
            self._failing = False
        except NotLoaded as failure:
            await self._postpone(failure)
        except Exception as error:  # whatever an unavailable database raises, and slots that do not start
            report = log.debug if self._failing else log.warning
            report("no task can be taken", reason=f"{type(error).__name__}: {error}")
            self._failing = True
        if taken is None or taken.command is None:
            await self._slots.give_back(slot)
            return taken is not None
        self._last_lane = taken.lane
        self._turns.start(taken.owner, known_work(taken.command), asyncio.get_running_loop().time())
        task = asyncio.create_task(self._run(slot, taken, taken.command))
        self._running[task] = taken
        task.add_done_callback(self._running.pop)
        return True

    def _rests(self) -> bool:
        return asyncio.get_running_loop().time() < self._rests_until

    def _note_clock(self, outcome: Outcome) -> None:
        if isinstance(outcome, TaskFailed) and outcome.code == "clock_skewed":
            if not self.trouble:
                log.error("the worker takes no tasks for a while", reason=outcome.reason)
            self.trouble, self._rests_until = outcome.reason, asyncio.get_running_loop().time() + CLOCK_REST_S
        elif not self._rests():
            self.trouble = ""

    async def _take(self, slot: SlotProcess) -> Taken | None:
        """Raises NotLoaded; then nothing is written."""
        taker = replace(self._worker, offers=self._runner.offers(slot))
        running = Counter(taken.owner for taken in self._running.values())
        now = asyncio.get_running_loop().time()
        async with self._database.service_transaction() as connection:
            picked = await self._picker.pick(connection, self._lanes(), taker, running, now)
            return None if picked is None else await self._load(connection, picked, slot)

    async def _load(self, connection: AsyncConnection, picked: Picked, slot: SlotProcess) -> Taken:
        lease = picked.lease
        try:
            return Taken(picked.lane, picked.owner, lease, await self._runner.load(connection, lease, slot))
        except (SQLAlchemyError, OSError):
            raise
        except Exception as error:
            raise NotLoaded(lease.task_id, f"{type(error).__name__}: {error}") from error

    def _lanes(self) -> Iterator[tuple[Lane, tuple[TaskKind, ...]]]:
        """The lanes to look at, the one whose turn it is first, and the kinds of tasks to leave there."""
        size = len(self._slots.processes)
        urgent = [taken.lease.kind for taken in self._running.values() if taken.lane == "urgent"]
        lanes: list[Lane] = ["render"]
        if len(urgent) < max(1, size - 1):
            lanes.insert(1 if self._last_lane == "urgent" else 0, "urgent")
        for lane in lanes:
            yield lane, ("scan",) if urgent.count("scan") >= max(1, size // 2) else ()

    async def _postpone(self, failure: NotLoaded) -> None:
        """The next task may be fine. The start counts: after the third the task has failed."""
        log.error("a task cannot be started", task=str(failure.task), reason=str(failure))
        error = {"code": "unexpected", "reason": str(failure)}
        try:
            async with self._database.service_transaction() as connection:
                await leases.postpone(connection, failure.task, error)
        except Exception as error_of_database:
            log.warning("it is not postponed", task=str(failure.task), reason=type(error_of_database).__name__)

    async def _run(self, slot: SlotProcess, taken: Taken, command: Command) -> None:
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            self._note_clock(await self._runner.run(slot, taken.lease, command))
        except Exception as error:
            log.exception("a task ended unexpectedly", task=str(taken.lease.task_id), reason=type(error).__name__)
        finally:
            if not known_work(command):
                self._turns.add(taken.owner, (clock() - started) * MEGAPIXELS_A_SECOND, clock())
            await self._slots.give_back(slot)
            if taken.lane == "urgent":  # others may have been left because so many of them were running
                self._wake_up.ring()
