"""/api/datasets and the datasets of an experiment, with a real database and a folder of objects."""

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from service.ids import DatasetId
from tests.support.data.media import jpeg, numbered_picture
from tests.support.data.scanning import scan_dataset
from tests.support.processes.catalogue_api import CatalogueApi, catalogue_api

pytestmark = pytest.mark.anyio
LIMIT = 5 * 1024 * 1024


@pytest.fixture
async def api(postgres_url: str, tmp_path: Path) -> AsyncIterator[CatalogueApi]:
    async with catalogue_api(postgres_url, tmp_path, max_upload_bytes=LIMIT, sources="camera, scope") as api:
        yield api


@pytest.fixture
async def alice(api: CatalogueApi) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client("alice") as client:
        yield client


async def _create_experiment(client: httpx.AsyncClient, **fields: Any) -> str:
    return str((await client.post("/api/experiments", json={"name": "run", **fields})).json()["id"])


async def _create_dataset(client: httpx.AsyncClient, experiment: str, **fields: Any) -> dict[str, Any]:
    response = await client.post(f"/api/experiments/{experiment}/datasets", json={"name": "camera", **fields})
    assert response.is_success, response.text
    return dict(response.json()["dataset"])


async def _run_scan(api: CatalogueApi, dataset: str) -> None:
    await scan_dataset(api.database, api.objects, DatasetId(UUID(dataset)))


async def _count_queued_tasks(api: CatalogueApi) -> int:
    """Scan tasks that are queued."""
    query = "SELECT count(*) FROM tasks WHERE kind = 'scan' AND state = 'queued'"
    async with api.database.service_transaction() as connection:
        return int(await connection.scalar(text(query)) or 0)


