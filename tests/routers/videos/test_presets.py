"""Presets: kept, shared, and named by render requests, whose own options win."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from service.routers.videos.presets import LoadedPreset, with_options
from service.routers.videos.request_models import PresetOptions, VideoGenerationRequest
from service.store.renders.requesters import NamedPreset
from tests.support.data.database_rows import add_dataset
from tests.support.processes.catalogue_api import SCOPES, CatalogueApi

pytestmark = pytest.mark.anyio
PATH, GENERATE = "/api/presets", "/api/videos/generate"
VIDEO_SCOPES = ("videos:read", "videos:render")
OPTIONS = {"decimation_factor": 2, "fps": 24, "codec": "av1", "tone": {"mode": "fixed", "low": 1, "high": 9}}


@pytest.fixture
async def bob(api: CatalogueApi) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client("bob", *SCOPES, *VIDEO_SCOPES) as client:
        yield client


async def make(client: httpx.AsyncClient, name: str, options: dict[str, Any], **fields: Any) -> dict[str, Any]:
    answer = await client.post(PATH, json={"name": name, "options": options, **fields})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def new_experiment(api: CatalogueApi, count: int = 8, visibility: str = "public") -> str:
    async with api.database.service_transaction() as connection:
        dataset = await add_dataset(connection, count)
        await connection.execute(
            text("UPDATE experiments SET visibility = :visibility WHERE id = :id"),
            {"visibility": visibility, "id": dataset.experiment_id},
        )
    return str(dataset.experiment_id)


async def ask(client: httpx.AsyncClient, status: int = 202, headers: Any = None, **body: Any) -> dict[str, Any]:
    answer = await client.post(GENERATE, json=body, headers=headers)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


async def status(client: httpx.AsyncClient, job: dict[str, Any]) -> dict[str, Any]:
    return dict((await client.get(f"/api/videos/{job['job_id']}")).raise_for_status().json())


async def test_make_look_change_delete(alice: httpx.AsyncClient) -> None:
    answer = await alice.post(PATH, json={"name": " daily ", "options": OPTIONS, "description": "small"})
    made, path = answer.json(), answer.headers["Location"]
    assert (answer.status_code, path) == (201, f"{PATH}/{made['id']}")
    assert (made["name"], made["owner"], made["visibility"]) == ("daily", "alice", "private")
    assert made["options"] == OPTIONS, "only what was set"
    looked = await alice.get(path)
    assert looked.json() == made and looked.headers["ETag"] == answer.headers["ETag"]
    assert (await alice.get(path, headers={"If-None-Match": looked.headers["ETag"]})).status_code == 304

    tag = {"If-Match": looked.headers["ETag"]}
    changed = await alice.patch(path, json={"options": {"fps": 30}}, headers=tag)
    assert changed.json() == made | {"options": {"fps": 30}, "updated_at": changed.json()["updated_at"]}
    assert (await alice.patch(path, json={"name": "late"}, headers=tag)).status_code == 412
    assert (await alice.delete(path, headers=tag)).status_code == 412
    assert (await alice.get(PATH)).json() == [changed.json()]
    assert (await alice.delete(path)).status_code == 204
    assert (await alice.get(path)).status_code == (await alice.delete(path)).status_code == 404
    assert (await alice.get(PATH)).json() == []


async def test_names_are_unique_for_each_owner(alice: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
    first, second = await make(alice, "one", {}), await make(alice, "two", {})
    assert (await alice.post(PATH, json={"name": "one", "options": {}})).status_code == 409
    assert (await alice.patch(f"{PATH}/{second['id']}", json={"name": "one"})).status_code == 409
    assert (await alice.patch(f"{PATH}/{first['id']}", json={"name": "one"})).status_code == 200
    await make(bob, "one", {})


WRONG_OPTIONS: list[tuple[Any, str]] = [
    ({"fps": 0}, "#/options/fps"),
    ({"codec": "vp9"}, "#/options/codec"),
    ({"tone": {"gamma": 0}}, "#/options/tone/gamma"),
    ({"overlay": {"scale_bar": {"length": 0}}}, "#/options/overlay/scale_bar/length"),
    ({"outputs": ["gif"]}, "#/options/outputs/0"),
    ({"background": "no colour"}, "#/options/background"),
    ({"experiment_id": str(uuid4())}, "#/options/experiment_id"),
    ({"dataset_id": str(uuid4())}, "#/options/dataset_id"),
    ({"webhook_url": "https://8.8.8.8/"}, "#/options/webhook_url"),
    ({"dry_run": True}, "#/options/dry_run"),
    ({"preset": "another"}, "#/options/preset"),
    ([], "#/options"),
]


async def test_wrong_options_are_refused_when_written(alice: httpx.AsyncClient) -> None:
    made = await make(alice, "one", {"fps": 30})
    for options, pointer in WRONG_OPTIONS:
        for answer in (
            await alice.post(PATH, json={"name": "two", "options": options}),
            await alice.patch(f"{PATH}/{made['id']}", json={"options": options}),
        ):
            assert answer.status_code == 422, answer.text
            assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert (await alice.get(PATH)).json() == [made]


async def test_pages_filters_and_count(alice: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
    for number in range(7):
        await make(alice, f"p{number}", {"fps": 10}, visibility="public", description="even" if number % 2 else "")
    await make(bob, "q", {})
    names, url = [], f"{PATH}?limit=3&sort=name&count=exact"
    while url:
        answer = await bob.get(url)
        assert answer.headers["X-Total-Count"] == "8"
        names += [row["name"] for row in answer.json()]
        url = answer.links.get("next", {}).get("url", "")
    assert names == [*(f"p{number}" for number in range(7)), "q"]
    assert [row["name"] for row in (await bob.get(PATH, params={"mine": True})).json()] == ["q"]
    assert len((await bob.get(PATH, params={"q": "EVEN"})).json()) == 3
    refused = await bob.get(PATH, params={"sort": "owner"})
    assert (refused.status_code, refused.json()["errors"][0]["parameter"]) == (422, "sort")


async def test_what_others_see_and_may_name(
    api: CatalogueApi, alice: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    experiment = await new_experiment(api)
    made = {
        visibility: await make(alice, visibility, OPTIONS, visibility=visibility, shared_with=["bob"])
        for visibility in ("private", "shared", "public")
    }
    async with api.client("eve", *VIDEO_SCOPES) as eve, api.client("root", "admin") as root:
        for client, seen in ((bob, {"shared", "public"}), (eve, {"public"}), (root, set(made))):
            rows = (await client.get(PATH)).json()
            assert {row["name"] for row in rows} == seen
            assert all((row["shared_with"] == ["bob"]) == (client is root) for row in rows)
            for name, preset in made.items():
                path, found = f"{PATH}/{preset['id']}", name in seen
                assert (await client.get(path)).status_code == (200 if found else 404)
                if client is not root:
                    assert (await client.patch(path, json={"name": "x"})).status_code == (403 if found else 404)
                    assert (await client.delete(path)).status_code == (403 if found else 404)
        for reference in (made["shared"]["id"], "shared", "private"):
            refused = await ask(eve, 422, experiment_id=experiment, preset=reference, dry_run=True)
            unknown = await ask(eve, 422, experiment_id=experiment, preset="nothing", dry_run=True)
            assert [error["pointer"] for error in refused["errors"]] == ["#/preset"]
            assert refused["errors"] == unknown["errors"], "what is hidden looks like nothing"
        for reference in (made["public"]["id"], "public"):
            await ask(eve, 200, experiment_id=experiment, preset=reference, dry_run=True, tone=None)


async def test_a_name_means_the_own_preset_first(
    api: CatalogueApi, alice: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    experiment = await new_experiment(api)
    theirs = await make(bob, "daily", {"decimation_factor": 4, "fps": 10}, visibility="public")
    job = await ask(alice, experiment_id=experiment, preset="daily")
    assert (await status(alice, job))["preset"] == {"id": theirs["id"], "name": "daily"}
    await make(alice, "daily", {"decimation_factor": 2, "fps": 10}, visibility="public")
    own = await ask(alice, experiment_id=experiment, preset="daily")
    assert (await status(alice, own))["frames_total"] == 4
    again = await ask(alice, experiment_id=experiment, preset=theirs["id"])
    assert again["job_id"] == job["job_id"], "an id means that one"
    async with api.client("eve", *VIDEO_SCOPES) as eve:
        refused = await ask(eve, 422, experiment_id=experiment, preset="daily")
        assert [(error["pointer"], error["code"]) for error in refused["errors"]] == [("#/preset", "ambiguous")]


async def test_what_the_request_sets_wins(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    experiment, whole = await new_experiment(api), {"x": 0, "y": 0, "width": 32, "height": 24}
    part = {"x": 2, "y": 2, "width": 20, "height": 20}
    await make(
        alice, "p", {"decimation_factor": 2, "fps": 24, "crop": whole, "overlay": {"text": "a", "elapsed": True}}
    )
    for body, made in (
        ({}, {"fps": 24, "crop": whole}),
        ({"fps": 10, "quality": 50}, {"fps": 10, "quality": 50, "crop": whole}),
        ({"crop": part}, {"fps": 24, "crop": part}),
        ({"crop": None}, {"fps": 24, "crop": None}),
    ):
        job = await ask(alice, experiment_id=experiment, preset="p", **body)
        request = (await status(alice, job))["request"]
        assert {name: request[name] for name in made} == made
    job = await ask(alice, experiment_id=experiment, preset="p", overlay={"text": "b"})
    overlay = (await status(alice, job))["request"]["overlay"]
    assert (overlay["text"], overlay["elapsed"]) == ("b", False), "an object is replaced as a whole"
    refused = await ask(alice, 422, experiment_id=experiment, preset="p", duration_seconds=3)
    assert refused["errors"][0]["pointer"] in ("#/fps", "#/duration_seconds"), "the preset has fps"
    await make(alice, "fast", {"decimation_factor": 1, "fps": 24, "speed": 2})
    refused = await ask(alice, 422, experiment_id=experiment, preset="fast", dry_run=True)
    assert refused["errors"][0]["pointer"] == "#/speed" and "the preset 'fast' has this" in refused["detail"]
    await ask(alice, experiment_id=experiment, preset="p", duration_seconds=3, fps=None)


async def test_decimation_is_required_of_one_of_both(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    experiment = await new_experiment(api)
    await make(alice, "p", {"fps": 24})
    for body in ({"fps": 24}, {"preset": "p"}):
        refused = await ask(alice, 422, experiment_id=experiment, **body)
        assert [(e["pointer"], e["code"]) for e in refused["errors"]] == [("#/decimation_factor", "missing")]


async def test_the_same_options_are_the_same_render(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    experiment = await new_experiment(api)
    await make(alice, "p", {"decimation_factor": 2, "fps": 24})
    await make(alice, "q", {"decimation_factor": 2, "fps": 24.0, "quality": 70})
    first = await ask(alice, experiment_id=experiment, decimation_factor=2, fps=24)
    for body in ({"preset": "p"}, {"preset": "q"}, {"preset": "p", "codec": "h264"}):
        assert (await ask(alice, experiment_id=experiment, **body))["job_id"] == first["job_id"]
    assert (await status(alice, first))["preset"]["name"] == "p", "the first that was named"


async def test_a_change_leaves_earlier_renders(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    experiment, key = await new_experiment(api), {"Idempotency-Key": "morning"}
    preset = await make(alice, "p", {"decimation_factor": 2, "fps": 24})
    job = await ask(alice, headers=key, experiment_id=experiment, preset="p")
    before = await status(alice, job)
    path = f"{PATH}/{preset['id']}"
    (await alice.patch(path, json={"options": {"decimation_factor": 4, "fps": 5}, "name": "new"})).raise_for_status()
    assert await status(alice, job) == before
    assert before["preset"] == {"id": preset["id"], "name": "p"}
    request = before["request"]
    assert "preset" not in request and (request["decimation_factor"], request["fps"]) == (2, 24)
    assert (await ask(alice, **request))["job_id"] == job["job_id"], "its request makes it again"
    assert (await ask(alice, experiment_id=experiment, preset="new"))["job_id"] != job["job_id"]
    (await alice.patch(path, json={"name": "p"})).raise_for_status()
    again = await ask(alice, headers=key, experiment_id=experiment, preset="p")
    assert again["job_id"] == job["job_id"], "the same key and body"
    refused = await ask(alice, 422, headers=key, experiment_id=experiment, preset="p", fps=24)
    assert refused["errors"][0]["header"] == "Idempotency-Key", "another body"
    (await alice.delete(path)).raise_for_status()
    assert (await status(alice, job))["preset"] == {"id": preset["id"], "name": "p"}


async def test_one_owner_has_so_many(api: CatalogueApi, alice: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
    async with api.database.service_transaction() as connection:
        rows = "SELECT gen_random_uuid(), 'p' || n, 'alice' FROM generate_series(1, 998) n"
        await connection.execute(text(f"INSERT INTO presets (id, name, owner) {rows}"))
    answers = await asyncio.gather(
        *(alice.post(PATH, json={"name": f"q{n // 2}", "options": {}}) for n in range(8)),
    )
    assert sorted(answer.status_code for answer in answers) == [201, 201, *[409] * 6]
    assert "1000" in (await alice.post(PATH, json={"name": "one more", "options": {}})).json()["detail"]
    await make(bob, "his first", {})


async def test_an_estimate_takes_the_preset(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    experiment = await new_experiment(api)
    await make(alice, "p", {"decimation_factor": 4, "fps": 24})
    told = await ask(alice, 200, experiment_id=experiment, preset="p", dry_run=True)
    assert told["estimate"]["frames"] == 2
    assert (await alice.get("/api/videos")).json() == []


async def test_options_of_another_version_are_named(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    experiment = await new_experiment(api)
    await make(alice, "p", {"decimation_factor": 4})
    async with api.database.service_transaction() as connection:
        await connection.execute(text("""UPDATE presets SET options = '{"codec": "vp8"}'"""))
    refused = await ask(alice, 422, experiment_id=experiment, preset="p")
    assert (refused["errors"][0]["pointer"], refused["errors"][0]["code"]) == ("#/preset", "outdated_preset")
    assert "codec" in refused["detail"]


EXPERIMENT = str(uuid4())
VALUES: dict[str, Any] = {
    "decimation_factor": st.integers(1, 100),
    "fps": st.none() | st.floats(0.1, 240),
    "codec": st.sampled_from(["h264", "av1", "hevc", "mjpeg", "ffv1"]),
    "quality": st.integers(0, 100),
    "tone": st.none()
    | st.fixed_dictionaries(
        {}, optional={"gamma": st.floats(0.05, 20), "inverse": st.booleans(), "low": st.floats(0, 9)}
    ),
    "frames": st.none()
    | st.fixed_dictionaries({}, optional={"start": st.integers(0, 9), "from": st.datetimes().map(str)}),
    "overlay": st.none() | st.fixed_dictionaries({}, optional={"text": st.just("a"), "elapsed": st.booleans()}),
    "outputs": st.lists(st.sampled_from(["preview_strip", "keogram"]), max_size=2),
    "keep_days": st.none() | st.integers(1, 9),
}
options = st.fixed_dictionaries({}, optional=VALUES)


@given(preset=options, own=options)
@settings(max_examples=200, deadline=None)
def test_a_request_with_a_preset_is_the_merged_request(preset: dict[str, Any], own: dict[str, Any]) -> None:
    loaded = LoadedPreset(NamedPreset(UUID(int=1), "p"), PresetOptions.model_validate(preset))
    body = VideoGenerationRequest.model_validate({"experiment_id": EXPERIMENT, "preset": "p", **own})
    merged = VideoGenerationRequest.model_validate({"experiment_id": EXPERIMENT, **preset, **own})
    result = with_options(body, loaded)
    assert result.to_document() == merged.to_document()
    assert result.model_fields_set == merged.model_fields_set | {"preset"}
    if "decimation_factor" in preset | own:
        assert result.to_request() == merged.to_request()
