"""The bounds of unfinished renders hold at any time and on every path, and refusals say when to come back."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from service.errors import QueueFull, ReelmillError, TooManyRequests
from service.ids import Subject
from service.jobs.throughput import LONGEST_S, MIN_SPAN_S, UNKNOWN_S
from service.plan.facts import RenderLimits
from service.store.database import Caller, Database
from service.store.renders import lifecycle, requesters
from service.store.renders.queue_bounds import COUNT_UNFINISHED, confirm_place, places_left, reserve_place
from service.store.renders.submission import RenderSubmission, submit_render
from tests.support.data.database_rows import OPTIONS, add_dataset, add_render, render_plan
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
LIMITS = RenderLimits.model_construct(max_queued=6, max_queued_total=8)


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=200), st.integers(1, 30), st.integers(1, 30)
)
def test_nobody_takes_all_places(steps: list[tuple[str, bool]], of_caller: int, of_all: int) -> None:
    """Callers submit, and renders end, in any order."""
    limits = RenderLimits.model_construct(max_queued=of_caller, max_queued_total=of_all)
    own: Counter[str] = Counter()
    for who, submits in steps:
        free = of_all - own.total()
        if not submits:
            own[who] -= own[who] > 0
        elif places_left(own[who], own.total(), limits):
            own[who] += 1
            assert own[who] <= free, "the k-th is accepted while k places are free"
        else:
            assert own[who] or not free, "whoever has none is refused only if all places are taken"
        assert own.total() <= of_all and own[who] <= of_caller


@given(st.integers(1, 500))
def test_one_caller_alone_takes_half(of_all: int) -> None:
    limits = RenderLimits.model_construct(max_queued=1000, max_queued_total=of_all)
    own = next(taken for taken in range(of_all + 1) if not places_left(taken, taken, limits))
    assert own == (of_all + 1) // 2


async def submit(database: Database, dataset: Any, who: str, step: int) -> ReelmillError | None:
    """What it is refused with."""
    try:
        async with database.service_transaction() as connection:
            plan = render_plan(dataset, step, OPTIONS)
            await submit_render(connection, RenderSubmission(plan, {}, Subject(who), LIMITS))
    except ReelmillError as refusal:
        return refusal
    return None


async def public_dataset(database: Database) -> Any:
    async with database.service_transaction() as connection:
        dataset = await add_dataset(connection, 60)
        await connection.execute(text("UPDATE experiments SET visibility = 'public'"))
    return dataset


async def unfinished(database: Database, who: str = "alice") -> tuple[int, int]:
    """Of all, and of this caller."""
    async with database.service_transaction() as connection:
        row = (await connection.execute(COUNT_UNFINISHED, {"subject": who})).one()
    return row.of_all, row.of_caller


async def test_simultaneous_submits_stay_within_the_bounds(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database:
        dataset = await public_dataset(database)
        alone = await asyncio.gather(*(submit(database, dataset, "alice", step) for step in range(1, 13)))
        assert await unfinished(database) == (4, 4), "half of them"
        assert all(isinstance(refusal, TooManyRequests) for refusal in alone if refusal)
        callers = [f"caller {number}" for number in range(8)]
        await asyncio.gather(*(submit(database, dataset, who, 20 + n) for n, who in enumerate(callers)))
        assert (await unfinished(database))[0] == LIMITS.max_queued_total
        refusal = await submit(database, dataset, "late", 40)
        assert isinstance(refusal, QueueFull) and refusal.headers["Retry-After"] == str(UNKNOWN_S)
        assert await submit(database, dataset, "late", 20) is None, "to join a render takes no place of all"


async def test_retries_stay_within_the_bounds(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database:
        dataset = await public_dataset(database)
        async with database.service_transaction() as connection:
            ended = [await add_render(connection, dataset, step) for step in range(1, 13)]
            for render in ended:
                await lifecycle.cancel_render(connection, render)

        async def retry(render: Any) -> None:
            caller = Caller(Subject("alice"))
            async with database.service_transaction() as connection:
                await requesters.lock_render(connection, caller, render)
                await reserve_place(connection, caller.subject, LIMITS)
                await lifecycle.retry_render(connection, render)
                await confirm_place(connection, caller.subject, LIMITS)

        await asyncio.gather(*(retry(render) for render in ended), return_exceptions=True)
        assert await unfinished(database) == (4, 4)


async def test_a_lost_file_takes_no_place(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database, database.service_transaction() as connection:
        render = await add_render(connection, await add_dataset(connection, 10))
        await connection.execute(text("UPDATE renders SET status = 'running'"))
        await connection.execute(text("UPDATE renders SET status = 'succeeded'"))
        assert await lifecycle.remake_render(connection, render, lifecycle.VIDEO_FILE, "gone")
        assert (await connection.execute(COUNT_UNFINISHED, {"subject": "alice"})).one() == (0, 0)


@pytest.mark.parametrize(
    ("frames", "seconds", "expected"),
    [(0, 0, UNKNOWN_S), (600, 60, 6), (600, 6000, UNKNOWN_S), (60, 1, MIN_SPAN_S), (1, 290, LONGEST_S)],
)
async def test_retry_after_is_measured(postgres_url: str, frames: int, seconds: float, expected: int) -> None:
    """Four renders of 60 frames each are unfinished; so many frames of another one were done within so many seconds."""
    async with fresh_database(postgres_url) as database:
        dataset = await public_dataset(database)
        for step in range(1, 5):
            await submit(database, dataset, "alice", step)
        async with database.service_transaction() as connection:
            earlier = await add_render(connection, await add_dataset(connection, 600))
            await connection.execute(text("UPDATE renders SET status = 'cancelled' WHERE id = :id"), {"id": earlier})
            await connection.execute(text("UPDATE renders SET frames_total = 60 WHERE status = 'queued'"))
            query = text("""
                UPDATE tasks SET state = 'running', started_at = now() WHERE render_id = :id AND number = 0
            """)
            await connection.execute(query, {"id": earlier})
            query = text("""
                UPDATE tasks SET state = 'succeeded', progress = :frames,
                    finished_at = now() - make_interval(secs => :seconds) WHERE render_id = :id AND number = 0
            """)
            if frames:
                await connection.execute(query, {"id": earlier, "frames": frames, "seconds": seconds})
        refusal = await submit(database, dataset, "alice", 5)
        assert isinstance(refusal, TooManyRequests)
        assert int(refusal.headers["Retry-After"]) == pytest.approx(expected, abs=1)
