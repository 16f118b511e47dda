"""Numbers that are none, in every body and query of the API: a 422 that names the field, never a default or a crash."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.support.processes.catalogue_api import CatalogueApi, catalogue_api

pytestmark = pytest.mark.anyio
NOT_NUMBERS = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    '"nan"',
    '"1/0"',
    '"30000/1001"',
    '""',
    "true",
    "false",
    "[]",
    "{}",
)
GENERATE = '{"experiment_id": "0197a3c2-7d10-7cc2-9d5e-2f1b6f0f6c11", "decimation_factor": 1, %s}'
# The pointer of each number of a render request, and the member that sets it to %s.
RENDER_NUMBERS = {
    "#/fps": '"fps": %s',
    "#/width": '"fps": 1, "width": %s',
    "#/height": '"fps": 1, "height": %s',
    "#/scale": '"fps": 1, "scale": %s',
    "#/quality": '"fps": 1, "quality": %s',
    "#/priority": '"fps": 1, "priority": %s',
    "#/rotate": '"fps": 1, "rotate": %s',
    "#/duration_seconds": '"duration_seconds": %s',
    "#/speed": '"fps": 1, "speed": %s',
    "#/tone/gamma": '"fps": 1, "tone": {"gamma": %s}',
    "#/tone/low": '"fps": 1, "tone": {"low": %s}',
    "#/tone/high": '"fps": 1, "tone": {"high": %s}',
    "#/overlay/size": '"fps": 1, "overlay": {"size": %s}',
    "#/overlay/scale_bar/length": '"fps": 1, "overlay": {"scale_bar": {"length": %s}}',
    "#/crop/width": '"fps": 1, "crop": {"x": 0, "y": 0, "height": 2, "width": %s}',
    "#/crop/x": '"fps": 1, "crop": {"y": 0, "height": 2, "width": 2, "x": %s}',
    "#/frames/start": '"fps": 1, "frames": {"start": %s}',
    "#/frames/stop": '"fps": 1, "frames": {"stop": %s}',
}
# What zero, negative and enormous values are refused for as well.
OUT_OF_RANGE = {
    "#/fps": ("0", "-0.0", "-1", "241"),
    "#/width": ("0", "-2", "1e9"),
    "#/scale": ("0", "-1"),
    "#/quality": ("-1", "101", "50.5"),
    "#/duration_seconds": ("0", "-1"),
    "#/speed": ("0", "-1"),
    "#/tone/gamma": ("0", "-1"),
    "#/overlay/size": ("0",),
    "#/overlay/scale_bar/length": ("0", "-5"),
    "#/crop/width": ("0",),
    "#/frames/start": ("-1", "1" + "0" * 400),
    "#/frames/stop": ("0", "1" + "0" * 400),
}


@pytest.fixture
async def api(postgres_url: str, tmp_path: Path) -> AsyncIterator[CatalogueApi]:
    async with catalogue_api(postgres_url, tmp_path) as api:
        yield api


async def _refused_place(client: httpx.AsyncClient, path: str, body: str) -> str:
    response = await client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 422, (path, body[:200], response.text)
    assert response.headers["Content-Type"] == "application/problem+json"
    return str(response.json()["errors"][0]["pointer"])


async def test_numbers_of_a_render(api: CatalogueApi) -> None:
    async with api.client("alice", "videos:render") as client:
        for pointer, member in RENDER_NUMBERS.items():
            for value in (*NOT_NUMBERS, *OUT_OF_RANGE.get(pointer, ())):
                place = await _refused_place(client, "/api/videos/generate", GENERATE % (member % value))
                assert place == pointer, (pointer, value)
        for value in (*NOT_NUMBERS, "0", "-1", "100001", "1.5"):
            body = (GENERATE % '"fps": 1').replace('"decimation_factor": 1', f'"decimation_factor": {value}')
            assert await _refused_place(client, "/api/videos/generate", body) == "#/decimation_factor"


async def test_numbers_of_other_bodies(api: CatalogueApi) -> None:
    async with api.client("alice", "catalog:read", "catalog:write", "query:run") as client:
        experiment = (await client.post("/api/experiments", json={"name": "numbers"})).json()["id"]
        made = await client.post(f"/api/experiments/{experiment}/datasets", json={"name": "d"})
        uploads = f"/api/datasets/{made.json()['dataset']['id']}/uploads"
        for value in NOT_NUMBERS:
            size = f'{{"files": [{{"name": "a.jpg", "size": {value}}}]}}'
            assert await _refused_place(client, uploads, size) == "#/files/0/size"
            expiry = f'{{"files": [{{"name": "a.jpg", "size": 1}}], "expires_in": {value}}}'
            assert await _refused_place(client, uploads, expiry) == "#/expires_in"
            query = f'{{"table": "frames", "limit": {value}}}'
            assert await _refused_place(client, "/api/database/query", query) == "#/limit", value
            condition = f'{{"table": "frames", "filters": [{{"column": "size", "op": "eq", "value": {value}}}]}}'
            assert (await _refused_place(client, "/api/database/query", condition)).startswith("#/filters/0"), value
        for value in ("NaN", "Infinity", "1e400"):
            body = f'{{"name": "n", "metadata": {{"pixel_size_um": {value}}}}}'
            assert await _refused_place(client, "/api/experiments", body) == "#/metadata"


async def test_numbers_of_queries(api: CatalogueApi) -> None:
    async with api.client("alice") as client:
        for value in ("0", "-1", "nan", "inf", "1e3", "", "1/0", "9" * 400):
            response = await client.get("/api/experiments", params={"limit": value})
            assert (response.status_code, response.json()["errors"][0]["parameter"]) == (422, "limit"), value


async def test_times_at_the_ends_of_the_calendar(api: CatalogueApi) -> None:
    async with api.client("alice", "videos:render", "videos:read", "catalog:read") as client:
        for time in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "10000-01-01T00:00:00Z"):
            for member in ("from", "to"):
                window = f'"fps": 1, "frames": {{"{member}": "{time}"}}'
                assert await _refused_place(client, "/api/videos/generate", GENERATE % window) == f"#/frames/{member}"
            for path in ("/api/experiments", "/api/videos"):
                for name in ("created_after", "created_before"):
                    response = await client.get(path, params={name: time})
                    assert (response.status_code, response.json()["errors"][0]["parameter"]) == (422, name)
        for time in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00-23:59"):
            assert (await client.get("/api/videos", params={"created_after": time})).status_code == 200


async def test_texts_that_cannot_be_stored(api: CatalogueApi) -> None:
    async with api.client("alice", "videos:render") as client:
        for pointer, member in {
            "#/overlay/text": '"fps": 1, "overlay": {"text": %s}',
            "#/webhook_url": '"fps": 1, "webhook_url": %s',
        }.items():
            for value in ('"a\\u0000b"', '"\\ud800"'):
                assert await _refused_place(client, "/api/videos/generate", GENERATE % (member % value)) == pointer
