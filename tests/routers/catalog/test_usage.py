"""GET /api/usage, and what is answered when the quota is reached: the problem says how much is used, allowed, needed."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.store.settings import StorageLimits
from tests.support.data.footage import add_footage
from tests.support.processes.catalogue_api import SCOPES, CatalogueApi, catalogue_api

pytestmark = pytest.mark.anyio
QUOTA = 10_000


@pytest.fixture
async def api(postgres_url: str, tmp_path: Path) -> AsyncIterator[CatalogueApi]:
    limits = StorageLimits.model_construct(owner_quota=f"{QUOTA}B,bob=none")
    async with catalogue_api(postgres_url, tmp_path, storage=limits, max_upload_bytes=6000) as api:
        yield api


@pytest.fixture
async def alice(api: CatalogueApi) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client("alice", *SCOPES, "videos:read", "videos:render") as client:
        yield client


async def create_dataset(client: httpx.AsyncClient) -> str:
    experiment = (await client.post("/api/experiments", json={"name": "run"})).json()["id"]
    made = await client.post(f"/api/experiments/{experiment}/datasets", json={"name": "camera"})
    return f"/api/datasets/{made.json()['dataset']['id']}"


async def usage(client: httpx.AsyncClient) -> dict[str, Any]:
    response = await client.get("/api/usage")
    assert response.status_code == 200, response.text
    return dict(response.json())


async def test_uploads_end_at_the_quota(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    dataset = await create_dataset(alice)
    assert (await alice.put(f"{dataset}/objects/a.jpg", content=bytes(4500))).status_code == 200
    refused = await alice.put(f"{dataset}/objects/b.jpg", content=bytes(5501))
    problem = refused.json()
    assert (refused.status_code, problem["type"]) == (409, "/problems/quota-exceeded")
    assert (problem["used_bytes"], problem["allowed_bytes"], problem["needed_bytes"]) == (4500, QUOTA, 5501)
    stored = (await alice.get(f"{dataset}/objects")).json()
    assert [item["name"] for item in stored] == ["a.jpg"], "nothing of it is kept"
    assert (await alice.put(f"{dataset}/objects/b.jpg", content=bytes(5500))).status_code == 200
    found = await usage(alice)
    assert (found["used_bytes"], found["allowed_bytes"], found["uploads_bytes"]) == (QUOTA, QUOTA, QUOTA)
    assert [(item["kind"], item["bytes"]) for item in found["largest"]] == [("dataset", QUOTA)]
    deleted = await alice.delete(dataset, params={"frames": True})
    assert deleted.status_code == 200 and (await usage(alice))["used_bytes"] == 0


async def test_a_body_without_a_length_takes_the_room_of_the_longest(alice: httpx.AsyncClient) -> None:
    dataset = await create_dataset(alice)

    async def body(size: int) -> AsyncIterator[bytes]:
        yield bytes(size)

    assert (await alice.put(f"{dataset}/objects/a.jpg", content=body(4500))).status_code == 200
    assert (await usage(alice))["used_bytes"] == 4500, "when it has ended, what was sent counts"
    assert (await alice.put(f"{dataset}/objects/b.jpg", content=body(10))).status_code == 409
    assert (await alice.put(f"{dataset}/objects/b.jpg", content=bytes(10))).status_code == 200


async def test_a_broken_upload_counts_nothing(alice: httpx.AsyncClient) -> None:
    dataset = await create_dataset(alice)
    assert (await alice.put(f"{dataset}/objects/a.jpg", content=bytes(6001))).status_code == 413
    wrong = {"Content-Length": "5000"}

    async def breaks_off() -> AsyncIterator[bytes]:
        yield bytes(100)
        raise httpx.ReadError("gone")

    broken = await alice.put(f"{dataset}/objects/a.jpg", content=breaks_off(), headers=wrong)
    assert broken.status_code == 500
    assert (await usage(alice))["used_bytes"] == 0


async def test_addresses_are_only_signed_for_what_fits(alice: httpx.AsyncClient) -> None:
    dataset = await create_dataset(alice)
    files = [{"name": f"{number}.jpg", "size": 3000} for number in range(4)]
    refused = await alice.post(f"{dataset}/uploads", json={"files": files})
    assert (refused.status_code, refused.json()["needed_bytes"]) == (409, 12_000)
    assert (await alice.post(f"{dataset}/uploads", json={"files": files[:2]})).status_code == 200
    found = await usage(alice)
    assert (found["announced_bytes"], found["used_bytes"]) == (6000, 6000)
    assert (await alice.post(f"{dataset}/uploads", json={"files": files[2:]})).status_code == 409


async def test_renders_end_at_the_quota(api: CatalogueApi, alice: httpx.AsyncClient, tmp_path: Path) -> None:
    async with api.database.service_transaction() as connection:
        dataset = await add_footage(connection, tmp_path, 4)
    body = {"experiment_id": str(dataset.experiment_id), "decimation_factor": 1, "fps": 10}
    first = (await alice.post("/api/videos/generate", json=body)).json()
    assert (await usage(alice))["expected_bytes"] == first["estimate"]["bytes"]
    area = await create_dataset(alice)
    filled = await alice.put(f"{area}/objects/a.jpg", content=bytes(QUOTA // 2))
    full = await alice.put(f"{area}/objects/b.jpg", content=bytes(QUOTA - QUOTA // 2 - first["estimate"]["bytes"]))
    assert (filled.status_code, full.status_code) == (200, 200)
    refused = await alice.post("/api/videos/generate", json=body | {"decimation_factor": 2})
    assert (refused.status_code, refused.json()["used_bytes"]) == (409, QUOTA)
    assert (await alice.post("/api/videos/generate", json=body)).status_code == 202, "it was accepted before"
    assert (await alice.post("/api/videos/generate", json=body | {"dry_run": True})).status_code == 200
    job = first["job_id"]
    await alice.post(f"/api/videos/{job}/cancel")
    await alice.put(f"{area}/objects/c.jpg", content=bytes(first["estimate"]["bytes"]))
    assert (await alice.post(f"/api/videos/{job}/retry")).status_code == 409
    async with api.client("bob", *SCOPES) as bob:
        assert await usage(bob) == {
            "used_bytes": 0,
            "allowed_bytes": None,
            "uploads_bytes": 0,
            "announced_bytes": 0,
            "results_bytes": 0,
            "expected_bytes": 0,
            "cached_bytes": 0,
            "largest": [],
        }
