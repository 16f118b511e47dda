"""One address for the newest finished render: of an experiment, a dataset, a preset."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text, update

from service.plan.render_plan import ObjectRef
from service.routers.videos import latest as latest_module
from service.store.catalog.datasets import DatasetRow
from service.store.objects.keys import render_object_key
from service.store.tables import renders
from tests.support.data.database_rows import add_dataset
from tests.support.data.footage import add_footage
from tests.support.processes.catalogue_api import CatalogueApi, catalogue_api
from tests.support.processes.supervisor import running_supervisor, wait_until_ended

pytestmark = pytest.mark.anyio
LATEST, VIDEO = "/api/videos/latest", "/api/videos/latest/video"
SCOPES = ("catalog:write", "videos:read", "videos:render")


@dataclass
class World:
    """Datasets of alice's, and renders of them whose files are made by hand."""

    api: CatalogueApi
    alice: httpx.AsyncClient
    first: DatasetRow
    second: DatasetRow

    async def ask(self, dataset: DatasetRow | None = None, **options: Any) -> str:
        """A queued render."""
        body = {"experiment_id": str((dataset or self.first).experiment_id), "decimation_factor": 1, "fps": 5} | options
        answer = await self.alice.post("/api/videos/generate", json=body)
        assert answer.is_success, answer.text
        return str(answer.json()["job_id"])

    async def finish(self, job: str, size: int = 1000) -> bytes:
        """The render succeeds with a video whose bytes differ from all others."""
        data, key = (job.encode() * size)[:size], render_object_key(UUID(job), "video.mp4")
        await self.api.objects.put(ObjectRef("reelmill", key), data, "video/mp4")
        facts = {"video_key": key, "video_bytes": size, "video_sha256": hashlib.sha256(data).hexdigest()}
        await self.change(job, status="succeeded", phase="done", **facts)
        return data

    async def change(self, job: str, **values: Any) -> None:
        async with self.api.database.service_transaction() as connection:
            await connection.execute(text("ALTER TABLE renders DISABLE TRIGGER USER"))
            await connection.execute(update(renders).where(renders.c.id == UUID(job)).values(**values))

    async def latest(self, client: httpx.AsyncClient | None = None, **filters: Any) -> str | None:
        """The job of the answer, whose two addresses say the same; None: there is none."""
        who = client or self.alice
        told, video = await who.get(LATEST, params=filters), await who.get(VIDEO, params=filters)
        assert told.status_code == video.status_code and told.status_code in (200, 404), (told.text, video.text)
        if told.status_code == 404:
            assert told.json()["type"] == "/problems/not-found"
            return None
        job = str(told.json()["job_id"])
        assert told.json()["status"] == "succeeded"
        assert told.headers["Content-Location"] == f"/api/videos/{job}"
        assert video.headers["Content-Location"] == f"/api/videos/{job}/video"
        assert video.content == (await who.get(f"/api/videos/{job}/video")).content
        return job


