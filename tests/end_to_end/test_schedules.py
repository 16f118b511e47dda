"""A schedule whose time has come makes a video, in the whole service."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from service.embedded.postgres import EmbeddedPostgres
from service.store.database import Database
from service.store.settings import DatabaseSettings
from tests.support.data.footage import frame_jpeg
from tests.support.patience import PATIENCE_S
from tests.support.processes import api
from tests.support.processes.running_service import RunningService
from tests.support.servers.s3_server import ANY_STORE

FRAMES = {f"2028-03-01T06-00-{second:02}Z.jpg": frame_jpeg(second) for second in range(12)}
LET_TIME_PASS = """
    UPDATE schedules SET planned_until = planned_until - interval '3 days', next_run_at = next_run_at - interval '3 days'
    WHERE id = :id
"""


@pytest.fixture(scope="module")
def service(start_service: Callable[[str], RunningService]) -> RunningService:
    """Schedules do not know where objects are: one store is enough."""
    return start_service(ANY_STORE)


def let_time_pass(service: RunningService, schedule: str) -> None:
    """As if three days had passed in which nothing ran."""

    async def update(url: str) -> None:
        database = Database(url, DatabaseSettings())
        async with database.service_transaction() as connection:
            await connection.execute(text(LET_TIME_PASS), {"id": schedule})
        await database.close()

    with EmbeddedPostgres(service.home) as url:
        asyncio.run(update(url))


def wait_for_run(client: httpx.Client, schedule: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for run in client.get(f"/api/schedules/{schedule}/runs").raise_for_status().json():
            if run["state"] == "submitted" and not run["manual"]:
                found: dict[str, Any] = run
                return found
        time.sleep(0.2)
    raise TimeoutError("the schedule did not run")


def test_a_schedule_makes_its_video_and_joins_it_afterwards(service: RunningService, alice: httpx.Client) -> None:
    dataset = api.make_dataset(alice, FRAMES)
    request = {"experiment_id": dataset["experiment_id"], "decimation_factor": 4, "fps": 30}
    body = {"name": "every morning", "cron": "30 6 * * *", "zone": "Europe/Berlin", "request": request}
    schedule = alice.post("/api/schedules", json=body).raise_for_status().json()
    now = alice.post(f"/api/schedules/{schedule['id']}/run").raise_for_status().json()
    status = api.wait_until_ended(alice, now["job_id"])
    assert (status["status"], status["frames_total"], now["joined"]) == ("succeeded", len(FRAMES) // 4, False)
    let_time_pass(service, schedule["id"])
    run = wait_for_run(alice, schedule["id"])
    assert (run["job_id"], run["joined"], run["missed"]) == (now["job_id"], True, 2)
    assert alice.get(f"/api/videos/{run['job_id']}/video").status_code == 200
