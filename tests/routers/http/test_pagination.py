"""Keyset pages of a real database are stable under concurrent inserts, and cursors cannot be forged."""

import asyncio
import json
import random
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.routers.http.signing import Signer
from service.store.catalog.datasets import DatasetRow
from tests.support.data.database_rows import add_dataset, add_render
from tests.support.processes.catalogue_api import CatalogueApi

pytestmark = pytest.mark.anyio
SIGNER = Signer(b"k" * 32)
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=8)


class Listing:
    """One of the lists: its path, how to add a row, and its sort orders."""

    def __init__(self, api: CatalogueApi, client: httpx.AsyncClient) -> None:
        self.api, self.client = api, client
        self.path = ""

    async def prepare(self) -> None: ...

    async def add(self) -> str:
        raise NotImplementedError


class Experiments(Listing):
    sorts = ("-created_at", "created_at", "name", "-name")

    async def prepare(self) -> None:
        self.path = "/api/experiments"

    async def add(self) -> str:
        body = {"name": f"{random.random()}"}
        return str((await self.client.post(self.path, json=body)).raise_for_status().json()["id"])


class Datasets(Listing):
    sorts = ("created_at", "-created_at", "name", "-name")

    async def prepare(self) -> None:
        made = await self.client.post("/api/experiments", json={"name": "run"})
        self.path = f"/api/experiments/{made.json()['id']}/datasets"

    async def add(self) -> str:
        body = {"name": f"{random.random()}"}
        return str((await self.client.post(self.path, json=body)).raise_for_status().json()["dataset"]["id"])


class Videos(Listing):
    sorts = ("-created_at", "created_at")
    dataset: DatasetRow

    async def prepare(self) -> None:
        self.path = "/api/videos"
        async with self.api.database.service_transaction() as connection:
            self.dataset = await add_dataset(connection, 2)

    async def add(self) -> str:
        async with self.api.database.service_transaction() as connection:
            return str(await add_render(connection, self.dataset))


