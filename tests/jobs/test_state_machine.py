"""Renders and their tasks under anything that callers, workers and outages do, in any order, on a real database.

After every step the invariants of `store.renders.invariants` hold. The database itself refuses a change of state that
its table of transitions does not have."""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import ReelmillError
from service.ids import Subject
from service.jobs import leases, picking, queue
from service.jobs.leases import AssembleLease, Failure, Lease, LeaseLost, SegmentLease
from service.jobs.routing import Taker
from service.plan.facts import RenderLimits
from service.store import dead_letters, deletion
from service.store.database import Caller, Database
from service.store.renders import invariants, lifecycle, queries, requesters
from service.store.renders.queries import VIDEO_FILE
from service.store.renders.queue_bounds import COUNT_UNFINISHED, confirm_place, reserve_place
from service.store.renders.submission import RenderSubmission, submit_render
from service.store.source_rules import SourceRules
from service.worker import outcomes
from service.worker.commands import load_command
from service.worker.slots.messages import (
    AssemblyDone,
    RenderSegment,
    SegmentDone,
    SegmentsMissing,
    TaskCancelled,
    TaskFailed,
)
from tests.support.data.database_rows import OPTIONS, add_dataset, render_plan
from tests.support.servers.databases import fresh_database, until_workers_can_be_lost

CALLERS = st.sampled_from(("alice", "bob", "carol"))
# Steps per example and examples; `make test` is for faults that are not rare.
STEPS = int(os.environ.get("REELMILL_STATEFUL_STEPS", "40"))
EXAMPLES = int(os.environ.get("REELMILL_STATEFUL_EXAMPLES", "12"))
if STEPS * EXAMPLES > 10_000:  # hours are meant then
    pytestmark = pytest.mark.timeout(0)
LIMITS = RenderLimits.model_construct(max_queued=4, max_queued_total=6)
WHICH = st.integers(0, 99)


class OnPurpose(Exception):
    """An outage: the transaction is rolled back."""


