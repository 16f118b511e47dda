"""Nothing that a client wrote as its host comes back, in no header and no body."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from tests.routers.conftest import alice, api
from tests.support.processes.catalogue_api import CatalogueApi

pytestmark = pytest.mark.anyio
__all__ = ["alice", "api"]
HOSTS = ("evil.example", "evil.example/mirrored", "evil.example//other.example/")
PUBLIC = ("/docs", "/redoc", "/openapi.json", "/openapi-3.1.json", "/problems", "/health/live", "/nothing", "/docs/")


def headers(host: str) -> dict[str, str]:
    return {"Host": host, "X-Forwarded-Host": host, "Forwarded": f"host={host}"}


def assert_not_reflected(answer: httpx.Response, host: str) -> None:
    assert answer.status_code < 500
    for part in host.split("/"):
        assert not part or part not in answer.text + str(answer.headers)


@pytest.mark.parametrize("host", HOSTS)
async def test_pages_and_lists(alice: httpx.AsyncClient, host: str) -> None:
    for name in ("a", "b"):
        await alice.post("/api/experiments", json={"name": f"{name} of {hash(host)}"})
    for path in PUBLIC:
        assert_not_reflected(await alice.get(path, headers=headers(host)), host)
    page = await alice.get("/api/experiments", params={"limit": 1}, headers=headers(host))
    assert_not_reflected(page, host)
    assert page.headers["link"].startswith("</api/experiments?")
    made = await alice.post("/api/experiments", json={"name": f"c of {hash(host)}"}, headers=headers(host))
    assert made.status_code == 201
    assert_not_reflected(made, host)


@pytest.fixture
async def upload(alice: httpx.AsyncClient) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    experiment = (await alice.post("/api/experiments", json={"name": "camera"})).json()["id"]
    made = await alice.post(f"/api/experiments/{experiment}/datasets", json={"name": "d"})
    yield f"/api/datasets/{made.json()['dataset']['id']}/uploads", {"files": [{"name": "f.jpg", "size": 5}]}


async def test_upload_addresses(
    api: CatalogueApi, alice: httpx.AsyncClient, upload: tuple[str, dict[str, Any]]
) -> None:
    path, body = upload
    answer = await alice.post(path, json=body, headers=headers("evil.example"))
    assert_not_reflected(answer, "evil.example")
    assert answer.json()["uploads"][0]["url"].startswith(f"{path}/f.jpg?grant=")
    api.app.state.resources = replace(api.app.state.resources, public_url="https://video.example")
    answer = await alice.post(path, json=body, headers=headers("evil.example"))
    assert answer.json()["uploads"][0]["url"].startswith(f"https://video.example{path}/f.jpg?grant=")
