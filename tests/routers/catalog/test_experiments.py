"""/api/experiments with a real database."""

import asyncio
import base64
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.support.processes.catalogue_api import CatalogueApi

pytestmark = pytest.mark.anyio
PATH = "/api/experiments"


async def _create_experiment(client: httpx.AsyncClient, name: str, **fields: Any) -> dict[str, Any]:
    response = await client.post(PATH, json={"name": name, **fields})
    assert response.status_code == 201, response.text
    return dict(response.json())


async def test_make_look_change_delete(alice: httpx.AsyncClient) -> None:
    response = await alice.post(PATH, json={"name": " run 1 ", "metadata": {"a": [1, {"b": None}], "é": "\u2028"}})
    made = response.json()
    assert response.status_code == 201 and response.headers["Location"] == f"{PATH}/{made['id']}"
    assert (made["name"], made["owner"], made["visibility"]) == ("run 1", "alice", "private")
    assert (await alice.get(response.headers["Location"])).json() == made

    changed = await alice.patch(f"{PATH}/{made['id']}", json={"visibility": "shared", "shared_with": ["bob"]})
    assert changed.json() == made | {
        "visibility": "shared",
        "shared_with": ["bob"],
        "updated_at": changed.json()["updated_at"],
    }
    assert changed.json()["updated_at"] > made["updated_at"]

    assert (await alice.delete(f"{PATH}/{made['id']}")).status_code == 200
    gone = await alice.get(f"{PATH}/{made['id']}")
    assert gone.status_code == 404 and gone.headers["content-type"] == "application/problem+json"
    assert (await alice.delete(f"{PATH}/{made['id']}")).status_code == 404


async def test_names_are_unique_for_each_owner(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    first, second = await _create_experiment(alice, "one"), await _create_experiment(alice, "two")
    assert (await alice.post(PATH, json={"name": "one"})).status_code == 409
    assert (await alice.patch(f"{PATH}/{second['id']}", json={"name": "one"})).status_code == 409
    assert (await alice.patch(f"{PATH}/{first['id']}", json={"name": "one"})).status_code == 200
    async with api.client("bob") as bob:
        await _create_experiment(bob, "one")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/name"),
        ({"name": ""}, "#/name"),
        ({"name": "   "}, "#/name"),
        ({"name": "x" * 201}, "#/name"),
        ({"name": "a\0b"}, "#/name"),
        ({"name": 7}, "#/name"),
        ({"name": "x", "colour": "red"}, "#/colour"),
        ({"name": "x", "owner": "eve"}, "#/owner"),
        ({"name": "x", "visibility": "secret"}, "#/visibility"),
        ({"name": "x", "shared_with": "bob"}, "#/shared_with"),
        ({"name": "x", "shared_with": [""]}, "#/shared_with/0"),
        ({"name": "x", "metadata": []}, "#/metadata"),
        ({"name": "x", "metadata": {"deep": [{"text": "a\0b"}]}}, "#/metadata"),
        ({"name": "x", "metadata": {"big": "y" * 70_000}}, "#/metadata"),
    ],
)
async def test_impossible_experiments(alice: httpx.AsyncClient, body: dict[str, Any], pointer: str) -> None:
    response = await alice.post(PATH, json=body)
    assert response.status_code == 422, response.text
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    "metadata",
    [
        "NaN",
        "1e999",
        '"\\ud800"',
        "{" * 50 + "}" * 50,
        "[" * 40 + "]" * 40,
        "[" * 300 + "]" * 300,
        "[" * 5000 + "]" * 5000,
    ],
)
async def test_json_that_cannot_be_kept_or_told(alice: httpx.AsyncClient, metadata: str) -> None:
    content = f'{{"name": "x", "metadata": {{"value": {metadata}}}}}'
    response = await alice.post(PATH, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422), response.text


async def test_an_empty_change_is_refused(alice: httpx.AsyncClient) -> None:
    made = await _create_experiment(alice, "one")
    for body in ({}, {"name": None}, {"id": str(uuid4())}):
        assert (await alice.patch(f"{PATH}/{made['id']}", json=body)).status_code == 422


