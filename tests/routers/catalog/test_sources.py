"""Whose source buckets are: registered, scanned, shown and rendered by the rules of MINIO_SOURCES."""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text, update

from service.ids import TaskId
from service.jobs import leases
from service.processes.app import create_app
from service.store.catalog import datasets as dataset_rows
from service.store.source_rules import parse_sources
from service.store.tables import datasets, frames
from service.worker.commands import load_command
from tests.support.data.database_rows import add_render
from tests.support.processes.catalogue_api import SCOPES, CatalogueApi, catalogue_api

pytestmark = pytest.mark.anyio
RULES = "lab/=carol,lab/raw/=alice|bob,lab/raw/private/=bob,listed"
ALL_SCOPES = (*SCOPES, "videos:read", "videos:render")


@pytest.fixture
async def api(postgres_url: str, tmp_path: Path) -> AsyncIterator[CatalogueApi]:
    async with catalogue_api(postgres_url, tmp_path, sources=RULES) as api:
        yield api


def with_rules(api: CatalogueApi, rules: str) -> CatalogueApi:
    """The same service after a restart with other rules."""
    resources = dataclasses.replace(api.app.state.resources, sources=parse_sources(rules, "reelmill"))
    return dataclasses.replace(api, app=create_app(resources))


async def make_experiment(api: CatalogueApi, subject: str, **more: Any) -> str:
    async with api.client(subject) as client:
        response = await client.post("/api/experiments", json={"name": f"of {subject}", **more})
        return str(response.raise_for_status().json()["id"])


async def register(api: CatalogueApi, caller: str, experiment: str, place: str, *scopes: str) -> httpx.Response:
    bucket, _, prefix = place.partition("/")
    async with api.client(caller, *scopes or SCOPES) as client:
        body = {"name": f"{caller} {place}"[:200], "bucket": bucket, "prefix": prefix}
        return await client.post(f"/api/experiments/{experiment}/datasets", json=body)


async def make_ready(api: CatalogueApi, dataset: str) -> dataset_rows.DatasetRow:
    """As after a scan of three frames."""
    async with api.database.service_transaction() as connection:
        row = await dataset_rows.get(connection, UUID(dataset))
        assert row is not None
        keys = [f"{row.prefix}f{number}.jpg" for number in range(3)]
        values = [{"dataset_id": row.id, "index": n, "key": k, "size": 1, "etag": "e"} for n, k in enumerate(keys)]
        await connection.execute(frames.insert(), values)
        facts = {"state": "ready", "frame_count": 3, "width": 64, "height": 48, "digest": dataset}
        await connection.execute(update(datasets).where(datasets.c.id == row.id).values(**facts))
        return dataclasses.replace(row, state="ready", frame_count=3, width=64, height=48, digest=dataset)


async def test_each_registers_only_what_is_theirs(api: CatalogueApi) -> None:
    mine = await make_experiment(api, "alice")
    for place, pointer, told in (
        ("lab/raw/", "#/prefix", "belongs to others"),
        ("lab/raw/private/x/", "#/prefix", "belongs to others"),
        ("lab/raw/priv", "#/prefix", "with a slash: raw/priv/"),
        ("lab/raw/PRIVATE/x/", "#/prefix", "belongs to others"),
        ("lab/", "#/prefix", "below raw/ only"),
        ("lab/rest/", "#/prefix", "below raw/ only"),
        ("lab/raw-secret/", "#/prefix", "below raw/ only"),
        ("lab/raw/../", "#/prefix", ""),
        ("lab/raw//x/", "#/prefix", ""),
        ("unlisted/x/", "#/bucket", "MINIO_SOURCES"),
        ("reelmill/renders/", "#/prefix", "frames/"),
    ):
        response = await register(api, "alice", mine, place)
        assert response.status_code == 422, (place, response.text)
        problem = response.json()["errors"][0]
        assert problem["pointer"] == pointer and told in problem["detail"], (place, problem)
    assert (await register(api, "alice", mine, "lab/raw/day 1/")).status_code == 202
    theirs = await make_experiment(api, "eve")
    hidden, unknown = [await register(api, "eve", theirs, place) for place in ("lab/raw/x/", "unlisted/x/")]
    assert hidden.json()["errors"] == unknown.json()["errors"], "a stranger does not learn which buckets there are"
    assert (await register(api, "root", mine, "lab/", "admin")).status_code == 202
    assert (await register(api, "root", mine, "unlisted/", "admin")).status_code == 422


