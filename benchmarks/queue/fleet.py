"""Simulated workers: they take, keep and finish tasks with the statements of real ones, but render nothing.

Time is simulated. What happens when, and so how many heartbeats there are for each task, is as in a real fleet; it
happens as fast as the database allows."""

import asyncio
import heapq
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from uuid import UUID

from service.ids import new_uuid
from service.jobs import leases
from service.jobs.fairness import Turns
from service.jobs.leases import Lease, SegmentLease
from service.jobs.picker import Picker
from service.jobs.picking import Lane
from service.jobs.queue import WakeUpCall
from service.jobs.routing import Taker
from service.plan.render_plan import PIPELINE_VERSION
from service.store import workers
from service.store.database import Database
from service.store.source_rules import parse_sources
from service.worker import outcomes
from service.worker.commands import load_command
from service.worker.dispatcher import known_work
from service.worker.slots.messages import Command, RenderSegment, SegmentDone

# What a slot needs for a segment of 75 frames of 1080p h264: docs/performance.md.
SEGMENT_S = 3.0
HEARTBEAT_S, REGISTER_S = 1.0, 3.0
SLOTS = 8
# Transactions that are open at the same time; about as many as a fleet of this pace has.
PARALLEL = 4
RULES = parse_sources("", "reelmill")


@dataclass(slots=True)
class SimulatedWorker:
    name: str
    picker: Picker
    turns: Turns
    held: dict[Lease, Command | None] = field(default_factory=dict)
    owners: dict[Lease, str] = field(default_factory=dict)
    last_lane: Lane = "render"
    id: UUID = field(default_factory=new_uuid)


# When it is due, a number that no other one has, what is due, whose it is, and of which task.
_Event = tuple[float, int, str, SimulatedWorker, Lease | None]


@dataclass(slots=True)
class Measured:
    """Seconds of each pick-up, from the first statement to the commit; counts of all that was done."""

    picks_s: list[float] = field(default_factory=list)
    finishes_s: list[float] = field(default_factory=list)
    missed: int = 0
    heartbeats: int = 0
    simulated_s: float = 0.0


class SimulatedFleet:
    """So many workers on one database, through one pool of PARALLEL connections."""

    def __init__(self, database: Database, workers: int, seed: int = 1) -> None:
        self._database, self._random = database, random.Random(seed)
        self._wake_up = WakeUpCall(database.direct_url)
        self._workers = [self._worker(f"simulated-{number}") for number in range(workers)]
        self._limit = asyncio.Semaphore(PARALLEL)
        self._order = count()
        self._events: list[_Event] = []

    def _worker(self, name: str) -> SimulatedWorker:
        """All workers listen through one connection: what it costs to notify 200 is not measured."""
        turns = Turns()
        return SimulatedWorker(name, Picker(turns, self._wake_up), turns)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Workers are told when something is queued."""
        task = asyncio.create_task(self._wake_up.run())
        try:
            await self._wake_up.wait(10)
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def fill(self) -> None:
        """Every slot takes a task, at different times before the beginning."""
        found = Measured()
        slots = [worker for worker in self._workers for _ in range(SLOTS)]
        await self._together(self._take(worker, -self._random.uniform(0, SEGMENT_S * 0.7), found) for worker in slots)
        for worker in self._workers:
            self._push(self._random.uniform(0, HEARTBEAT_S), "beat", worker)
            self._push(self._random.uniform(0, REGISTER_S), "register", worker)

    async def beat(self) -> None:
        """A heartbeat of every worker: where time is slower than simulated, leases look old meanwhile."""
        await self._together(self._beat(worker) for worker in self._workers)

    async def run(self, tasks: int) -> Measured:
        """Until so many tasks were finished, and as many taken."""
        found, start = Measured(), self._events[0][0]
        while len(found.finishes_s) < tasks:
            batch = [heapq.heappop(self._events) for _ in range(PARALLEL)]
            await self._together(self._happen(event, found) for event in batch)
            found.simulated_s = batch[-1][0] - start
        return found

    async def _together(self, work: "Iterator[object]") -> None:
        async def limited(one: object) -> None:
            async with self._limit:
                await one  # type: ignore[misc]

        await asyncio.gather(*map(limited, work))

    def _push(self, at: float, what: str, worker: SimulatedWorker, lease: Lease | None = None) -> None:
        heapq.heappush(self._events, (at, next(self._order), what, worker, lease))

    async def _happen(self, event: _Event, found: Measured) -> None:
        at, _, what, worker, lease = event
        if what == "beat":
            await self._beat(worker)
            found.heartbeats += 1
            self._push(at + HEARTBEAT_S, what, worker)
        elif what == "register":
            await self._register(worker)
            self._push(at + REGISTER_S, what, worker)
        else:
            if lease is not None:
                await self._finish(worker, lease, found)
            await self._take(worker, at, found)

    async def _take(self, worker: SimulatedWorker, at: float, found: Measured) -> None:
        """As `Dispatcher._take`: the urgent tasks and those of renders in turn, then the command."""
        started = time.perf_counter()
        taken = await self._pick(worker, at)
        found.picks_s.append(time.perf_counter() - started)
        if taken is None:
            found.missed += 1
            self._push(at + HEARTBEAT_S, "take", worker)
            return
        lease, owner, command = taken
        worker.held[lease], worker.owners[lease] = command, owner
        if command is not None:
            worker.turns.start(owner, known_work(command), at)
        self._push(at + SEGMENT_S * self._random.uniform(0.7, 1.3), "finish", worker, lease)

    async def _pick(self, worker: SimulatedWorker, at: float) -> tuple[Lease, str, Command | None] | None:
        lanes: tuple[Lane, ...] = ("urgent", "render") if worker.last_lane == "render" else ("render", "urgent")
        running = Counter(worker.owners[lease] for lease in worker.held)
        async with self._database.service_transaction() as connection:
            looked_at = ((lane, ()) for lane in lanes)
            picked = await worker.picker.pick(connection, looked_at, Taker(worker.name, worker.id), running, at)
            if picked is None:
                return None
            worker.last_lane = picked.lane
            return picked.lease, picked.owner, await load_command(connection, picked.lease, RULES)

    async def _finish(self, worker: SimulatedWorker, lease: Lease, found: Measured) -> None:
        command = worker.held.pop(lease)
        del worker.owners[lease]
        started = time.perf_counter()
        async with self._database.service_transaction() as connection:
            if isinstance(lease, SegmentLease) and isinstance(command, RenderSegment):
                await outcomes.record_outcome(connection, lease, _segment_done(command))
            else:
                await leases.finish(connection, lease, "succeeded")
        found.finishes_s.append(time.perf_counter() - started)

    async def _beat(self, worker: SimulatedWorker) -> None:
        if worker.held:
            async with self._database.service_transaction() as connection:
                await leases.heartbeat(connection, [(lease, 10) for lease in list(worker.held)])

    async def _register(self, worker: SimulatedWorker) -> None:
        async with self._database.service_transaction() as connection:
            await workers.record_heartbeat(connection, worker.id, worker.name, SLOTS, "simulated")
            await workers.update_facts(connection, worker.id, {"pipeline": int(PIPELINE_VERSION), "figures": []})


def _segment_done(command: RenderSegment) -> SegmentDone:
    seconds = {"fetch": 0.1, "decode": 0.4, "transform": 0.2, "encode": 2.0}
    digests = {"mp4": "0" * 64, "ndjson": "0" * 64}
    return SegmentDone(2_000_000, 75, "libx264", seconds, 75, 15_750_000, {}, command.content_key, digests=digests)
