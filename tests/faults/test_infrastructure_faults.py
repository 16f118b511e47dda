"""What the infrastructure ends is not the fault of the task that ran meanwhile."""

import asyncio
import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import text

from service.jobs.retries import KILLED, MAX_ATTEMPTS
from tests.faults.interrupted_renders import VERY_SLOW, submit
from tests.support.processes.supervisor import wait_for_status, wait_until_ended
from tests.support.processes.worker_process import object_pids, slot_pids, worker_process
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("what", ["slot", "object process", "worker", "stopped worker"])
async def test_what_the_infrastructure_ends_is_no_strike(postgres_url: str, tmp_path: Path, what: str) -> None:
    """More often than a task may fail by its own fault, and always during the same segment."""
    async with fresh_database(postgres_url) as database:
        render = await submit(database, tmp_path, 60, VERY_SLOW)
        stack = ExitStack()
        with stack:
            worker = stack.enter_context(worker_process(database.url, tmp_path, REELMILL_SHUTDOWN_TIMEOUT="0"))
            for attempt in range(1, MAX_ATTEMPTS + 2):
                await wait_for_status(database, render, lambda row, n=attempt: row["attempts"] == n)  # type: ignore[misc]
                await asyncio.sleep(0.2)
                if what in ("slot", "object process"):
                    pids = slot_pids if what == "slot" else object_pids
                    os.kill(pids(worker.pid)[0], signal.SIGKILL)
                    continue
                worker.send_signal(signal.SIGKILL if what == "worker" else signal.SIGTERM)
                await asyncio.to_thread(worker.wait, 30)
                worker = stack.enter_context(worker_process(database.url, tmp_path, REELMILL_SHUTDOWN_TIMEOUT="0"))
            row = await wait_until_ended(database, render)
        codes = {
            "object process": "store_unavailable",
            "slot": "slot_killed",
            "worker": "worker_lost",
            "stopped worker": "worker_stopped",
        }
        assert row["status"] == "succeeded", row["error"]
        assert [failed["code"] for failed in row["failed_attempts"]] == [codes[what]] * (MAX_ATTEMPTS + 1)


async def test_an_object_process_that_hangs_is_replaced(postgres_url: str, tmp_path: Path) -> None:
    """Its codec process waits for frames, and is not taken for one that hangs at a frame."""
    async with fresh_database(postgres_url) as database:
        render = await submit(database, tmp_path, 60, VERY_SLOW)
        with worker_process(database.url, tmp_path) as worker:
            await wait_for_status(database, render, lambda row: row["frames_done"] > 0)  # it has started
            (hung,) = object_pids(worker.pid)
            os.kill(hung, signal.SIGSTOP)
            row = await wait_until_ended(database, render)
        assert row["status"] == "succeeded", row["error"]
        assert [failed["code"] for failed in row["failed_attempts"]] == ["store_unavailable"]


async def test_a_slot_that_is_killed_whenever_it_takes_a_task_is_given_up(postgres_url: str, tmp_path: Path) -> None:
    """As by the kernel for the memory that the task needs."""
    async with fresh_database(postgres_url) as database:
        render = await submit(database, tmp_path, 60, VERY_SLOW)
        async with database.service_transaction() as connection:
            query = """INSERT INTO attempts (task_id, render_id, kind, code, reason, counted)
                SELECT id, render_id, kind, 'slot_killed', 'SIGKILL', false FROM tasks, generate_series(2, :times)"""
            await connection.execute(text(query), {"times": KILLED.most})
            await connection.execute(text("UPDATE tasks SET lease = :times"), {"times": KILLED.most})
        with worker_process(database.url, tmp_path) as worker:
            await wait_for_status(database, render, lambda row: row["attempts"] == KILLED.most)
            await asyncio.sleep(0.2)
            os.kill(slot_pids(worker.pid)[0], signal.SIGKILL)
            row = await wait_until_ended(database, render)
        assert (row["status"], row["error"]["code"]) == ("failed", "poison")
