"""ETag, If-Match and If-None-Match with a real database: no update is lost."""

import asyncio
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import PreconditionFailed
from service.routers.http.conditional_requests import not_modified_response, require_match
from tests.support.processes.catalogue_api import CatalogueApi

pytestmark = pytest.mark.anyio
CURRENT = '"abc"'


async def _create_experiment(client: httpx.AsyncClient) -> httpx.Response:
    response = await client.post("/api/experiments", json={"name": "run", "metadata": {"count": 0}})
    assert response.status_code == 201, response.text
    return response


async def _create_dataset(client: httpx.AsyncClient) -> httpx.Response:
    experiment = (await _create_experiment(client)).json()["id"]
    return await client.post(f"/api/experiments/{experiment}/datasets", json={"name": "camera"})


@pytest.mark.parametrize("make", [_create_experiment, _create_dataset])
async def test_an_etag_tells_states_apart(alice: httpx.AsyncClient, make: Any) -> None:
    made = await make(alice)
    path, first = made.headers["Location"], made.headers["ETag"]
    seen = await alice.get(path)
    assert seen.headers["ETag"] == first
    again = await alice.get(path, headers={"If-None-Match": f'"other", W/{first}'})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", first)
    changed = await alice.patch(path, json={"name": "renamed"}, headers={"If-Match": first})
    assert changed.status_code == 200 and changed.json()["name"] == "renamed"
    assert changed.headers["ETag"] != first
    fresh = await alice.get(path, headers={"If-None-Match": first})
    assert (fresh.status_code, fresh.headers["ETag"]) == (200, changed.headers["ETag"])


@pytest.mark.parametrize("make", [_create_experiment, _create_dataset])
async def test_a_stale_change_is_refused(alice: httpx.AsyncClient, make: Any) -> None:
    made = await make(alice)
    path, stale = made.headers["Location"], {"If-Match": made.headers["ETag"]}
    assert (await alice.patch(path, json={"name": "first"}, headers=stale)).status_code == 200
    refused = await alice.patch(path, json={"name": "second"}, headers=stale)
    assert refused.status_code == 412 and refused.json()["errors"][0]["header"] == "If-Match"
    assert (await alice.delete(path, headers=stale)).status_code == 412
    seen = await alice.get(path)
    assert seen.json()["name"] == "first" and seen.headers["ETag"] == refused.headers["ETag"]
    assert (await alice.patch(path, json={"name": "third"}, headers={"If-Match": "*"})).status_code == 200
    assert (await alice.patch(path, json={"name": "fourth"})).status_code == 200
    now = (await alice.get(path)).headers["ETag"]
    assert (await alice.delete(path, headers={"If-Match": f'"x", {now}'})).is_success
    assert (await alice.delete(path, headers={"If-Match": "*"})).status_code == 404


async def test_concurrent_read_modify_write_loses_no_update(alice: httpx.AsyncClient) -> None:
    """Eight writers increment a counter in the metadata and retry on 412: no increment is lost."""
    path = (await _create_experiment(alice)).headers["Location"]
    refused = 0

    async def count_up() -> None:
        nonlocal refused
        while True:
            seen = await alice.get(path)
            body = {"metadata": {"count": seen.json()["metadata"]["count"] + 1}}
            answer = await alice.patch(path, json=body, headers={"If-Match": seen.headers["ETag"]})
            if answer.status_code == 200:
                return
            assert answer.status_code == 412, answer.text
            refused += 1

    await asyncio.gather(*(count_up() for _ in range(8)))
    assert (await alice.get(path)).json()["metadata"]["count"] == 8
    assert refused > 0, "there was a race at all"


async def test_one_of_many_with_the_same_tag_wins(alice: httpx.AsyncClient) -> None:
    made = await _create_dataset(alice)
    path, headers = made.headers["Location"], {"If-Match": made.headers["ETag"]}
    changes = [alice.patch(path, json={"name": f"n{number}"}, headers=headers) for number in range(6)]
    answers = await asyncio.gather(*changes, alice.delete(path, headers=headers))
    assert sorted(answer.is_success for answer in answers) == [False] * 6 + [True]
    assert {answer.status_code for answer in answers if not answer.is_success} <= {412, 404}


async def test_dataset_names(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    first = (await _create_dataset(alice)).json()["dataset"]
    other = f"/api/experiments/{first['experiment_id']}/datasets"
    second = (await alice.post(other, json={"name": "second"})).json()["dataset"]
    path = f"/api/datasets/{second['id']}"
    assert (await alice.patch(path, json={"name": "camera"})).status_code == 409
    for body, pointer in (({}, "#/name"), ({"name": ""}, "#/name"), ({"name": "x", "prefix": ""}, "#/prefix")):
        refused = await alice.patch(path, json=body)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, pointer)
    async with api.client("eve") as eve:
        assert (await eve.patch(path, json={"name": "mine"})).status_code == 404


@given(st.text(max_size=60))
def test_no_header_breaks_the_comparison(header: str) -> None:
    """Only `*` or a list with the strong tag allows a change."""
    holds = header.strip() == "*" or CURRENT in header
    try:
        require_match(header, CURRENT)
    except PreconditionFailed:
        assert header.strip() != "*"
    else:
        assert holds
    if not_modified_response(header, CURRENT) is not None:
        assert holds


@pytest.mark.parametrize(
    ("header", "strong", "weak"),
    [
        (None, True, False),
        ("*", True, True),
        (CURRENT, True, True),
        (f'"x" , {CURRENT}', True, True),
        (f"W/{CURRENT}", False, True),
        ('"x"', False, False),
        ("abc", False, False),
        ("", False, False),
    ],
)
def test_comparisons(header: str | None, strong: bool, weak: bool) -> None:
    if strong:
        require_match(header, CURRENT)
    else:
        with pytest.raises(PreconditionFailed):
            require_match(header, CURRENT)
    assert (not_modified_response(header, CURRENT) is not None) is weak
