"""Batches: every request is answered as it would be alone, whatever becomes of the others."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from service.plan.facts import RenderLimits
from service.processes.app import create_app
from tests.support.data.database_rows import add_dataset
from tests.support.processes.catalogue_api import CatalogueApi, catalogue_api

pytestmark = pytest.mark.anyio
PATH, GENERATE = "/api/videos/batch", "/api/videos/generate"
SCOPES = ("videos:read", "videos:render")


@pytest.fixture
async def api(postgres_url: str, tmp_path: Path) -> AsyncIterator[CatalogueApi]:
    async with catalogue_api(postgres_url, tmp_path) as api:
        yield api


def with_limit(api: CatalogueApi, max_queued: int) -> CatalogueApi:
    """The same service, where a caller may have so many unfinished renders."""
    limits = RenderLimits.model_construct(max_queued=max_queued)
    return replace(api, app=create_app(replace(api.app.state.resources, limits=limits)))


async def new_experiment(api: CatalogueApi, count: int = 2) -> str:
    async with api.database.service_transaction() as connection:
        return str((await add_dataset(connection, count)).experiment_id)


async def send(client: httpx.AsyncClient, renders: list[Any]) -> list[dict[str, Any]]:
    answer = await client.post(PATH, json={"renders": renders}, timeout=120)
    assert answer.status_code == 200, answer.text
    answers: list[dict[str, Any]] = answer.json()
    assert [each["index"] for each in answers] == list(range(len(renders)))
    assert all((each["job"] is None) == (each["problem"] is not None) for each in answers)
    assert all((each["retry_after"] is not None) == (each["status"] in (429, 503)) for each in answers)
    return answers


async def count_renders(api: CatalogueApi) -> int:
    async with api.database.service_transaction() as connection:
        return int(await connection.scalar(text("SELECT count(*) FROM renders")) or 0)


def place(answer: dict[str, Any]) -> tuple[int, str | None]:
    errors = (answer["problem"] or {}).get("errors") or [{}]
    return answer["status"], errors[0].get("pointer")


async def test_a_thousand_requests_of_all_kinds(api: CatalogueApi) -> None:
    experiment, other = await new_experiment(api), await new_experiment(api)
    async with with_limit(api, 30).client("alice", *SCOPES) as alice:
        made = await alice.post("/api/presets", json={"name": "p", "options": {"decimation_factor": 1, "fps": 5}})
        assert made.status_code == 201
        good = {"experiment_id": experiment, "decimation_factor": 1}
        by_preset = {"experiment_id": other, "preset": "p"}
        wrong: list[tuple[Any, tuple[int, str | None]]] = [
            (good | {"fps": 0}, (422, "/fps")),
            (good | {"fps": 5, "preset": "nothing"}, (422, "/preset")),
            ({"experiment_id": experiment, "fps": 5}, (422, "/decimation_factor")),
            ({"decimation_factor": 1}, (422, "/experiment_id")),
            (good | {"fps": 5, "tone": {"gamma": -1}}, (422, "/tone/gamma")),
            (good | {"fps": 5, "crop": {"x": 0, "y": 0, "width": 9000, "height": 2}}, (422, "/crop")),
            (good | {"fps": 5, "colour": "red"}, (422, "/colour")),
            (good | {"fps": 5, "idempotency_key": ""}, (422, "/idempotency_key")),
            ("nonsense", (422, "")),
            ({str(number): 1 for number in range(200)}, (422, "")),
        ]
        renders: list[Any] = []
        for number in range(90):
            once = good | {"fps": 5, "quality": number % 25}
            renders += [once if number % 2 else by_preset, *(body for body, _ in wrong)]
        answers = await send(alice, renders + [good | {"fps": 5, "dry_run": True}] * 10)
    jobs = set()
    for number, answer in enumerate(answers[:990]):
        if number % 11 == 0:
            assert answer["status"] == 202, answer
            jobs.add(answer["job"]["job_id"])
        else:
            status, pointer = wrong[number % 11 - 1][1]
            found = place(answer)
            assert found[0] == status and (found[1] or "").startswith(f"#/renders/{number}{pointer}"), answer
    assert len(jobs) == await count_renders(api) == 26, "25 qualities of one and one of the other"
    assert {(answer["status"], answer["job"]["estimate"]["frames"]) for answer in answers[990:]} == {(200, 2)}


async def test_an_answer_is_the_one_that_is_given_alone(api: CatalogueApi) -> None:
    experiment = await new_experiment(api)
    async with api.client("alice", *SCOPES) as alice:
        for body in (
            {"experiment_id": experiment, "decimation_factor": 1, "fps": 900},
            {"experiment_id": str(uuid4()), "decimation_factor": 1, "fps": 9},
            {"experiment_id": experiment, "decimation_factor": 1, "fps": 9, "speed": 2},
            {"experiment_id": experiment, "decimation_factor": 1, "fps": 9},
        ):
            (answer,) = await send(alice, [body])
            alone = await alice.post(GENERATE, json=body)
            assert answer["status"] == alone.status_code
            if answer["problem"] is None:
                assert answer["job"] == alone.json()
            else:
                changed = {"instance": "", "error_id": "", "detail": "", "errors": ""}
                assert answer["problem"] | changed == alone.json() | changed
                told = alone.text.replace('"#/', '"#/renders/0/')
                assert str(answer["problem"].get("errors")) == str(httpx.Response(200, text=told).json().get("errors"))


async def test_a_bound_holds_for_batches_at_once(api: CatalogueApi) -> None:
    experiments = [await new_experiment(api) for _ in range(3)]
    async with with_limit(api, 7).client("alice", *SCOPES) as alice:
        batches = [
            [{"experiment_id": each, "decimation_factor": 1, "fps": 5, "quality": number} for number in range(8)]
            for each in experiments
        ]
        answers = await asyncio.gather(*(send(alice, batch) for batch in batches))
        statuses = [answer["status"] for batch in answers for answer in batch]
        assert (statuses.count(202), statuses.count(429)) == (7, 17)
        refused = next(answer for batch in answers for answer in batch if answer["status"] == 429)
        assert refused["problem"]["type"] == "/problems/too-many-requests"
        again = await send(alice, batches[0])
        assert [answer["status"] for answer in again] == [answer["status"] for answer in answers[0]], "known ones"
    assert await count_renders(api) == 7


async def test_each_request_may_have_a_key(api: CatalogueApi) -> None:
    body = {"experiment_id": await new_experiment(api), "decimation_factor": 1, "fps": 5}
    async with api.client("alice", *SCOPES) as alice:
        first = await alice.post(GENERATE, json=body, headers={"Idempotency-Key": "a"})
        keyed = [
            body | {"idempotency_key": "a"},
            body | {"idempotency_key": "b"},
            body | {"idempotency_key": "a", "fps": 6},
            body | {"idempotency_key": "c", "fps": 6},
        ]
        for _ in range(2):
            answers = await send(alice, keyed)
            assert [place(answer) for answer in answers] == [
                (202, None),
                (202, None),
                (422, "#/renders/2/idempotency_key"),
                (202, None),
            ]
            assert answers[0]["job"]["job_id"] == answers[1]["job"]["job_id"] == first.json()["job_id"]
    assert await count_renders(api) == 2


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/renders"),
        ({"renders": []}, "#/renders"),
        ({"renders": {}}, "#/renders"),
        ({"renders": [{}] * 1001}, "#/renders"),
        ({"renders": [{}], "preset": "p"}, "#/preset"),
    ],
)
async def test_what_is_no_batch(client: httpx.AsyncClient, token: Any, body: Any, pointer: str) -> None:
    refused = await client.post(PATH, json=body, headers=token("videos:render"))
    assert (refused.status_code, [error["pointer"] for error in refused.json()["errors"]]) == (422, [pointer])


async def test_a_batch_may_be_longer_than_other_bodies(client: httpx.AsyncClient, token: Any) -> None:
    renders = [{"experiment_id": "nowhere", "overlay": {"text": "x" * 900}}] * 1000
    answer = await client.post(PATH, json={"renders": renders}, headers=token("videos:render"))
    assert answer.status_code == 200 and {each["status"] for each in answer.json()} == {422}
    longer = [{"experiment_id": "nowhere", "overlay": {"text": "x" * 1200}}] * 1000
    assert (await client.post(PATH, json={"renders": longer}, headers=token("videos:render"))).status_code == 413


async def test_an_outage_is_told_of_each(client: httpx.AsyncClient, token: Any) -> None:
    body = {"experiment_id": str(uuid4()), "decimation_factor": 1, "fps": 5}
    answer = await client.post(PATH, json={"renders": [{}, body, body, {}]}, headers=token("videos:render"))
    assert [each["status"] for each in answer.json()] == [422, 503, 503, 503], "the rest is not tried"
    assert all(each["problem"]["title"] for each in answer.json())
    assert [bool(each["retry_after"]) for each in answer.json()] == [False, True, True, True]


async def test_others_are_answered_meanwhile(api: CatalogueApi) -> None:
    """The requests of a batch are in transactions of their own: what it has made is seen before it ends."""
    experiment = await new_experiment(api)
    async with with_limit(api, 30).client("alice", *SCOPES) as alice:
        batch = [
            {"experiment_id": experiment, "decimation_factor": 1, "fps": 5, "quality": number} for number in range(25)
        ]
        running = asyncio.create_task(send(alice, batch))
        seen = set()
        while not running.done():
            seen.add(len((await alice.get("/api/videos", params={"limit": 100})).json()))
        assert {answer["status"] for answer in await running} == {202}
        assert seen - {0, 25}, "some were there while others were not"