@pytest.fixture
async def world(postgres_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with catalogue_api(postgres_url, tmp_path) as api, api.client("alice", *SCOPES) as alice:
        async with api.database.service_transaction() as connection:
            datasets = [await add_dataset(connection, 4) for _ in range(2)]
        yield World(api, alice, *datasets)


async def test_a_newer_one_counts_when_it_is_finished(world: World) -> None:
    assert await world.latest() is None
    first = await world.ask()
    assert await world.latest() is None, "it is queued"
    await world.finish(first)
    assert await world.latest() == first
    second = await world.ask(quality=50)
    await world.change(second, status="running")
    assert await world.latest() == first, "the newer one is being rendered"
    third = await world.ask(quality=60)
    await world.change(third, status="failed")
    await world.finish(second)
    assert await world.latest() == second, "the newest one has failed"
    (await world.alice.delete(f"/api/videos/{second}")).raise_for_status()
    assert await world.latest() == first, "the newest one was deleted"
    (await world.alice.delete(f"/api/videos/{first}")).raise_for_status()
    assert await world.latest() is None


async def test_one_that_ends_late_is_not_newer(world: World) -> None:
    first, second = await world.ask(), await world.ask(quality=50)
    await world.finish(second)
    await world.finish(first)
    assert await world.latest() == second


async def test_filters(world: World) -> None:
    first, second = await world.ask(world.first), await world.ask(world.second)
    for job in (first, second):
        await world.finish(job)
    assert await world.latest(experiment_id=str(world.first.experiment_id)) == first
    assert await world.latest(dataset_id=str(world.first.id)) == first
    assert await world.latest(experiment_id=str(world.second.experiment_id)) == await world.latest() == second
    both = {"experiment_id": str(world.first.experiment_id), "dataset_id": str(world.second.id)}
    assert await world.latest(**both) is await world.latest(dataset_id=str(uuid4())) is None
    for path, parameters, wrong in (
        (LATEST, {"experiment_id": "x"}, "experiment_id"),
        (VIDEO, {"colour": "red"}, "colour"),
        (LATEST, {"redirect": "true"}, "redirect"),
        (VIDEO, {"preset": ""}, "preset"),
    ):
        refused = await world.alice.get(path, params=parameters)
        assert (refused.status_code, refused.json()["errors"][0]["parameter"]) == (422, wrong)


async def test_a_preset_means_what_was_asked_for_with_it(world: World) -> None:
    options = {"decimation_factor": 1, "fps": 5}
    made = await world.alice.post("/api/presets", json={"name": "daily", "options": options})
    assert await world.latest(preset="daily") is None
    tried, other = await world.ask(), await world.ask(quality=50)
    for job in (tried, other):
        await world.finish(job)
    assert await world.latest(preset="daily") is None, "nobody named it"
    assert await world.ask(preset="daily") == tried, "it was rendered before without the preset"
    assert await world.latest(preset="daily") == await world.latest(preset=made.json()["id"]) == tried
    assert await world.latest(preset="daily", dataset_id=str(world.second.id)) is None
    later = await world.ask(preset="daily", quality=60)
    await world.finish(later)
    assert await world.latest(preset="daily") == later
    assert await world.latest(preset="nothing") is await world.latest(preset=str(uuid4())) is None


async def test_what_others_see(world: World) -> None:
    await world.alice.post("/api/presets", json={"name": "mine", "options": {}})
    public = {"name": "all", "options": {}, "visibility": "public"}
    await world.alice.post("/api/presets", json=public)
    hidden, shown = await world.ask(world.second, preset="all"), await world.ask(world.first, preset="all")
    also = await world.ask(world.first, preset="mine", quality=20)
    for job in (shown, also, hidden):
        await world.finish(job)
    path = f"/api/experiments/{world.first.experiment_id}"
    share = {"visibility": "shared", "shared_with": ["bob"]}
    (await world.alice.patch(path, json=share)).raise_for_status()
    async with world.api.client("bob", *SCOPES) as bob, world.api.client("eve", *SCOPES) as eve:
        assert await world.latest(bob) == also
        assert await world.latest(bob, preset="all") == shown
        assert await world.latest(bob, preset="mine") is None, "a preset of others that he may not see"
        assert await world.latest(bob, experiment_id=str(world.second.experiment_id)) is None
        assert await world.latest(eve) is await world.latest(eve, preset="all") is None
        his = {"name": "his", "options": {"decimation_factor": 1, "fps": 5}}
        (await bob.post("/api/presets", json=his)).raise_for_status()
        body = {"experiment_id": str(world.first.experiment_id), "preset": "his"}
        assert (await bob.post("/api/videos/generate", json=body)).json()["job_id"] == shown
        assert await world.latest(bob, preset="his") == shown
        assert (await bob.delete(f"/api/videos/{shown}")).json()["requested_by_others"]
        assert await world.latest(bob, preset="his") is None, "the render is not his any more"
        await world.alice.patch(path, json={"visibility": "private"})
        assert await world.latest(bob) is None, "the share has ended"
    async with world.api.client("root", "admin") as root:
        assert await world.latest(root, preset="all") == shown


async def test_the_video_as_players_ask_for_it(world: World) -> None:
    job = await world.ask()
    data = await world.finish(job)
    whole = await world.alice.get(VIDEO)
    tag = whole.headers["ETag"]
    assert (whole.status_code, whole.content, whole.headers["Content-Type"]) == (200, data, "video/mp4")
    assert whole.headers["Cache-Control"] == "private, no-cache", "a cache asks each time"
    head = await world.alice.head(VIDEO)
    assert (head.status_code, head.content) == (200, b"")
    assert {name: head.headers[name] for name in ("ETag", "Content-Length", "Content-Location")} == {
        name: whole.headers[name] for name in ("ETag", "Content-Length", "Content-Location")
    }
    part = await world.alice.get(VIDEO, headers={"Range": "bytes=10-19", "If-Range": tag})
    assert (part.status_code, part.content) == (206, data[10:20])
    assert part.headers["Content-Range"] == "bytes 10-19/1000"
    assert (await world.alice.get(VIDEO, headers={"Range": "bytes=1000-"})).status_code == 416
    same = await world.alice.get(VIDEO, headers={"If-None-Match": tag})
    assert (same.status_code, same.headers["ETag"]) == (304, tag)

    newer = await world.finish(await world.ask(quality=50), 900)
    changed = await world.alice.get(VIDEO, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.content) == (200, newer)
    other = await world.alice.get(VIDEO, headers={"Range": "bytes=10-19", "If-Range": tag})
    assert (other.status_code, other.content) == (200, newer), "no part of one video in another"


async def test_while_files_are_made_again(world: World) -> None:
    first, second = await world.ask(), await world.ask(quality=50)
    await world.finish(first)
    data = await world.finish(second)
    await world.change(second, status="queued", remake={"file": "poster.jpg", "reason": "gone"})
    assert (await world.alice.get(VIDEO)).content == data, "its video is there"
    await world.change(second, status="queued", remake={"file": "video", "reason": "gone"})
    assert await world.latest() == first


async def test_a_real_render_is_told_with_its_preset(world: World, tmp_path: Path) -> None:
    async with world.api.database.service_transaction() as connection:
        dataset = await add_footage(connection, tmp_path, 6)
    made = await world.alice.post(
        "/api/presets", json={"name": "daily", "options": {"fps": 10, "decimation_factor": 2}}
    )
    body = {"experiment_id": str(dataset.experiment_id), "preset": "daily"}
    job = (await world.alice.post("/api/videos/generate", json=body)).json()["job_id"]
    assert (await world.alice.get(VIDEO)).status_code == 404
    async with running_supervisor(world.api.database, tmp_path):
        assert (await wait_until_ended(world.api.database, UUID(job)))["status"] == "succeeded"
    assert await world.latest(preset="daily") == job
    used = {"id": made.json()["id"], "name": "daily"}
    assert (await world.alice.get(LATEST)).json()["preset"] == used
    receipt = (await world.alice.get(f"/api/videos/{job}/receipt")).text
    assert f'"preset": {{"id": "{used["id"]}", "name": "daily"}}' in receipt.splitlines()[-1]


async def test_a_render_that_is_deleted_while_it_is_asked_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one before it is the newest then."""
    older = await world.ask()
    data = await world.finish(older)
    find = latest_module.find_latest
    for address in (LATEST, VIDEO):
        newer = await world.ask(fps=7)
        await world.finish(newer)

        async def find_and_delete(*arguments: Any, newer: str = newer) -> UUID:
            found = await find(*arguments)
            if str(found) == newer:
                assert (await world.alice.delete(f"/api/videos/{newer}")).is_success
            return found

        monkeypatch.setattr(latest_module, "find_latest", find_and_delete)
        answer = await world.alice.get(address)
        assert answer.status_code == 200, answer.text
        assert older in answer.headers["Content-Location"]
    assert answer.content == data
