"""Child processes lower the priority of themselves and of their session."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.child_process import AUTOGROUP, child_environment
from service.worker.slots.child import SLOT_NICENESS
from tests.support.patience import PATIENCE_S
from tests.support.processes.worker_process import slot_pids, worker_process
from tests.support.servers.databases import fresh_database

CHILD = """
import sys
from service.child_process import lower_priority
lower_priority(7)
print("here", flush=True)
sys.stdin.read()
"""


def niceness(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", CHILD]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=child_environment()
    ) as process:
        assert process.stdout.readline() == "here\n"
        yield process
        process.stdin.close()


def test_a_child_that_stands_back_is_nice_in_a_session_of_its_own(child: subprocess.Popen[str]) -> None:
    assert niceness(child.pid) == min(niceness(0) + 7, 19)
    assert os.getsid(child.pid) == child.pid


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel has no autogroup")
def test_its_session_is_as_nice_as_it_is_and_ours_is_another(child: subprocess.Popen[str]) -> None:
    name, _, nice = Path(f"/proc/{child.pid}/autogroup").read_text().split()
    assert nice == "7"
    assert name not in AUTOGROUP.read_text().split(), "a process of the root group reads an empty file"


def test_a_leader_of_a_process_group_stays_in_its_session() -> None:
    group = AUTOGROUP.read_text() if AUTOGROUP.exists() else ""
    script = "import os; os.setpgrp(); from service.child_process import lower_priority; lower_priority(3); print(os.getsid(0))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=child_environment(), check=True
    )
    assert int(done.stdout) == os.getsid(0)
    assert not group or AUTOGROUP.read_text() == group, "the others of the session are as nice as before"


@pytest.mark.anyio
async def test_slots_stand_back_and_their_worker_does_not(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        with worker_process(database.url, tmp_path) as worker:
            async with asyncio.timeout(PATIENCE_S):
                while not (pids := slot_pids(worker.pid)) or os.getsid(pids[0]) != pids[0]:
                    await asyncio.sleep(0.05)
            assert niceness(pids[0]) == min(niceness(0) + SLOT_NICENESS, 19)
            assert niceness(worker.pid) == niceness(0)
            assert os.getsid(worker.pid) == os.getsid(0)