async def test_a_listed_bucket_has_one_owner(api: CatalogueApi) -> None:
    first = await make_experiment(api, "alice")
    assert (await register(api, "alice", first, "listed/day 1/")).status_code == 202, "nobody else is here"
    second = await make_experiment(api, "bob")
    assert (await register(api, "bob", second, "listed/day 1/")).status_code == 422
    assert (await register(api, "root", second, "listed/day 1/", "admin")).status_code == 202
    assert (await register(api, "alice", first, "listed/day 2/")).status_code == 202, "it stays hers"
    async with api.client("alice") as alice:
        (await alice.delete(f"/api/experiments/{first}")).raise_for_status()
    assert (await register(api, "bob", second, "listed/day 1/x/")).status_code == 202, "bob is alone now"
    await make_experiment(api, "alice")
    unlisted = with_rules(api, "listed,other")
    assert (await register(unlisted, "bob", second, "other/")).status_code == 422, "nobody's yet, and two are here"


async def answers(api: CatalogueApi, subject: str, experiment: str, dataset: str, render: str) -> dict[str, Any]:
    """(status, type of the problem) of every request that reads the source."""
    async with api.client(subject, *ALL_SCOPES) as client:
        body = {"experiment_id": experiment, "dataset_id": dataset, "decimation_factor": 1, "fps": 10}
        given = {
            "generate": await client.post("/api/videos/generate", json=body),
            "dry run": await client.post("/api/videos/generate", json=body | {"dry_run": True}),
            "image": await client.get(f"/api/datasets/{dataset}/frames/0/image"),
            "objects": await client.get(f"/api/datasets/{dataset}/objects"),
        }
        if subject == "alice":
            given["scan"] = await client.post(f"/api/datasets/{dataset}/scan")
            given["retry"] = await client.post(f"/api/videos/{render}/retry")
        return {
            what: (told.status_code, told.json().get("type")) for what, told in given.items() if not told.is_success
        }


async def test_a_rule_that_is_taken_away_ends_the_access(api: CatalogueApi) -> None:
    experiment = await make_experiment(api, "alice", visibility="shared", shared_with=["eve"])
    registered = await register(api, "alice", experiment, "lab/raw/day/")
    dataset = registered.json()["dataset"]["id"]
    row = await make_ready(api, dataset)
    await api.put("raw/day/f0.jpg", b"x", "lab")
    async with api.database.service_transaction() as connection:
        render = str(await add_render(connection, row))
        await connection.execute(text("UPDATE renders SET status = 'failed'"))
    assert await answers(api, "eve", experiment, dataset, render) == {}, "a guest renders by the owner's right"
    for rules in ("lab/raw/=bob", "lab/raw/=eve", "lab/raw/=alice,lab/raw/day/x/=bob", "other=alice", ""):
        changed = with_rules(api, rules)
        for subject in ("alice", "eve"):
            given = await answers(changed, subject, experiment, dataset, render)
            assert len(given) == (6 if subject == "alice" else 4), (rules, given)
            assert set(given.values()) == {(403, "/problems/source-forbidden")}, (rules, given)
    async with api.client("alice", *ALL_SCOPES) as alice:
        assert (await alice.get(f"/api/datasets/{dataset}")).status_code == 200
        assert (await alice.delete(f"/api/videos/{render}")).status_code == 200
    assert await answers(api, "alice", experiment, dataset, render) == {"retry": (404, "/problems/not-found")}


async def test_tasks_that_waited_while_a_rule_was_taken_away_fail_by_name(api: CatalogueApi) -> None:
    experiment = await make_experiment(api, "alice")
    dataset = (await register(api, "alice", experiment, "lab/raw/day/")).json()["dataset"]["id"]
    row = await make_ready(api, dataset)
    async with api.database.service_transaction() as connection:
        await add_render(connection, row)
        tasks = {kind: task for task, kind in await connection.execute(text("SELECT id, kind FROM tasks"))}
    assert set(tasks) == {"scan", "segment"}
    for task in tasks.values():
        async with api.database.service_transaction() as connection:
            lease = await leases.acquire(connection, TaskId(task), "worker")
            assert lease is not None
            assert await load_command(connection, lease, parse_sources("lab/raw/=bob", "reelmill")) is None
    async with api.database.service_transaction() as connection:
        codes = (await connection.execute(text("SELECT state, error ->> 'code' FROM tasks"))).all()
        render = (await connection.execute(text("SELECT status, error ->> 'reason' FROM renders"))).one()
        scan = (await connection.execute(text("SELECT state, error FROM datasets"))).one()
    assert {tuple(row) for row in codes} == {("failed", "source_forbidden")}
    assert render[0] == scan[0] == "failed" and all("MINIO_SOURCES" in row[1] for row in (render, scan))