async def test_register_scan_and_look(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    for number in (0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12):
        await api.put(f"day/f{number}.jpg", jpeg(numbered_picture(number)), "camera")
    await api.put("day/f13.jpg", b"text", "camera")
    experiment = await _create_experiment(alice)
    body = {"name": "camera", "kind": "frames", "bucket": "camera", "prefix": "day/"}
    response = await alice.post(f"/api/experiments/{experiment}/datasets", json=body)
    assert response.status_code == 202, response.text
    dataset, scan = response.json()["dataset"], response.json()["scan"]
    assert response.headers["Location"] == f"/api/datasets/{dataset['id']}"
    assert (dataset["state"], scan["state"], await _count_queued_tasks(api)) == ("scanning", "queued", 1)

    await _run_scan(api, dataset["id"])
    told = (await alice.get(response.headers["Location"])).json()
    assert (told["state"], told["frame_count"], told["unreadable_frames"]) == ("ready", 13, 1)
    assert told["gaps"] == [{"after_index": 2, "number": 3, "count": 1}] and told["gap_frames"] == 1
    assert told["size_range"] == {"min_width": 128, "max_width": 128, "min_height": 96, "max_height": 96}
    assert (told["formats"], told["bytes"] > 0, len(told["digest"])) == (["jpeg"], True, 64)
    assert (await alice.get(f"/api/experiments/{experiment}/datasets")).json() == [told]

    page = await alice.get(f"/api/datasets/{dataset['id']}/frames", params={"start": 2, "limit": 3})
    assert [(row["index"], row["key"]) for row in page.json()] == [
        (2, "day/f2.jpg"),
        (3, "day/f4.jpg"),
        (4, "day/f5.jpg"),
    ]
    rest = await alice.get(page.links["next"]["url"])
    assert rest.json()[0]["index"] == 5
    bad = (await alice.get(f"/api/datasets/{dataset['id']}/frames", params={"unreadable": True})).json()
    assert [(row["index"], row["problem"]) for row in bad] == [(12, "not a JPEG, PNG, TIFF or WebP image")]


async def test_frames_of_odd_sizes_are_listed(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    for number in range(12):
        size = (64, 48) if number in (3, 7, 8) else (128, 96)
        await api.put(f"odd/f{number:02}.jpg", jpeg(numbered_picture(number, *size)), "camera")
    await api.put("odd/f12.jpg", b"no picture", "camera")
    body = {"name": "camera", "kind": "frames", "bucket": "camera", "prefix": "odd/"}
    experiment = await _create_experiment(alice)
    dataset = (await alice.post(f"/api/experiments/{experiment}/datasets", json=body)).json()["dataset"]["id"]
    await _run_scan(api, dataset)
    page = await alice.get(f"/api/datasets/{dataset}/frames", params={"odd_size": True, "limit": 2})
    rest = await alice.get(page.links["next"]["url"])
    assert [(row["index"], row["width"]) for row in page.json() + rest.json()] == [(3, 64), (7, 64), (8, 64)]
    assert "next" not in rest.links


async def test_a_scan_is_queued_once(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    dataset = await _create_dataset(alice, await _create_experiment(alice))
    assert (dataset["state"], await _count_queued_tasks(api)) == ("empty", 0)
    scans = [(await alice.post(f"/api/datasets/{dataset['id']}/scan")).json()["scan"] for _ in range(3)]
    assert len({scan["id"] for scan in scans}) == 1 and await _count_queued_tasks(api) == 1
    async with api.database.service_transaction() as connection:
        for state in ("running", "succeeded"):
            await connection.execute(text(f"UPDATE tasks SET state = '{state}'"))
    again = await alice.post(f"/api/datasets/{dataset['id']}/scan")
    assert again.status_code == 202 and again.json()["scan"]["id"] != scans[0]["id"]


async def test_upload_and_resume(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    dataset = await _create_dataset(alice, await _create_experiment(alice))
    base = f"/api/datasets/{dataset['id']}/objects"
    assert (await alice.get(base)).json() == []
    for name in ("f 1.jpg", "deep/é#?.jpg", "f 1.jpg"):
        response = await alice.put(f"{base}/{quote(name)}", content=b"12345")
        assert response.status_code == 200 and response.json()["size"] == 5 and response.json()["etag"], response.text
    stored = (await alice.get(base)).json()
    assert stored == [{"name": "deep/é#?.jpg", "size": 5}, {"name": "f 1.jpg", "size": 5}]
    assert (api.objects.root / "reelmill" / dataset["prefix"] / "f 1.jpg").read_bytes() == b"12345"
    details = (await alice.get(base, params={"details": "true"})).json()
    assert [entry.keys() for entry in details] == [{"name", "size", "etag", "modified"}] * 2
    assert datetime.fromisoformat(details[0]["modified"]).tzinfo is not None
    latin = await alice.put(f"{base}/caf%E9.jpg", content=b"1")
    assert (latin.status_code, latin.json()["errors"][0]["parameter"]) == (422, "name"), latin.text
    assert "not in UTF-8" in latin.json()["detail"] and len((await alice.get(base)).json()) == 2


async def test_uploads_of_any_length_up_to_the_limit(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    dataset = await _create_dataset(alice, await _create_experiment(alice))
    base = f"/api/datasets/{dataset['id']}/objects"

    async def body(length: int) -> AsyncIterator[bytes]:
        for start in range(0, length, 100_000):
            yield b"x" * min(100_000, length - start)

    for length in (0, 100, 1_000_000, 3 * 1024 * 1024, LIMIT):
        response = await alice.put(f"{base}/{length}.bin", content=body(length))
        assert response.status_code == 200 and response.json()["size"] == length, response.text
    for content in (body(LIMIT + 1), b"x" * (LIMIT + 1)):
        response = await alice.put(f"{base}/long.bin", content=content)
        assert response.status_code == 413, response.text
    assert "long.bin" not in [stored["name"] for stored in (await alice.get(base)).json()]


@pytest.mark.parametrize("name", ["a//b", "a%5Cb", "a%00b", "%0A", "..%2F..%2Fx", "a/..%2Fb", "x" * 256, "/a", "a/"])
async def test_unsafe_names(alice: httpx.AsyncClient, name: str) -> None:
    dataset = await _create_dataset(alice, await _create_experiment(alice))
    response = await alice.put(f"/api/datasets/{dataset['id']}/objects/{name}", content=b"x")
    assert response.status_code in (404, 422), response.text
    assert (await alice.get(f"/api/datasets/{dataset['id']}/objects")).json() == []


async def test_uploads_go_only_where_nothing_else_lies(alice: httpx.AsyncClient) -> None:
    experiment = await _create_experiment(alice)
    elsewhere = await _create_dataset(alice, experiment, bucket="camera", prefix="day/")
    refused = await alice.put(f"/api/datasets/{elsewhere['id']}/objects/a.jpg", content=b"x")
    assert refused.status_code == 409


async def test_which_places_may_be_registered(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    experiment = await _create_experiment(alice)
    path = f"/api/experiments/{experiment}/datasets"
    own = f"frames/{experiment}/old/"
    for place, pointer in (
        ({"bucket": "secrets", "prefix": "x/"}, "#/bucket"),
        ({"bucket": "camera"}, "#/prefix"),
        ({"prefix": ""}, "#/prefix"),
        ({"prefix": "videos/"}, "#/prefix"),
        ({"prefix": f"frames/{experiment}"}, "#/prefix"),
        ({"prefix": f"frames/{uuid4()}/"}, "#/prefix"),
        ({"prefix": f"{own}../../"}, "#/prefix"),
        ({"prefix": "/etc"}, "#/prefix"),
        ({"bucket": "camera", "prefix": "a\0b"}, "#/prefix"),
        ({"bucket": "camera", "prefix": "a//b"}, "#/prefix"),
        ({"bucket": "../camera", "prefix": ""}, "#/bucket"),
        ({"kind": "sound"}, "#/kind"),
    ):
        response = await alice.post(path, json={"name": "d", **place})
        assert response.status_code == 422, (place, response.text)
        assert response.json()["errors"][0]["pointer"] == pointer, place
    for number, place in enumerate(
        ({"bucket": "camera", "prefix": ""}, {"bucket": "scope", "prefix": "a"}, {"prefix": own})
    ):
        assert (await alice.post(path, json={"name": f"d{number}", **place})).status_code == 202, place
    assert (await alice.post(path, json={"name": "d0"})).status_code == 409
    async with api.client("root", "admin") as root:
        for prefix in ("", "renders/", "segments/", "previews/", f"frames/{uuid4()}/", f"FRAMES/{experiment}/"):
            refused = await root.post(path, json={"name": "by root", "prefix": prefix})
            assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/prefix"), prefix


async def test_what_others_may_do(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    for visibility, seen in (("private", 404), ("public", 200)):
        experiment = await _create_experiment(alice, name=visibility, visibility=visibility)
        dataset = await _create_dataset(alice, experiment)
        path, changed = f"/api/datasets/{dataset['id']}", 403 if seen == 200 else 404
        async with api.client("eve") as eve:
            for read in (path, f"{path}/frames", f"{path}/objects", f"/api/experiments/{experiment}/datasets"):
                assert (await eve.get(read)).status_code == seen, read
            assert (await eve.post(f"{path}/scan")).status_code == changed
            assert (await eve.put(f"{path}/objects/a.jpg", content=b"x")).status_code == changed
            assert (await eve.delete(path)).status_code == changed
            registered = await eve.post(f"/api/experiments/{experiment}/datasets", json={"name": "mine"})
            assert registered.status_code == changed
        async with api.client("alice", "catalog:read") as reader:
            assert (await reader.post(f"{path}/scan")).status_code == 403
            assert (await reader.put(f"{path}/objects/a.jpg", content=b"x")).status_code == 403
    assert await _count_queued_tasks(api) == 0


async def test_delete(alice: httpx.AsyncClient) -> None:
    dataset = await _create_dataset(alice, await _create_experiment(alice))
    path = f"/api/datasets/{dataset['id']}"
    await alice.post(f"{path}/scan")
    assert (await alice.delete(path)).status_code == 200
    assert (await alice.get(path)).status_code == 404
    assert (await alice.get(f"/api/datasets/{uuid4()}")).status_code == 404


async def test_impossible_frame_ranges(alice: httpx.AsyncClient) -> None:
    dataset = await _create_dataset(alice, await _create_experiment(alice))
    for parameters in ({"start": -1}, {"start": 2**63}, {"limit": 0}, {"limit": 1001}):
        assert (await alice.get(f"/api/datasets/{dataset['id']}/frames", params=parameters)).status_code == 422
    assert (await alice.get(f"/api/datasets/{dataset['id']}/frames", params={"start": 2**63 - 1})).json() == []


async def test_the_documents_describe_it(alice: httpx.AsyncClient) -> None:
    paths = (await alice.get("/openapi.json")).json()["paths"]
    upload = paths["/api/datasets/{dataset_id}/objects/{name}"]["put"]
    assert "application/octet-stream" in upload["requestBody"]["content"]
    assert all(
        operation["summary"] and operation["security"]
        for path, operations in paths.items()
        if ("datasets" in path or "experiments" in path) and "/uploads/" not in path
        for operation in operations.values()
    )
