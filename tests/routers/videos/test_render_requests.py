"""Webhooks and priorities of render requests, with a real database and, where needed, a worker."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text, update

from service.store import tables
from service.webhooks.settings import WebhookSettings
from tests.support.data.database_rows import add_dataset
from tests.support.data.footage import add_footage
from tests.support.processes.catalogue_api import CatalogueApi, catalogue_api
from tests.support.processes.supervisor import running_supervisor, wait_until_ended
from tests.webhooks.test_delivery import SECRET

pytestmark = pytest.mark.anyio
WEBHOOK_URL = "https://8.8.8.8/hooks/secret-token"
WEBHOOKS = WebhookSettings.model_construct(secret=SECRET, allow_private=False)


@pytest.fixture
async def api(postgres_url: str, tmp_path: Path) -> AsyncIterator[CatalogueApi]:
    async with catalogue_api(postgres_url, tmp_path, webhooks=WEBHOOKS) as api:
        yield api


async def _request_body(api: CatalogueApi, **fields: Any) -> dict[str, Any]:
    async with api.database.service_transaction() as connection:
        dataset = await add_dataset(connection, 4)
    return {"experiment_id": str(dataset.experiment_id), "decimation_factor": 1, "fps": 30, **fields}


async def _webhook_messages(api: CatalogueApi) -> list[str]:
    async with api.database.service_transaction() as connection:
        rows = await connection.execute(text("SELECT payload ->> 'url' FROM tasks WHERE kind = 'webhook'"))
        return [str(row[0]) for row in rows]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "http://localhost:5003/api",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/",
        "http://10.1.2.3/",
        "http://2130706433/",
        "ftp://8.8.8.8/",
        "http://user:pw@8.8.8.8/",
        "nonsense",
        "",
        "https://8.8.8.8/" + "x" * 2000,
    ],
)
async def test_webhooks_that_cannot_be(api: CatalogueApi, alice: httpx.AsyncClient, url: str) -> None:
    refused = await alice.post("/api/videos/generate", json=await _request_body(api, webhook_url=url))
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/webhook_url"), refused.text
    assert len(url) < 9 or url not in refused.text


async def test_without_a_secret_there_are_none(postgres_url: str, tmp_path: Path) -> None:
    async with catalogue_api(postgres_url, tmp_path) as api, api.client("alice", "videos:render") as alice:
        refused = await alice.post("/api/videos/generate", json=await _request_body(api, webhook_url=WEBHOOK_URL))
    (problem,) = refused.json()["errors"]
    assert (refused.status_code, problem["pointer"], problem["code"]) == (422, "#/webhook_url", "no_webhook_secret")
    assert "POST /api/webhooks/secrets" in refused.json()["detail"]


async def test_the_end_is_told_once(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    body = await _request_body(api, webhook_url=WEBHOOK_URL)
    job = (await alice.post("/api/videos/generate", json=body)).raise_for_status().json()["job_id"]
    assert (await alice.post("/api/videos/generate", json=body)).json()["job_id"] == job
    assert await _webhook_messages(api) == []
    status = (await alice.post(f"/api/videos/{job}/cancel")).raise_for_status()
    assert await _webhook_messages(api) == [WEBHOOK_URL]
    assert "secret-token" not in status.text, "others may read the status"
    async with api.database.service_transaction() as connection:
        assert "secret-token" not in str((await connection.execute(text("SELECT * FROM renders"))).all())


async def test_a_render_that_is_there_already_is_told_at_once(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    body = await _request_body(api)
    job = (await alice.post("/api/videos/generate", json=body)).raise_for_status().json()["job_id"]
    async with api.database.service_transaction() as connection:
        await connection.execute(update(tables.renders).values(status="succeeded"))
    again = await alice.post("/api/videos/generate", json=body | {"webhook_url": WEBHOOK_URL})
    assert (again.status_code, again.json()["job_id"], await _webhook_messages(api)) == (200, job, [WEBHOOK_URL])


async def test_another_webhook_is_another_body(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    body, key = await _request_body(api, webhook_url=WEBHOOK_URL), {"Idempotency-Key": "one"}
    first = await alice.post("/api/videos/generate", json=body, headers=key)
    assert (await alice.post("/api/videos/generate", json=body, headers=key)).json()["job_id"] == first.json()["job_id"]
    other = await alice.post("/api/videos/generate", json=body | {"webhook_url": f"{WEBHOOK_URL}2"}, headers=key)
    assert (other.status_code, other.json()["errors"][0]["header"]) == (422, "Idempotency-Key")


async def test_efforts(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    body = await _request_body(api)
    refused = await alice.post("/api/videos/generate", json=body | {"effort": "slow"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/effort"), refused.text
    jobs = {}
    for effort in ("balanced", "fast", "small"):
        answer = await alice.post("/api/videos/generate", json=body | {"effort": effort})
        jobs[effort] = answer.raise_for_status().json()["job_id"]
        status = (await alice.get(f"/api/videos/{jobs[effort]}")).json()
        assert status["options"]["effort"] == effort
    assert len(set(jobs.values())) == 3
    assert (await alice.post("/api/videos/generate", json=body)).json()["job_id"] == jobs["balanced"]


async def test_a_waiting_render_can_be_preferred(api: CatalogueApi, alice: httpx.AsyncClient, tmp_path: Path) -> None:
    jobs = []
    for _ in range(3):
        async with api.database.service_transaction() as connection:
            dataset = await add_footage(connection, tmp_path, 6)
        body = {"experiment_id": str(dataset.experiment_id), "decimation_factor": 1, "fps": 30}
        jobs.append((await alice.post("/api/videos/generate", json=body)).raise_for_status().json()["job_id"])
    changed = await alice.patch(f"/api/videos/{jobs[2]}", json={"priority": 9})
    assert (changed.status_code, changed.json()["priority"]) == (200, 9)
    async with running_supervisor(api.database, tmp_path):
        rows = [await wait_until_ended(api.database, job) for job in jobs]
    starts = [row["started_at"] for row in rows]
    assert starts[2] == min(starts), "it began first"
    assert (await alice.patch(f"/api/videos/{jobs[2]}", json={"priority": 1})).status_code == 409


async def test_who_may_change_what(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    job = (await alice.post("/api/videos/generate", json=await _request_body(api))).json()["job_id"]
    path = f"/api/videos/{job}"
    for body in ({}, {"priority": 10}, {"priority": -1}, {"priority": "high"}, {"priority": 1, "codec": "av1"}):
        assert (await alice.patch(path, json=body)).status_code == 422, body
    async with api.client("bob", "videos:render", "videos:read") as bob, api.client("alice", "videos:read") as reader:
        assert (await bob.patch(path, json={"priority": 1})).status_code == 404
        assert (await reader.patch(path, json={"priority": 1})).status_code == 403
    await alice.post(f"{path}/cancel")
    assert (await alice.patch(path, json={"priority": 1})).status_code == 409
    assert (await alice.post(f"{path}/retry")).status_code == 202
    assert (await alice.patch(path, json={"priority": 1})).json()["priority"] == 1