async def test_what_others_see(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    for visibility in ("private", "shared", "public"):
        await _create_experiment(alice, visibility, visibility=visibility, shared_with=["bob"])
    rows = {row["name"]: row for row in (await alice.get(PATH)).json()}
    seen = {"bob": {"shared", "public"}, "eve": {"public"}}
    for subject, names in seen.items():
        async with api.client(subject) as client:
            listed = (await client.get(PATH)).json()
            assert {row["name"] for row in listed} == names
            assert all(row["shared_with"] == [] for row in listed)
            for name, row in rows.items():
                path = f"{PATH}/{row['id']}"
                assert (await client.get(path)).status_code == (200 if name in names else 404)
                assert (await client.patch(path, json={"name": "mine"})).status_code == (403 if name in names else 404)
                assert (await client.delete(path)).status_code == (403 if name in names else 404)
    async with api.client("root", "admin") as root:
        assert {row["name"] for row in (await root.get(PATH)).json()} == set(rows)
        assert (await root.get(PATH, params={"mine": True})).json() == []
        assert (await root.delete(f"{PATH}/{rows['private']['id']}")).status_code == 200


async def test_scopes(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    made = await _create_experiment(alice, "one")
    async with api.client("alice", "catalog:read") as reader:
        assert (await reader.get(PATH)).status_code == 200
        for refused in (
            await reader.post(PATH, json={"name": "x"}),
            await reader.patch(f"{PATH}/{made['id']}", json={"name": "x"}),
            await reader.delete(f"{PATH}/{made['id']}"),
        ):
            assert refused.status_code == 403 and "catalog:write" in refused.json()["detail"]
    async with api.client("alice", "videos:read") as other:
        assert (await other.get(PATH)).status_code == 403


@pytest.mark.parametrize("sort", ["-created_at", "created_at", "name", "-name"])
async def test_pages(alice: httpx.AsyncClient, sort: str) -> None:
    """Every experiment appears once and in order, although others are created between the pages."""
    names = [f"run {number:02d}" for number in range(23)]
    for name in sorted(names, key=lambda name: name[::-1]):
        await _create_experiment(alice, name)
    listed, url, pages = [], f"{PATH}?limit=5&sort={sort}&q=run", 0
    while url:
        response = await alice.get(url)
        listed += [row["name"] for row in response.json()]
        url, pages = response.links.get("next", {}).get("url", ""), pages + 1
        await _create_experiment(alice, f"later {pages}")
    assert sorted(listed) == names and pages == 5
    if sort.endswith("name"):
        assert listed == sorted(names, reverse=sort.startswith("-"))
    else:
        assert listed == sorted(names, key=lambda name: name[::-1], reverse=sort.startswith("-"))


async def test_filters_and_count(alice: httpx.AsyncClient) -> None:
    first = await _create_experiment(alice, "100% Zebra_fish", description="Danio")
    await _create_experiment(alice, "1000 zebrafish")
    for q, count in (("ZEBRA", 2), ("0%", 1), ("a_f", 1), ("danio", 1), ("\\", 0), ("none", 0)):
        response = await alice.get(PATH, params={"q": q, "count": "exact", "limit": 1})
        assert response.headers["X-Total-Count"] == str(count), q
        assert len(response.json()) == min(count, 1)
    after = await alice.get(PATH, params={"created_after": first["created_at"]})
    assert [row["name"] for row in after.json()] == ["1000 zebrafish"]
    before = await alice.get(PATH, params={"created_before": first["created_at"]})
    assert before.json() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "501"),
        ("limit", "many"),
        ("sort", "owner"),
        ("q", "a\0b"),
        ("created_after", "yesterday"),
        ("created_after", "2026-01-01T00:00:00"),
        ("colour", "red"),
        ("cursor", "nonsense"),
        ("cursor", "é"),
        ("cursor", base64.urlsafe_b64encode(b"[" * 1400).decode()),
        ("cursor", "x" * 4001),
    ],
)
async def test_impossible_lists(alice: httpx.AsyncClient, name: str, value: str) -> None:
    response = await alice.get(PATH, params={name: value})
    assert response.status_code == 422, response.text
    assert [error["parameter"] for error in response.json()["errors"]] == [name]


async def test_ids_that_cannot_be(alice: httpx.AsyncClient) -> None:
    for strange in ("1", "nowhere", str(UUID(int=0)), "%00"):
        assert (await alice.get(f"{PATH}/{strange}")).status_code == 404


async def test_two_at_once_make_one(alice: httpx.AsyncClient) -> None:
    responses = await asyncio.gather(*(alice.post(PATH, json={"name": "same"}) for _ in range(8)))
    assert sorted(response.status_code for response in responses) == [201] + [409] * 7
