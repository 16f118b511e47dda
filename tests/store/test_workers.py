"""Rows of devices: those that a worker no longer lists are deleted, those of dead workers are not shown."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from service.store import workers
from tests.support.data.database_rows import capability_row, device_row
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def worker(server: str) -> AsyncIterator[tuple[AsyncConnection, UUID]]:
    async with fresh_database(server) as database, database.service_transaction() as connection:
        await workers.record_heartbeat(connection, number := uuid4(), "bench:1", 2, "0")
        yield connection, number


async def test_written_and_answered(postgres_url: str) -> None:
    async with worker(postgres_url) as (connection, number):
        await workers.write_devices(
            connection, number, [device_row("cpu", age=3)], [capability_row("cpu", age=7, rate=4.5)]
        )
        (row,) = await workers.list_devices(connection)
        assert (row["worker"], row["device"], row["facts"]["model"]) == ("bench:1", "cpu", "model of cpu")
        assert row["age"] == pytest.approx(3, abs=1)
        (told,) = row["capabilities"]
        assert told["age"] == pytest.approx(7, abs=1) and told["next"] == pytest.approx(10, abs=1)
        assert {name: told[name] for name in ("stage", "what", "state", "reason", "rate", "faults")} == {
            "stage": "decode",
            "what": "jpeg",
            "state": "ok",
            "reason": None,
            "rate": 4.5,
            "faults": 0,
        }


async def test_written_again(postgres_url: str) -> None:
    async with worker(postgres_url) as (connection, number):
        both = [device_row("cpu"), device_row("cuda:0")]
        await workers.write_devices(connection, number, both, [capability_row("cpu"), capability_row("cuda:0")])
        worse = capability_row("cpu", state="quarantined", reason="bad", age=None)
        await workers.write_devices(connection, number, both[:1], [worse])
        (row,) = await workers.list_devices(connection)
        (told,) = row["capabilities"]
        assert (told["state"], told["reason"], told["age"]) == ("quarantined", "bad", None)
        assert await workers.list_devices(connection, "cuda:0") == []


async def test_a_silent_worker_is_not_told_of(postgres_url: str) -> None:
    async with worker(postgres_url) as (connection, number):
        await workers.write_devices(connection, number, [device_row("cpu")], [capability_row("cpu")])
        await connection.execute(text("UPDATE workers SET heartbeat_at = now() - interval '16 seconds'"))
        assert await workers.list_devices(connection) == []
        assert await workers.best_capabilities(connection) == []
        assert await workers.summarize_devices(connection) == []


async def test_the_best_worker_counts_for_the_plan(postgres_url: str) -> None:
    async with worker(postgres_url) as (connection, number):
        await workers.record_heartbeat(connection, other := uuid4(), "bench:2", 2, "0")
        for which, state in ((number, "quarantined"), (other, "degraded")):
            told: dict[str, Any] = {"state": state, "reason": f"it is {state}", "rate": 2.0}
            await workers.write_devices(connection, which, [device_row("cuda:0")], [capability_row("cuda:0", **told)])
        (one,) = await workers.best_capabilities(connection)
        assert (one.state, one.reason, one.rate) == ("degraded", "it is degraded", 2.0)
        assert isinstance(one.proven_at, float)
        (count,) = await workers.summarize_devices(connection)
        assert (count["present"], count["capabilities"], count["faulty"]) == (2, 2, ["decode jpeg"])
        await workers.write_devices(connection, other, [device_row("cuda:0", absent="not installed")], [])
        (count,) = await workers.summarize_devices(connection)
        assert (count["present"], count["absent"]) == (1, False), "who has none does not share it"


async def test_without_the_workers_own_row_nothing_is_written(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database:
        with pytest.raises(IntegrityError):
            async with database.service_transaction() as connection:
                await workers.write_devices(connection, uuid4(), [device_row("cpu")], [])


GPUS = [device_row("cuda:0"), device_row("cuda:1")]


@pytest.mark.parametrize(
    ("slots", "devices", "most", "sharing"),
    [
        (8, GPUS, None, 4.0),
        (8, GPUS, 2, 2.0),
        (8, GPUS, 9, 4.0),
        (1, GPUS, None, 1.0),
        (8, [device_row("cuda:0"), device_row("cuda:1", absent="it is gone")], None, 8.0),
        (8, [device_row("cpu")], None, 1.0),
        (8, [], None, 1.0),
    ],
)
async def test_slots_that_share_a_gpu(
    postgres_url: str, slots: int, devices: list[Any], most: int | None, sharing: float
) -> None:
    async with worker(postgres_url) as (connection, _):
        await workers.record_heartbeat(connection, number := uuid4(), "gpu:1", slots, "0")
        await workers.update_facts(connection, number, {"gpu_slots": most})
        await workers.write_devices(connection, number, devices, [])
        assert await workers.count_slots_per_gpu(connection) == sharing, "the worker without GPUs does not count"


async def test_workers_that_come_back_together_do_not_wait_for_each_other(postgres_url: str) -> None:
    """After an outage that was longer than dead workers are kept; each of them would delete the others."""
    async with fresh_database(postgres_url) as database:
        ids = [uuid4(), uuid4()]
        async with database.service_transaction() as connection:
            for number in ids:
                await workers.record_heartbeat(connection, number, f"bench:{number}", 2, "0")
            await connection.execute(text("UPDATE workers SET heartbeat_at = now() - interval '1 hour'"))
        async with database.service_transaction() as one, database.service_transaction() as other:
            await one.execute(workers.UPSERT_WORKER, {"id": ids[0], "name": "a", "slots": 2, "version": "0"})
            await other.execute(text("SET LOCAL lock_timeout = '1s'"))
            await workers.record_heartbeat(other, ids[1], "b", 2, "0")
        async with database.service_transaction() as connection:
            assert await connection.scalar(text("SELECT count(*) FROM workers")) == 2
