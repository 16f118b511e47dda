"""The API and a worker behind a real PgBouncer in transaction mode."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from service.store.database import Database
from tests.support.data.footage import frame_jpeg
from tests.support.patience import PATIENCE_S
from tests.support.processes.api_process import ApiProcess, api_process
from tests.support.processes.worker_process import worker_process
from tests.support.servers.databases import fresh_database
from tests.support.servers.pgbouncer import needs_pgbouncer, pgbouncer

pytestmark = [pytest.mark.anyio, needs_pgbouncer]
# Of the API and of the worker: each pool, with what it may take more, and what the worker has beside PgBouncer.
POOL_SIZE, LISTENING = 20, 2


@contextmanager
def service_behind_pgbouncer(database: Database, home: Path) -> Iterator[ApiProcess]:
    direct = {"REELMILL_DATABASE_DIRECT_URL": database.url}
    with (
        pgbouncer(home, database.url) as url,
        worker_process(url, home, REELMILL_GPU_SLOTS="0", **direct),
        api_process(url, home, **direct) as api,
    ):
        yield api


async def test_a_service_behind_pgbouncer(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        with service_behind_pgbouncer(database, tmp_path) as api, api.client() as client:
            experiment = await asyncio.to_thread(scanned_experiment, client)
            body = {"experiment_id": experiment, "decimation_factor": 1, "fps": 10}
            job = client.post("/api/videos/generate", json=body).raise_for_status().json()["job_id"]
            async with api.async_client() as many:
                statuses = [response.status_code for response in await ask_at_once(many, experiment)]
            assert {200} <= set(statuses) <= {200, 429}, "a caller has only so many queries at once"
            video = await asyncio.to_thread(wait_for, client, f"/api/videos/{job}", "status", "succeeded")
            assert video["video_bytes"] > 0
            (worker,) = client.get("/api/workers").json()
            assert worker["state"] == "active"
        async with database.service_transaction() as connection:
            count = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            assert await connection.scalar(count) <= POOL_SIZE + LISTENING + 2


def scanned_experiment(client: httpx.Client) -> str:
    """An experiment with a dataset of 40 frames, which a worker has scanned."""
    experiment: str = client.post("/api/experiments", json={"name": "e"}).raise_for_status().json()["id"]
    datasets = f"/api/experiments/{experiment}/datasets"
    dataset = client.post(datasets, json={"name": "frames"}).raise_for_status().json()["dataset"]["id"]
    for index in range(40):
        url = f"/api/datasets/{dataset}/objects/f{index:05d}.jpg"
        client.put(url, content=frame_jpeg(index)).raise_for_status()
    client.post(f"/api/datasets/{dataset}/scan").raise_for_status()
    wait_for(client, f"/api/datasets/{dataset}", "state", "ready")
    return experiment


def wait_for(client: httpx.Client, path: str, name: str, value: str) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while (found := client.get(path).raise_for_status().json())[name] != value:
        assert time.monotonic() < deadline and found[name] != "failed", found
        time.sleep(0.1)
    return found


async def ask_at_once(client: httpx.AsyncClient, experiment: str) -> list[httpx.Response]:
    """Sixty requests, so that transactions change their connection."""
    query = {"table": "experiments", "limit": 3}
    requests = []
    for _ in range(20):
        requests += [client.get("/health/ready"), client.get(f"/api/experiments/{experiment}")]
        requests.append(client.post("/api/database/query", json=query))
    return list(await asyncio.gather(*requests))


async def test_a_pooler_alone_is_refused(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        with pgbouncer(tmp_path, database.url) as url:
            environment = {name: value for name, value in os.environ.items() if not name.startswith("REELMILL_")}
            environment |= {"DATABASE_URL": url, "REELMILL_HOME": str(tmp_path)}
            command = [sys.executable, "-m", "service", "worker"]
            done = await asyncio.to_thread(
                lambda: subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
            )
    assert done.returncode == 78
    assert "REELMILL_DATABASE_DIRECT_URL" in done.stderr and "pooler" in done.stderr
