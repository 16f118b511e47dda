"""Signed upload URLs, with both drivers of the object store."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest

from service.errors import Forbidden
from service.plan.render_plan import ObjectRef
from service.routers.catalog.signed_uploads import SIGNING_PURPOSE, signed_size
from service.routers.http.signing import Signer
from service.store.objects.s3 import S3ObjectStore
from tests.support.processes.catalogue_api import CatalogueApi, catalogue_api
from tests.support.servers.s3_server import needs_s3, s3_server

pytestmark = pytest.mark.anyio
LIMIT = 3 * 1024 * 1024
NAME = "deep/é f#?&+%41.jpg"


@pytest.fixture(params=["folder", pytest.param("s3", marks=needs_s3)])
async def api(request: pytest.FixtureRequest, postgres_url: str, tmp_path: Path) -> AsyncIterator[CatalogueApi]:
    store = S3ObjectStore(s3_server().settings()) if request.param == "s3" else None
    async with catalogue_api(postgres_url, tmp_path, store, max_upload_bytes=LIMIT, sources="camera") as api:
        yield api
        if store is not None:
            await _remove_bucket(store)


async def _remove_bucket(store: S3ObjectStore) -> None:
    async for page in store.list(store.bucket, ""):
        await asyncio.gather(*(store.delete(ObjectRef(store.bucket, info.key)) for info in page))
    await (await store._client()).delete_bucket(Bucket=store.bucket)
    await store.close()


@pytest.fixture
async def alice(api: CatalogueApi) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client("alice") as client:
        yield client


async def _create_dataset(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    experiment = (await client.post("/api/experiments", json={"name": f"run {time.time_ns()}"})).json()["id"]
    response = await client.post(f"/api/experiments/{experiment}/datasets", json={"name": "camera", **fields})
    return dict(response.json()["dataset"])


async def _request_upload_urls(client: httpx.AsyncClient, dataset: str, *files: dict[str, Any]) -> list[dict[str, Any]]:
    response = await client.post(f"/api/datasets/{dataset}/uploads", json={"files": files})
    assert response.status_code == 200, response.text
    return list(response.json()["uploads"])


async def _put_file(api: CatalogueApi, address: dict[str, Any], body: Any, url: str | None = None) -> httpx.Response:
    """Upload without a token."""
    transport = None if isinstance(api.objects, S3ObjectStore) else httpx.ASGITransport(api.app)
    base = "" if transport is None else "http://test"  # our own addresses have no host
    async with httpx.AsyncClient(transport=transport, base_url=base, trust_env=False) as stranger:
        return await stranger.request(
            address["method"], url or address["url"], content=body, headers=address["headers"]
        )


async def test_files_arrive_without_a_token(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    dataset = await _create_dataset(alice)
    bodies = {"f0.jpg": b"12345", NAME: b"x" * LIMIT, "empty.png": b"", "plain": b"y"}
    files = [{"name": name, "size": len(body)} for name, body in bodies.items()]
    addresses = await _request_upload_urls(alice, dataset["id"], *files)
    assert [(address["name"], address["size"]) for address in addresses] == [(f["name"], f["size"]) for f in files]
    assert [address["headers"]["Content-Type"] for address in addresses] == [
        "image/jpeg",
        "image/jpeg",
        "image/png",
        "application/octet-stream",
    ]
    for address in addresses:
        answer = await _put_file(api, address, bodies[address["name"]])
        assert answer.status_code == 200, answer.text
    stored = {row["name"]: row["size"] for row in (await alice.get(f"/api/datasets/{dataset['id']}/objects")).json()}
    assert stored == {name: len(body) for name, body in bodies.items()}
    assert await api.objects.get(ObjectRef(api.objects.bucket, dataset["prefix"] + NAME)) == bodies[NAME]
    scan = await alice.post(f"/api/datasets/{dataset['id']}/scan")
    assert scan.status_code == 202


@pytest.mark.parametrize("body", [b"1234", b"123456", b"", b"x" * (LIMIT + 1)])
async def test_only_the_size_that_was_granted(api: CatalogueApi, alice: httpx.AsyncClient, body: bytes) -> None:
    dataset = await _create_dataset(alice)
    (address,) = await _request_upload_urls(alice, dataset["id"], {"name": "f.jpg", "size": 5})
    answer = await _put_file(api, address, body)
    assert answer.status_code in (400, 403, 413), answer.text
    assert (await alice.get(f"/api/datasets/{dataset['id']}/objects")).json() == []


async def test_only_the_file_that_was_granted(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    dataset, other = await _create_dataset(alice), await _create_dataset(alice)
    (address,) = await _request_upload_urls(alice, dataset["id"], {"name": "f.jpg", "size": 5})
    wrong = [
        address["url"].replace("f.jpg", "g.jpg"),
        address["url"].replace(dataset["id"], other["id"]),
        address["url"].replace("f.jpg", "../f.jpg"),
        address["url"][:-1] + ("A" if address["url"][-1] != "A" else "B"),
        address["url"].partition("?")[0],
    ]
    for url in wrong:
        answer = await _put_file(api, address, b"12345", url)
        assert answer.status_code in (400, 401, 403, 404, 422), (url, answer.text)
    for dataset_id in (dataset["id"], other["id"]):
        assert (await alice.get(f"/api/datasets/{dataset_id}/objects")).json() == []
    assert (await _put_file(api, address, b"12345")).status_code == 200


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/files"),
        ({"files": []}, "#/files"),
        ({"files": [{"name": "a.jpg"}]}, "#/files/0/size"),
        ({"files": [{"name": "a.jpg", "size": -1}]}, "#/files/0/size"),
        ({"files": [{"name": "b", "size": 1}, {"name": "a.jpg", "size": LIMIT + 1}]}, "#/files/1/size"),
        ({"files": [{"name": "../a.jpg", "size": 1}]}, "#/files/0/name"),
        ({"files": [{"name": "/a.jpg", "size": 1}]}, "#/files/0/name"),
        ({"files": [{"name": "a\u0000", "size": 1}]}, "#/files/0/name"),
        ({"files": [{"name": "", "size": 1}]}, "#/files/0/name"),
        ({"files": [{"name": "a", "size": 1, "content_type": "text/html\r\nX: y"}]}, "#/files/0/content_type"),
        ({"files": [{"name": "a", "size": 1}] * 2}, "#/files"),
        ({"files": [{"name": f"{n}", "size": 1} for n in range(1001)]}, "#/files"),
        ({"files": [{"name": "a", "size": 1}], "expires_in": 100_000}, "#/expires_in"),
    ],
)
async def test_impossible_requests(alice: httpx.AsyncClient, body: dict[str, Any], pointer: str) -> None:
    dataset = await _create_dataset(alice)
    refused = await alice.post(f"/api/datasets/{dataset['id']}/uploads", json=body)
    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(("asked", "given"), [({}, 600), ({"expires_in": 86_400}, 600), ({"expires_in": 60}, 60)])
async def test_addresses_live_for_minutes(alice: httpx.AsyncClient, asked: dict[str, int], given: int) -> None:
    """Nobody can take them back, so they end soon, whatever was asked for."""
    dataset, before = await _create_dataset(alice), datetime.now(UTC)
    body = {"files": [{"name": "a.jpg", "size": 1}], **asked}
    signed = (await alice.post(f"/api/datasets/{dataset['id']}/uploads", json=body)).raise_for_status().json()
    expires = datetime.fromisoformat(signed["expires_at"])
    assert before + timedelta(seconds=given) <= expires <= datetime.now(UTC) + timedelta(seconds=given)
    url = signed["uploads"][0]["url"]
    assert f"X-Amz-Expires={given}&" in f"{url}&" or "X-Amz" not in url


async def test_who_may_ask_for_addresses(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    dataset = await _create_dataset(alice)
    path, body = f"/api/datasets/{dataset['id']}/uploads", {"files": [{"name": "a.jpg", "size": 1}]}
    async with api.client("eve") as eve, api.client("alice", "catalog:read") as reader:
        assert (await eve.post(path, json=body)).status_code == 404
        assert (await reader.post(path, json=body)).status_code == 403
    elsewhere = await _create_dataset(alice, bucket="camera", prefix="day/")
    assert (await alice.post(f"/api/datasets/{elsewhere['id']}/uploads", json=body)).status_code == 409


async def test_a_deleted_dataset_takes_no_more(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    if isinstance(api.objects, S3ObjectStore):
        pytest.skip("the store's own addresses know nothing of datasets")
    dataset = await _create_dataset(alice)
    (address,) = await _request_upload_urls(alice, dataset["id"], {"name": NAME, "size": 5})
    assert quote(NAME) in address["url"]
    await alice.delete(f"/api/datasets/{dataset['id']}")
    assert (await _put_file(api, address, b"12345")).status_code == 404


def test_grants() -> None:
    signer, dataset, file = Signer(b"k" * 32), uuid4(), "f.jpg"

    def seal(purpose: str = SIGNING_PURPOSE, seconds: int = 60, by: Signer = signer) -> str:
        return by.sign(purpose, [str(dataset), file, 5, int(time.time()) + seconds])

    assert signed_size(signer, seal(), dataset, file) == 5
    for grant, target_dataset, target_file in (
        (seal(seconds=-1), dataset, file),
        (seal("cursor"), dataset, file),
        (seal(by=Signer(b"l" * 32)), dataset, file),
        (seal(), dataset, "g.jpg"),
        (seal(), uuid4(), file),
        ("", dataset, file),
        ("nonsense", dataset, file),
        (signer.sign(SIGNING_PURPOSE, [])[:-1], dataset, file),
    ):
        with pytest.raises(Forbidden):
            signed_size(signer, grant, target_dataset, target_file)