async def _read_all_pages(client: httpx.AsyncClient, url: str, pause: Callable[[], Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while url:
        response = (await client.get(url)).raise_for_status()
        rows += response.json()
        url = response.links.get("next", {}).get("url", "")
        await pause()
    return rows


@pytest.mark.parametrize(
    ("kind", "sort"), [(kind, sort) for kind in (Experiments, Datasets, Videos) for sort in kind.sorts]
)
async def test_pages_are_stable_under_concurrent_inserts(
    api: CatalogueApi, alice: httpx.AsyncClient, kind: Any, sort: str
) -> None:
    """Rows that existed at the start appear exactly once and in order, whatever is inserted meanwhile."""
    listing = kind(api, alice)
    await listing.prepare()
    for limit in (1, 2, 5):
        there = set(await asyncio.gather(*(listing.add() for _ in range(4))))
        dice, adding = random.Random(limit), list[asyncio.Task[str]]()

        async def pause(dice: random.Random = dice, adding: list[Any] = adding) -> None:
            if len(adding) < 24:
                adding += [asyncio.create_task(listing.add()) for _ in range(dice.randint(0, 3))]
            await asyncio.sleep(0.003 * dice.random())

        rows = await _read_all_pages(alice, f"{listing.path}?limit={limit}&sort={sort}", pause)
        await asyncio.gather(*adding)
        ids = [row.get("id") or row["job_id"] for row in rows]
        assert len(ids) == len(set(ids))
        assert there <= set(ids)
        told = [_sort_position(row, sort) for row in rows]
        assert told == sorted(told, reverse=sort.startswith("-"))


def _sort_position(row: dict[str, Any], sort: str) -> tuple[Any, str]:
    value = row[sort.removeprefix("-")]
    return (datetime.fromisoformat(value) if sort.endswith("_at") else value, row.get("id") or row["job_id"])


async def test_the_last_page_has_no_next(alice: httpx.AsyncClient) -> None:
    for number in range(4):
        await alice.post("/api/experiments", json={"name": f"run {number}"})
    first = await alice.get("/api/experiments", params={"limit": 2, "count": "exact"})
    last = await alice.get(first.links["next"]["url"])
    assert (len(first.json()), len(last.json()), "Link" in last.headers) == (2, 2, False)
    assert first.headers["X-Total-Count"] == last.headers["X-Total-Count"] == "4"


@pytest.mark.parametrize("sort", Experiments.sorts)
async def test_pages_of_long_metadata_are_short(alice: httpx.AsyncClient, sort: str) -> None:
    """An answer of 500 rows of 60 KB would keep everybody waiting."""
    names = [f"{number:02}" for number in range(40)]
    for name in names:
        body = {"name": name, "metadata": {"text": "x" * 60_000}}
        (await alice.post("/api/experiments", json=body)).raise_for_status()
    url, pages = f"/api/experiments?limit=500&sort={sort}", []
    while url:
        answer = (await alice.get(url)).raise_for_status()
        assert len(answer.content) < 1_200_000
        pages.append([row["name"] for row in answer.json()])
        url = answer.links.get("next", {}).get("url", "")
    assert [name for page in pages for name in page] == sorted(names, reverse=sort.startswith("-")) and len(pages) > 1


@pytest.mark.parametrize("path", ["/api/experiments", "/api/videos", "datasets"])
async def test_only_our_own_cursors_are_taken(api: CatalogueApi, alice: httpx.AsyncClient, path: str) -> None:
    listing: Listing = {"/api/experiments": Experiments, "/api/videos": Videos}.get(path, Datasets)(api, alice)  # type: ignore[attr-defined]
    await listing.prepare()
    for _ in range(3):
        await listing.add()
    response = await alice.get(listing.path, params={"limit": 1, "sort": "created_at"})
    cursor = httpx.URL(response.links["next"]["url"]).params["cursor"]
    assert (await alice.get(listing.path, params={"cursor": cursor, "sort": "created_at"})).status_code == 200
    other_key = Signer(b"another key of thirty-two bytes.").sign("cursor experiments created_at", ["x", str(uuid4())])
    forged = [cursor[:-1], cursor + "A", cursor.swapcase(), cursor[::-1], "", "é", other_key]
    forged += [cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :] for at in range(0, len(cursor), 7)]
    for bad, sort in [(bad, "created_at") for bad in forged] + [(cursor, "-created_at")]:
        refused = await alice.get(listing.path, params={"cursor": bad, "sort": sort})
        assert (refused.status_code, refused.json()["errors"][0]["parameter"]) == (422, "cursor"), bad


async def test_a_cursor_of_one_list_opens_no_other(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    experiments, datasets, others = Experiments(api, alice), Datasets(api, alice), Datasets(api, alice)
    await experiments.prepare()
    await datasets.prepare()
    await experiments.add()
    await datasets.add()
    await datasets.add()
    made = await alice.post("/api/experiments", json={"name": "another run"})
    others.path = f"/api/experiments/{made.json()['id']}/datasets"
    for source, target in ((experiments, datasets), (datasets, experiments), (datasets, others)):
        response = await alice.get(source.path, params={"limit": 1, "sort": "name"})
        cursor = httpx.URL(response.links["next"]["url"]).params["cursor"]
        assert (await alice.get(target.path, params={"cursor": cursor, "sort": "name"})).status_code == 422


async def test_filters_of_the_render_list(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    async with api.database.service_transaction() as connection:
        first, second = await add_dataset(connection, 2), await add_dataset(connection, 2)
        mine = [str(await add_render(connection, dataset)) for dataset in (first, first, second)]
    for query, ids in (
        ({}, mine[::-1]),
        ({"sort": "created_at"}, mine),
        ({"experiment_id": first.experiment_id}, mine[1::-1]),
        ({"dataset_id": second.id}, mine[2:]),
        ({"status": "queued"}, mine[::-1]),
        ({"status": "failed"}, []),
        ({"mine": True}, mine[::-1]),
        ({"created_after": "2020-01-01T00:00:00Z"}, mine[::-1]),
        ({"created_before": "2020-01-01T00:00:00Z"}, []),
    ):
        response = await alice.get("/api/videos", params={**query, "count": "exact"})
        assert sorted(row["job_id"] for row in response.json()) == sorted(ids), query
        assert response.headers["X-Total-Count"] == str(len(ids))
    async with api.client("bob", "videos:read") as bob:
        nobody = await bob.get("/api/videos", params={"count": "exact"})
        assert (nobody.json(), nobody.headers["X-Total-Count"]) == ([], "0")
    for query in ({"colour": "red"}, {"status": "lost"}, {"limit": 0}, {"sort": "name"}, {"experiment_id": "x"}):
        assert (await alice.get("/api/videos", params=query)).status_code == 422, query


async def test_dataset_lists_are_searched(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    listing = Datasets(api, alice)
    await listing.prepare()
    for name in ("left_eye", "left eye", "right eye"):
        await alice.post(listing.path, json={"name": name})
    for q, count in (("EYE", 3), ("left", 2), ("t_e", 1), ("%", 0)):
        response = await alice.get(listing.path, params={"q": q, "count": "exact", "limit": 1})
        assert response.headers["X-Total-Count"] == str(count)


async def test_frame_pages_end(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    async with api.database.service_transaction() as connection:
        dataset = await add_dataset(connection, 6)

    async def pause() -> None: ...

    rows = await _read_all_pages(alice, f"/api/datasets/{dataset.id}/frames?limit=3", pause)
    assert [row["index"] for row in rows] == list(range(6))
    last = await alice.get(f"/api/datasets/{dataset.id}/frames", params={"limit": 3, "start": 3})
    assert "Link" not in last.headers


@given(JSON)
def test_what_was_sealed_opens_unaltered(value: Any) -> None:
    assert SIGNER.verify("a", SIGNER.sign("a", value)) == json.loads(json.dumps(value))


@given(JSON, st.data())
def test_no_altered_seal_opens(value: Any, data: st.DataObject) -> None:
    sealed = SIGNER.sign("a", value)
    at = data.draw(st.integers(0, len(sealed) - 1))
    altered = sealed[:at] + data.draw(st.text(max_size=3)) + sealed[at + 1 :]
    if altered != sealed:
        with pytest.raises(ValueError):
            SIGNER.verify("a", altered)
    for signer, purpose in ((SIGNER, "b"), (Signer(b"l" * 32), "a")):
        with pytest.raises(ValueError):
            signer.verify(purpose, sealed)
