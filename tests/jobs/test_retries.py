"""What becomes of a task after an attempt that did not succeed."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from service.ids import TaskId
from service.jobs import leases
from service.jobs.lease_keeper import LeaseKeeper
from service.jobs.retries import CLASSES, JITTER, KILLED, MAX_ATTEMPTS, UNDELIVERED, RetryClass, retry_class
from service.store.database import Database
from service.worker.slots.messages import TaskFailed
from service.worker.task_runner import TaskRunner
from tests.support.data.database_rows import add_dataset, add_render
from tests.support.servers.databases import fresh_database
from tests.support.source_code import ROOT

OPERATION = ROOT / "docs/operation.md"
INFRASTRUCTURE_CODES = (
    "store_unavailable",
    "store_full",
    "worker_stopped",
    "worker_lost",
    "clock_skewed",
    "scratch_full",
)


@given(st.sampled_from(sorted(CLASSES)), st.integers(1, 7))
def test_gaps_grow_and_differ_by_chance(code: str, attempt: int) -> None:
    kind = CLASSES[code]
    attempt = min(attempt, len(kind.gaps_s) or attempt)
    steady = kind.gaps_s[attempt - 1] if kind.gaps_s else min(kind.first_s * 2 ** (attempt - 1), kind.longest_s)
    gaps = {kind.gap_s(attempt) for _ in range(20)}
    assert len(gaps) > 1 and all(gap and abs(gap - steady) <= JITTER * steady for gap in gaps)


def test_there_is_an_end_of_gaps_where_they_are_listed() -> None:
    assert UNDELIVERED.gap_s(len(UNDELIVERED.gaps_s) + 1) is None
    assert RetryClass().gap_s(10_000) is not None


def test_an_unknown_code_is_the_fault_of_the_task() -> None:
    assert retry_class("never heard of").is_strike


@pytest.mark.parametrize("code", INFRASTRUCTURE_CODES)
def test_what_the_infrastructure_ends_is_no_strike_however_often(code: str) -> None:
    assert not retry_class(code).is_strike and retry_class(code).most is None


def test_the_table_for_operators_has_every_code() -> None:
    rows = re.findall(r"^\| (`[a-z_]+`(?:, `[a-z_]+`)*) \| (no|yes)", OPERATION.read_text(), re.MULTILINE)
    told = {code: strike == "yes" for codes, strike in rows for code in re.findall(r"[a-z_]+", codes)}
    assert told == {code: kind.is_strike for code, kind in CLASSES.items()}


async def fail(database: Database, task: TaskId, code: str) -> Any:
    """Take the task, and end the attempt with this code; the row of the task."""
    runner = TaskRunner(database, LeaseKeeper(database.service_transaction), None, 60)  # type: ignore[arg-type]
    async with database.service_transaction() as connection:
        lease = await leases.acquire(connection, task, "w")
    assert lease is not None
    await runner._requeue(lease, TaskFailed(code, "on purpose", retry=True))
    async with database.service_transaction() as connection:
        query = text("SELECT state, starts, error, due_at - now() AS gap FROM tasks WHERE id = :id")
        return (await connection.execute(query, {"id": task})).one()


@pytest.mark.anyio
async def test_only_strikes_end_a_task(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            await add_render(connection, await add_dataset(connection, 10))
            task = TaskId(await connection.scalar(text("SELECT id FROM tasks")))
        for code in INFRASTRUCTURE_CODES * 3:
            row = await fail(database, task, code)
            assert (row.state, row.starts) == ("queued", 0), code
        assert row.gap.total_seconds() > 7, "the gaps have grown"
        for number in range(1, MAX_ATTEMPTS):
            row = await fail(database, task, "unexpected")
            assert (row.state, row.starts) == ("queued", number)
        row = await fail(database, task, "unexpected")
        assert (row.state, row.error["code"]) == ("failed", "poison")


@pytest.mark.anyio
async def test_a_slot_that_is_killed_again_and_again_is_no_chance(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            await add_render(connection, await add_dataset(connection, 10))
            task = TaskId(await connection.scalar(text("SELECT id FROM tasks")))
        assert KILLED.most is not None
        states = [(await fail(database, task, "slot_killed")).state for _ in range(KILLED.most)]
        assert states == ["queued"] * (KILLED.most - 1) + ["failed"]
