"""GET /api/workers and what an operator tells a worker."""

from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from service.plan.needs import BUILT_IN
from service.store import workers
from service.store.database import Database
from tests.support.data.database_rows import add_dataset, add_render
from tests.support.processes.catalogue_api import catalogue_api

pytestmark = pytest.mark.anyio
Token = Callable[..., dict[str, str]]


async def add_worker(database: Database, name: str, **facts: object) -> UUID:
    async with database.service_transaction() as connection:
        await workers.record_heartbeat(connection, number := uuid4(), name, 4, "0.1.0")
        await workers.update_facts(connection, number, facts)
    return number


async def test_an_operator_cordons_and_drains_a_worker(postgres_url: str, tmp_path: Path) -> None:
    async with catalogue_api(postgres_url, tmp_path) as api, api.client("root", "ops:read", "ops:write") as client:
        told = {"offers": sorted(BUILT_IN), "zone": "eu-1a", "memory_mb": 64_000, "clock_offset_s": 0.1, "pipeline": 8}
        number = await add_worker(api.database, "render-1:4711", **told)
        (worker,) = (await client.get("/api/workers")).json()
        assert (worker["id"], worker["name"], worker["zone"]) == (str(number), "render-1:4711", "eu-1a")
        assert (worker["state"], worker["slots"], worker["running"]) == ("active", 4, 0)
        assert worker["capabilities"] == sorted(BUILT_IN) and worker["memory_mb"] == 64_000
        for order, state in (("cordon", "cordoned"), ("uncordon", "active"), ("drain", "draining")):
            answer = await client.post(f"/api/workers/{number}/{order}")
            assert (answer.status_code, answer.json()["state"]) == (200, state)
        refused = await client.post(f"/api/workers/{number}/uncordon")
        assert (refused.status_code, refused.json()["type"]) == (409, "/problems/conflict")
        assert (await client.post(f"/api/workers/{uuid4()}/drain")).status_code == 404


async def test_a_worker_of_an_earlier_version_is_listed_and_left_alone(postgres_url: str, tmp_path: Path) -> None:
    async with catalogue_api(postgres_url, tmp_path) as api, api.client("root", "ops:read", "ops:write") as client:
        number = await add_worker(api.database, "old:1", pipeline=7)
        (worker,) = (await client.get("/api/workers")).json()
        assert (worker["pipeline"], worker["capabilities"], worker["zone"]) == (7, None, "")
        refused = await client.post(f"/api/workers/{number}/cordon")
        assert refused.status_code == 409 and "version" in refused.json()["detail"]


async def test_health_and_status_say_what_nobody_can_do(postgres_url: str, tmp_path: Path) -> None:
    async with catalogue_api(postgres_url, tmp_path) as api, api.client("alice", "ops:read", "videos:read") as client:
        async with api.database.service_transaction() as connection:
            render = await add_render(connection, await add_dataset(connection, 4))
        await add_worker(api.database, "w:1", offers=[], clock_offset_s=-3600)
        status = (await client.get(f"/api/videos/{render}")).json()
        assert (status["status"], status["waiting_for"]) == ("queued", "no live worker offers encode h264")
        check = (await client.get("/health")).json()["checks"]["workers"]
        assert check["status"] == "degraded"
        reason = "waiting renders: 1 (no live worker offers encode h264)"
        assert check["detail"] == f"4 slots; the clock of w:1 is 3600 s behind; {reason}"
