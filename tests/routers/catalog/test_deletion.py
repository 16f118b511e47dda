"""Deletion of experiments, datasets and renders, with a real database and a folder of objects."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text, update

from service.store import removal, tables
from service.store.catalog.datasets import DatasetRow
from service.store.objects.object_store import ObjectStoreError
from tests.support.data.database_rows import add_dataset, add_render
from tests.support.processes.catalogue_api import CatalogueApi, catalogue_api

pytestmark = pytest.mark.anyio
FILES = ("video.mp4", "poster.jpg", "receipt.ndjson")


async def _create_renders(api: CatalogueApi, *states: str) -> tuple[DatasetRow, list[UUID]]:
    """A dataset of three frames and its renders; succeeded renders have files."""
    async with api.database.service_transaction() as connection:
        dataset = await add_dataset(connection, 3)
        ids: list[UUID] = [await add_render(connection, dataset) for _ in states]
        for render, state in zip(ids, states, strict=True):
            keys = {f"{name.partition('.')[0]}_key": f"renders/{render}/{name}" for name in FILES}
            values = {"status": state, **(keys if state == "succeeded" else {})}
            await connection.execute(update(tables.renders).where(tables.renders.c.id == render).values(**values))
    for render, state in zip(ids, states, strict=True):
        for name in FILES if state == "succeeded" else ():
            await api.put(f"renders/{render}/{name}", b"x")
    await api.put(f"{dataset.prefix}f00000.jpg", b"frame")
    await api.put("segments/aa/aa.mp4", b"segment")
    return dataset, ids


async def _stored_keys(api: CatalogueApi) -> set[str]:
    return {info.key async for page in api.objects.list("reelmill", "") for info in page}


async def _count_rows(api: CatalogueApi) -> dict[str, int]:
    names = ("experiments", "datasets", "frames", "renders", "segments", "tasks")
    async with api.database.service_transaction() as connection:
        return {name: int(await connection.scalar(text(f"SELECT count(*) FROM {name}")) or 0) for name in names}


@pytest.mark.parametrize("kind", ["experiment", "dataset"])
async def test_it_says_what_went(api: CatalogueApi, alice: httpx.AsyncClient, kind: str) -> None:
    dataset, _ = await _create_renders(api, "succeeded", "failed", "succeeded")
    other, others = await _create_renders(api, "succeeded")
    path = f"/api/{kind}s/{dataset.experiment_id if kind == 'experiment' else dataset.id}"
    response = await alice.delete(path)
    assert response.status_code == 200, response.text
    assert response.json() == {
        "datasets": 1,
        "frames": 3,
        "renders": 3,
        "cancelled": 0,
        "objects": 6,
        "segments": 0,
        "uploads": 0,
        "kept": [{"bucket": "reelmill", "prefix": dataset.prefix}],
        "requested_by_others": False,
    }
    assert (await alice.get(path)).status_code == 404
    left = await _count_rows(api)
    assert (left["datasets"], left["frames"], left["renders"]) == (1, 3, 1)
    assert left["experiments"] == (1 if kind == "experiment" else 2)
    assert await removal.delete_due_objects(api.database, api.objects) == 6
    kept = {f"renders/{others[0]}/{name}" for name in FILES}
    frames = {f"{place.prefix}f00000.jpg" for place in (dataset, other)}
    assert await _stored_keys(api) == kept | frames | {"segments/aa/aa.mp4"}
    assert await removal.delete_due_objects(api.database, api.objects) == 0, "each is removed once"


@pytest.mark.parametrize("state", ["queued", "running"])
@pytest.mark.parametrize("kind", ["experiment", "dataset", "render"])
async def test_renders_under_way_are_not_lost_by_accident(
    api: CatalogueApi, alice: httpx.AsyncClient, kind: str, state: str
) -> None:
    dataset, renders = await _create_renders(api, state, "succeeded")
    ids = {"experiment": dataset.experiment_id, "dataset": dataset.id, "render": renders[0]}
    path = f"/api/{'videos' if kind == 'render' else kind + 's'}/{ids[kind]}"
    before = await _count_rows(api)
    refused = await alice.delete(path)
    assert refused.status_code == 409 and "force" in refused.json()["detail"]
    assert await _count_rows(api) == before
    gone = (await alice.delete(path, params={"force": True})).raise_for_status().json()
    assert gone["cancelled"] == 1
    assert (await _count_rows(api))["renders"] == (1 if kind == "render" else 0)
    async with api.database.service_transaction() as connection:
        query = text("SELECT prefix FROM removals WHERE prefix ~ '^renders/' AND repeat_until > now()")
        repeated = (await connection.execute(query)).scalars().all()
    assert repeated == [f"renders/{renders[0]}/"], "its worker may still write: its files are removed again later"


async def test_a_render_takes_only_its_own_files_along(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    _, renders = await _create_renders(api, "succeeded", "succeeded")
    gone = (await alice.delete(f"/api/videos/{renders[0]}")).raise_for_status().json()
    assert (gone["renders"], gone["objects"], gone["datasets"], gone["kept"]) == (1, 3, 0, [])
    await removal.delete_due_objects(api.database, api.objects)
    stored = await _stored_keys(api)
    assert {f"renders/{renders[1]}/{name}" for name in FILES} | {"segments/aa/aa.mp4"} <= stored
    assert not any(str(renders[0]) in key for key in stored)
    assert (await alice.delete(f"/api/videos/{renders[0]}")).status_code == 404
    async with api.client("bob", "videos:render") as bob:
        assert (await bob.delete(f"/api/videos/{renders[1]}")).status_code == 404


async def test_a_store_that_is_away_is_asked_again(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    _, renders = await _create_renders(api, "succeeded")
    await alice.delete(f"/api/videos/{renders[0]}")
    folder = api.objects.root / "reelmill"
    folder.rename(folder.with_name("away"))
    with pytest.raises(ObjectStoreError):
        await removal.delete_due_objects(api.database, api.objects)
    folder.with_name("away").rename(folder)
    async with api.database.service_transaction() as connection:  # as if some seconds had passed
        await connection.execute(text("UPDATE removals SET due_at = now() WHERE due_at < now() + interval '1 minute'"))
    assert await removal.delete_due_objects(api.database, api.objects) == 3


async def test_only_what_is_ours_can_be_marked(api: CatalogueApi) -> None:
    for prefix in (
        "",
        "frames/",
        "frames/x/",
        f"frames/{uuid4()}/{uuid4()}/x/",
        "renders/",
        "renders/../",
        "segments/aa/",
    ):
        with pytest.raises(Exception, match="removals_prefix_check"):
            async with api.database.service_transaction() as connection:
                query = text("INSERT INTO removals (bucket, prefix) VALUES ('reelmill', :prefix)")
                await connection.execute(query, {"prefix": prefix})


async def test_deleting_while_renders_are_asked_for(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    """Every response is an expected one, and nothing of the experiment is left, in any order of requests."""
    for _ in range(5):
        dataset, _ = await _create_renders(api)
        body = {"experiment_id": str(dataset.experiment_id), "decimation_factor": 1}
        asked = [alice.post("/api/videos/generate", json=body | {"fps": 10 + number}) for number in range(6)]
        path = f"/api/experiments/{dataset.experiment_id}"
        answers = await asyncio.gather(*asked[:3], alice.delete(path, params={"force": True}), *asked[3:])
        assert answers[3].status_code == 200, answers[3].text
        assert {answer.status_code for answer in answers} <= {200, 202, 404}
    assert await _count_rows(api) == dict.fromkeys(await _count_rows(api), 0)


async def _upload(client: httpx.AsyncClient, experiment: str, *names: str) -> dict[str, Any]:
    """A dataset into which files of these names were uploaded."""
    made = await client.post(f"/api/experiments/{experiment}/datasets", json={"name": str(uuid4())})
    dataset: dict[str, Any] = made.raise_for_status().json()["dataset"]
    for name in names:
        (await client.put(f"/api/datasets/{dataset['id']}/objects/{name}", content=b"x")).raise_for_status()
    return dataset


async def _make_experiment(client: httpx.AsyncClient) -> str:
    return str((await client.post("/api/experiments", json={"name": str(uuid4())})).json()["id"])


@pytest.mark.parametrize("kind", ["experiment", "dataset"])
async def test_uploaded_frames_go_if_asked(api: CatalogueApi, alice: httpx.AsyncClient, kind: str) -> None:
    experiment = await _make_experiment(alice)
    dataset, other = [await _upload(alice, experiment, "a.jpg", "b/c.jpg") for _ in range(2)]
    path = f"/api/{kind}s/{experiment if kind == 'experiment' else dataset['id']}"
    async with api.client("eve") as eve:
        assert (await eve.delete(path, params={"frames": True})).status_code == 404
    gone = (await alice.delete(path, params={"frames": True})).raise_for_status().json()
    assert (gone["uploads"], gone["kept"]) == (4 if kind == "experiment" else 2, [])
    await removal.delete_due_objects(api.database, api.objects)
    left = {f"{other['prefix']}{name}" for name in ("a.jpg", "b/c.jpg")} if kind == "dataset" else set()
    assert await _stored_keys(api) == left


async def test_frames_in_sources_are_never_deleted(postgres_url: str, tmp_path: Path) -> None:
    async with catalogue_api(postgres_url, tmp_path, sources="camera=alice") as api, api.client("alice") as alice:
        experiment = await _make_experiment(alice)
        await api.put("day/f0.jpg", b"x", "camera")
        for number in range(2):
            body = {"name": f"d{number}", "bucket": "camera", "prefix": "day/"}
            made = (await alice.post(f"/api/experiments/{experiment}/datasets", json=body)).raise_for_status().json()
        first = (await alice.delete(f"/api/datasets/{made['dataset']['id']}", params={"frames": True})).json()
        rest = (await alice.delete(f"/api/experiments/{experiment}", params={"frames": True})).json()
        for gone in (first, rest):
            assert (gone["uploads"], gone["kept"]) == (0, [{"bucket": "camera", "prefix": "day/"}])
        await removal.delete_due_objects(api.database, api.objects)
        assert [info.key async for page in api.objects.list("camera", "") for info in page] == ["day/f0.jpg"]


async def test_frames_that_another_dataset_reads_are_not_deleted(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    experiment = await _make_experiment(alice)
    dataset = await _upload(alice, experiment, "a.jpg")
    body = {"name": "again", "prefix": f"frames/{experiment}/"}
    made = (await alice.post(f"/api/experiments/{experiment}/datasets", json=body)).raise_for_status().json()
    path = f"/api/datasets/{dataset['id']}"
    refused = await alice.delete(path, params={"frames": True})
    assert refused.status_code == 409 and "'again'" in refused.json()["detail"], refused.text
    kept = (await alice.delete(f"/api/datasets/{made['dataset']['id']}", params={"frames": True})).raise_for_status()
    assert kept.json()["kept"], "that dataset has no upload area of its own"
    assert (await alice.delete(path, params={"frames": True})).json()["uploads"] == 1


@pytest.mark.parametrize("frames", [True, False])
async def test_uploads_that_arrive_after_the_deletion(
    api: CatalogueApi, alice: httpx.AsyncClient, frames: bool
) -> None:
    """A store that signs URLs takes them until these expire: what arrives is removed again, however late."""
    dataset = await _upload(alice, await _make_experiment(alice), "kept.jpg")
    path = f"/api/datasets/{dataset['id']}"
    files = [{"name": "late.jpg", "size": 1}]
    signed = (await alice.post(f"{path}/uploads", json={"files": files, "expires_in": 3600})).json()["uploads"][0]
    (await alice.delete(path, params={"frames": frames})).raise_for_status()
    assert (await alice.put(signed["url"], content=b"x")).status_code == 404
    kept = api.objects.root / "reelmill" / dataset["prefix"] / "kept.jpg"
    os.utime(kept, (kept.stat().st_mtime - 86_400,) * 2)
    left = set() if frames else {f"{dataset['prefix']}kept.jpg"}
    for seconds in (120, 3240, 4000):  # as if so much more time had passed
        await api.put(f"{dataset['prefix']}late.jpg", b"x")
        async with api.database.service_transaction() as connection:
            for column in ("due_at", "repeat_until", "scheduled_at", "modified_after"):
                moved = f"{column} - make_interval(secs => {seconds})"
                await connection.execute(text(f"UPDATE removals SET {column} = {moved}"))
        await removal.delete_due_objects(api.database, api.objects)
        assert await _stored_keys(api) == left, seconds
    async with api.database.service_transaction() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM removals WHERE prefix LIKE 'frames/%'")) == 0


@pytest.mark.parametrize("signed", [False, True])
async def test_an_upload_during_the_deletion_leaves_nothing(
    api: CatalogueApi, alice: httpx.AsyncClient, signed: bool
) -> None:
    dataset = await _upload(alice, await _make_experiment(alice))
    path = f"/api/datasets/{dataset['id']}"
    files = [{"name": "a.jpg", "size": 2}]
    urls = (await alice.post(f"{path}/uploads", json={"files": files})).json()["uploads"]

    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        (await alice.delete(path)).raise_for_status()
        yield b"y"

    response = await alice.put(urls[0]["url"] if signed else f"{path}/objects/a.jpg", content=body())
    assert response.status_code == 404, response.text
    assert await _stored_keys(api) == set()