class Service(RuleBasedStateMachine):
    """The model keeps only what the workers hold; everything else is asked of the database."""

    database: Database
    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Lease] = []
        self.keys: dict[Any, str] = {}
        self.in_one_transaction(self._reset)

    async def _reset(self, connection: AsyncConnection) -> None:
        await connection.execute(text("TRUNCATE experiments, tasks, segment_cache, removals CASCADE"))
        self.dataset = await add_dataset(connection, 160)
        await connection.execute(text("UPDATE experiments SET visibility = 'public'"))

    def in_one_transaction(self, work: Callable[[AsyncConnection], Awaitable[Any]]) -> Any:
        """Do it as the service does; what it refuses is refused, and nothing else may be raised."""

        async def run() -> Any:
            try:
                async with self.database.service_transaction() as connection:
                    return await work(connection)
            except (ReelmillError, LeaseLost, OnPurpose):
                return None

        return self.runner.run(run())

    def pick(self, which: int, condition: str = "true") -> Any:
        async def select(connection: AsyncConnection) -> Any:
            rows = await connection.execute(text(f"SELECT * FROM renders WHERE {condition} ORDER BY created_at, id"))
            found = rows.mappings().all()
            return found[which % len(found)] if found else None

        return self.in_one_transaction(select)

    @rule(who=CALLERS, step=st.integers(1, 6), priority=st.integers(0, 9), outage=st.booleans())
    def submit(self, who: str, step: int, priority: int, outage: bool) -> None:
        async def work(connection: AsyncConnection) -> None:
            plan = render_plan(self.dataset, step, OPTIONS)
            await submit_render(connection, RenderSubmission(plan, {}, Subject(who), LIMITS))
            if outage:
                raise OnPurpose

        self.in_one_transaction(work)

    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        if render := self.pick(which):
            self.in_one_transaction(lambda connection: self._as_owner(connection, render, lifecycle.cancel_render))

    @rule(who=CALLERS, which=WHICH)
    def retry(self, who: str, which: int) -> None:
        if render := self.pick(which):
            self.in_one_transaction(lambda connection: self._retry(connection, who, render["id"]))

    async def _retry(self, connection: AsyncConnection, who: str, render: Any) -> None:
        caller = Caller(Subject(who), admin=True)
        standing = await requesters.lock_render(connection, caller, render)
        if standing.render["status"] in ("failed", "cancelled"):
            await reserve_place(connection, caller.subject, LIMITS)
            await requesters.add_requester(connection, render, caller, 0)
            await lifecycle.retry_render(connection, render)
            await confirm_place(connection, caller.subject, LIMITS)

    @rule(who=CALLERS, which=WHICH, dismisses=st.booleans(), outage=st.booleans())
    def settle_a_dead_letter(self, who: str, which: int, dismisses: bool, outage: bool) -> None:
        async def work(connection: AsyncConnection) -> None:
            dead = "SELECT id, render_id FROM tasks WHERE state = 'failed' AND dismissed_at IS NULL ORDER BY id"
            letters = (await connection.execute(text(dead))).all()
            if not letters:
                return
            letter = letters[which % len(letters)]
            render = await queries.get_render(connection, letter.render_id)
            assert render is not None
            if dismisses:
                assert await dead_letters.dismiss(connection, letter.id, Subject(who))
            elif render["status"] == "succeeded":
                await requesters.lock_render(connection, Caller(Subject(who), admin=True), render["id"])
                urgent = "SELECT lane = 'urgent' FROM tasks WHERE id = :id"
                if await connection.scalar(text(urgent), {"id": letter.id}):
                    assert await dead_letters.requeue(connection, letter.id)
            else:
                await self._retry(connection, who, render["id"])
            if outage:
                raise OnPurpose

        self.in_one_transaction(work)

    @rule(which=WHICH)
    def remake(self, which: int) -> None:
        async def work(connection: AsyncConnection) -> None:
            await connection.execute(text("UPDATE renders SET remade_at = NULL"))
            await lifecycle.remake_render(connection, render["id"], VIDEO_FILE, "gone")

        if render := self.pick(which, "status = 'succeeded'"):
            self.in_one_transaction(work)

    @rule(which=WHICH)
    def delete(self, which: int) -> None:
        async def work(connection: AsyncConnection) -> None:
            plan = await deletion.lock_for_deletion(connection, "render", render["id"], "reelmill")
            await deletion.execute_deletion(connection, plan, force=True)

        if which % 4 == 0 and (render := self.pick(which)):
            self.in_one_transaction(work)

    @rule(which=WHICH)
    def play_a_damaged_segment(self, which: int) -> None:
        async def work(connection: AsyncConnection) -> None:
            await connection.execute(text("UPDATE segment_cache SET created_at = now() - interval '1 hour'"))
            query = text("SELECT content_key FROM segments WHERE render_id = :id ORDER BY number LIMIT 1")
            key = await connection.scalar(query, {"id": render["id"]})
            await lifecycle.rerender_segment(connection, render["id"], key)

        if render := self.pick(which, "status = 'succeeded'"):
            self.in_one_transaction(work)

    async def _as_owner(self, connection: AsyncConnection, render: Any, change: Callable[..., Awaitable[Any]]) -> None:
        await requesters.lock_render(connection, Caller(Subject("root"), admin=True), render["id"])
        await change(connection, render["id"])

    @rule(lane=st.sampled_from(("render", "urgent")), outage=st.booleans())
    def take(self, lane: Any, outage: bool) -> None:
        async def work(connection: AsyncConnection) -> None:
            for candidate in await picking.list_candidates(connection, lane):
                lease = await picking.take(connection, candidate, Taker("w"))
                assert lease is not None
                command = await load_command(connection, lease, SourceRules("reelmill"))
                if outage:
                    raise OnPurpose
                if isinstance(command, RenderSegment):
                    self.keys[lease.task_id] = command.content_key
                if command is not None:
                    taken.append(lease)
                return

        taken: list[Lease] = []
        self.in_one_transaction(work)
        self.held += taken

    @precondition(lambda self: self.held)
    @rule(which=WHICH, outage=st.booleans(), transient=st.booleans())
    def finish(self, which: int, outage: bool, transient: bool) -> None:
        self._succeed(self.held[which % len(self.held)], outage=outage, transient=transient)

    def _succeed(self, lease: Lease, *, outage: bool = False, transient: bool = False) -> None:
        if isinstance(lease, SegmentLease):
            key = hashlib.sha256(str(lease).encode()).hexdigest() if transient else self.keys[lease.task_id]
            self._end(lease, SegmentDone(10, 5, "x264", {}, 5, 50, {}, key, transient=transient), outage)
        else:
            self._end(
                lease, AssemblyDone("v", 10, "0" * 64, 5, "p", "r", {}, digests={}, etag="e", stored_bytes=10), outage
            )

    @precondition(lambda self: self.held)
    @rule(which=WHICH, retry=st.booleans(), outage=st.booleans())
    def fail(self, which: int, retry: bool, outage: bool) -> None:
        lease = self.held[which % len(self.held)]
        if not retry:
            self._end(lease, TaskFailed("x", "on purpose"), outage)
            return
        self.held.remove(lease)
        self.in_one_transaction(lambda connection: leases.release(connection, lease, Failure("x", "on purpose")))

    @precondition(lambda self: self.held)
    @rule(which=WHICH)
    def lose_segments(self, which: int) -> None:
        async def keys(connection: AsyncConnection) -> list[str]:
            query = text("SELECT content_key FROM segments WHERE render_id = :id")
            return list(await connection.scalars(query, {"id": lease.render_id}))  # type: ignore[attr-defined]

        lease = self.held[which % len(self.held)]
        if isinstance(lease, AssembleLease):
            self._end(lease, SegmentsMissing((), evicted=tuple(self.in_one_transaction(keys) or ())), False)

    @precondition(lambda self: self.held)
    @rule()
    def notice_cancels(self) -> None:
        kept = self.in_one_transaction(
            lambda connection: leases.heartbeat(connection, [(lease, 1) for lease in self.held])
        )
        for lease in list(self.held):
            if kept.get(lease.task_id):
                self._end(lease, TaskCancelled(), False)

    @precondition(lambda self: self.held)
    @rule(which=WHICH, frozen=st.booleans())
    def lose_a_worker(self, which: int, frozen: bool) -> None:
        """A frozen one goes on later, with a lease that is void."""

        async def work(connection: AsyncConnection) -> None:
            query = text("UPDATE tasks SET heartbeat_at = now() - interval '1 minute' WHERE id = :id")
            await connection.execute(query, {"id": lease.task_id})
            await queue.release_lost_tasks(connection)

        lease = self.held[which % len(self.held)]
        if not frozen:
            self.held.remove(lease)
        self.in_one_transaction(work)

    def _end(self, lease: Lease, outcome: Any, outage: bool) -> None:
        async def work(connection: AsyncConnection) -> None:
            await outcomes.record_outcome(connection, lease, outcome)
            if outage:
                raise OnPurpose

        if not outage:
            self.held.remove(lease)
        self.in_one_transaction(work)

    @invariant()
    def nothing_is_broken(self) -> None:
        async def check(connection: AsyncConnection) -> None:
            assert await invariants.broken(connection) == {}
            twice = """SELECT count(*) FROM (SELECT FROM tasks WHERE state IN ('queued', 'running')
                GROUP BY render_id, kind, number HAVING count(*) > 1) found"""
            assert await connection.scalar(text(twice)) == 0, "nothing is queued twice"
            for who in ("alice", "bob", "carol"):
                unfinished = (await connection.execute(COUNT_UNFINISHED, {"subject": who})).one()
                assert unfinished.of_all <= LIMITS.max_queued_total and unfinished.of_caller <= LIMITS.max_queued

        self.in_one_transaction(check)

    def teardown(self) -> None:
        """Whatever happened: a worker that goes on ends everything that was accepted."""
        self.held.clear()

        async def forget_workers(connection: AsyncConnection) -> None:
            await connection.execute(
                text("UPDATE tasks SET heartbeat_at = now() - interval '1 minute', due_at = now()")
            )
            await queue.release_lost_tasks(connection)

        self.in_one_transaction(forget_workers)
        unfinished = "status IN ('queued', 'running')"
        for _ in range(200):
            for lane in ("render", "urgent"):
                self.take(lane, False)
            for lease in list(self.held):
                self._succeed(lease)
            if self.pick(0, unfinished) is None:
                return
        assert self.pick(0, unfinished) is None, "an accepted render never ends"


@pytest.fixture
def service(postgres_url: str) -> Iterator[type[Service]]:
    with asyncio.Runner() as runner:
        opened = fresh_database(postgres_url)

        class Bound(Service):
            database = runner.run(opened.__aenter__())

        Bound.runner = runner
        runner.run(until_workers_can_be_lost(Bound.database))
        yield Bound
        runner.run(opened.__aexit__(None, None, None))


def test_renders_and_tasks_fit_together_whatever_happens(service: type[Service]) -> None:
    run_state_machine_as_test(
        service,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_database_refuses_other_transitions(service: type[Service]) -> None:
    from sqlalchemy.exc import IntegrityError

    machine = service()
    machine.submit("alice", 1, 0, False)

    async def jump(connection: AsyncConnection) -> None:
        await connection.execute(text("UPDATE tasks SET state = 'succeeded'"))

    with pytest.raises(IntegrityError, match="a task does not go from queued to succeeded"):
        machine.in_one_transaction(jump)
