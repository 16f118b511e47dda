"""What a supervisor says when it cannot do one of its regular jobs."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.store.database import Database
from service.store.settings import DatabaseSettings
from service.worker.periodic import run_periodically
from service.worker.settings import WorkerSettings
from service.worker.supervisor import Supervisor
from tests.support.processes.supervisor import NO_DEVICES, slot_config

pytestmark = pytest.mark.anyio
NOWHERE = "postgresql://nobody:nothing@127.0.0.1:1/none"


async def test_a_heartbeat_that_fails_is_logged(tmp_path: Path, log_lines: Callable[[], list[dict[str, Any]]]) -> None:
    database = Database(NOWHERE, DatabaseSettings.model_construct())
    settings = WorkerSettings.model_construct(slots=1)
    supervisor = Supervisor(database, slot_config(tmp_path), settings, devices=NO_DEVICES)
    beating = asyncio.create_task(run_periodically(supervisor.heartbeat))
    try:
        async with asyncio.timeout(5):
            while not log_lines():
                await asyncio.sleep(0.05)
    finally:
        beating.cancel()
        await database.close()
    line = log_lines()[0]
    assert (line["event"], line["level"], line["logger"]) == ("heartbeat failed", "warning", "worker")
    assert "ConnectionRefusedError" in line["reason"]
