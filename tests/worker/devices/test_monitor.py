"""A worker, its canaries in real processes, and renders meanwhile: faults are noticed, shown, and over by
themselves.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from service.devices.device import Device
from service.ids import new_uuid
from service.plan.capability import CPU
from service.store import workers
from service.store.database import Database
from service.worker.devices.canaries import DeviceSource
from service.worker.devices.monitor import DeviceMonitor
from service.worker.settings import WorkerSettings
from service.worker.supervisor import Supervisor
from tests.support.data.database_rows import OPTIONS, add_render
from tests.support.data.footage import add_footage
from tests.support.doubles.canaries import GPU, ORDERS_VARIABLE, canaries, device_source
from tests.support.processes.supervisor import running_supervisor, wait_until_ended
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
# Generous: the machine may be busy.
DEADLINE_S = 60
SHORT_INTERVALS: dict[str, Any] = {"canary_period_s": 0.5, "cpu_canary_period_s": 0.5, "canary_timeout_s": 2.0}
Order = Callable[[str], int]


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Order:
    monkeypatch.setenv(ORDERS_VARIABLE, str(tmp_path / "orders"))
    (tmp_path / "orders").write_text("right")
    return (tmp_path / "orders").write_text


@asynccontextmanager
async def running_worker(server: str, home: Path, **settings: Any) -> AsyncIterator[tuple[Database, Supervisor]]:
    async with (
        fresh_database(server) as database,
        running_supervisor(database, home, devices=device_source(), **(SHORT_INTERVALS | settings)) as supervisor,
    ):
        yield database, supervisor


async def capabilities_by_stage(database: Database) -> dict[str, Any]:
    """Stage -> what the database says of the GPU's capability."""
    async with database.service_transaction() as connection:
        rows = await workers.list_devices(connection, GPU)
    return {one["stage"]: one for row in rows for one in row["capabilities"]}


async def wait_for_state(database: Database, state: str) -> dict[str, Any]:
    """The rows, when the ordered canary's capability is in this state."""
    async with asyncio.timeout(DEADLINE_S):
        while (rows := await capabilities_by_stage(database)).get("decode", {"state": None})["state"] != state:
            await asyncio.sleep(0.05)
    return rows


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("wrong", "wrong output: "),
        ("hang", "a hang: no answer within 2 s"),
        ("segfault", "its process ended by SIGSEGV"),
    ],
)
async def test_a_fault_is_noticed_and_over_by_itself(
    postgres_url: str, tmp_path: Path, order: Order, fault: str, reason: str
) -> None:
    async with running_worker(postgres_url, tmp_path) as (database, supervisor):
        proven = await wait_for_state(database, "ok")
        assert proven["decode"]["rate"] == 100 and proven["decode"]["reason"] is None
        order(fault)
        broken = await wait_for_state(database, "quarantined")
        assert broken["decode"]["reason"].startswith(reason)
        assert broken["transform"]["state"] == "ok", "what works is not taken away"
        async with database.service_transaction() as connection:
            render = await add_render(connection, await add_footage(connection, tmp_path, 12))
        row = await wait_until_ended(database, render)
        assert (row["status"], row["video_frames"]) == ("succeeded", 12), row["error"]
        capabilities = {one.stage: one for one in supervisor.devices.capabilities()}
        assert not capabilities["decode"].usable and capabilities["transform"].usable, "slots know"
        order("right")
        mended = await wait_for_state(database, "ok")
        assert mended["decode"]["reason"] is None


async def test_a_slot_that_dies_makes_everything_suspect(postgres_url: str, tmp_path: Path, order: Order) -> None:
    """The next look would be in an hour."""
    async with running_worker(postgres_url, tmp_path, canary_period_s=3600) as (database, supervisor):
        await wait_for_state(database, "ok")
        order("wrong")
        async with database.service_transaction() as connection:
            footage = await add_footage(connection, tmp_path, 240)
            render = await add_render(connection, footage, options=replace(OPTIONS, width=1280, height=960))
        (slot,) = supervisor.slots.processes
        async with asyncio.timeout(DEADLINE_S):
            while not slot.progress:
                await asyncio.sleep(0.02)
        assert slot.pid is not None
        os.kill(slot.pid, signal.SIGKILL)
        await wait_for_state(database, "quarantined")
        assert (await wait_until_ended(database, render))["status"] == "succeeded"


async def test_the_cpu_is_tested_when_a_slot_is_free(postgres_url: str, order: Order) -> None:
    """The CPU would be first."""
    both = DeviceSource((lambda: [Device(CPU, "cpu"), Device(GPU, "gpu")],), canaries)
    busy = asyncio.Event()
    busy.set()
    async with fresh_database(postgres_url) as database:
        monitor = DeviceMonitor(database, new_uuid(), WorkerSettings(), both, busy.is_set)
        running = asyncio.create_task(monitor.run())
        try:
            await wait_until_proven(monitor, GPU)
            assert {one.state for one in monitor.capabilities() if one.device == CPU} == {"unknown"}
            busy.clear()
            await wait_until_proven(monitor, CPU)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def wait_until_proven(monitor: DeviceMonitor, device: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while {one.state for one in monitor.capabilities() if one.device == device} != {"ok"}:
            await asyncio.sleep(0.02)


async def test_rows_go_with_their_worker(postgres_url: str, tmp_path: Path, order: Order) -> None:
    async with fresh_database(postgres_url) as database:
        async with running_supervisor(database, tmp_path, devices=device_source(), **SHORT_INTERVALS):
            await wait_for_state(database, "ok")
        async with database.service_transaction() as connection:
            left = await connection.scalar(text("SELECT count(*) FROM capabilities"))
        assert left == 0
