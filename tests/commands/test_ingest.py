"""`ingest`: a folder into a dataset, with a real API, queue and slot."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.commands import api_client
from service.commands import ingest as ingest_module
from service.commands.api_client import ApiError
from service.commands.ingest import FolderError, FolderFollower, IngestTarget, follow_folder, ingest
from tests.support.data.media import jpeg, numbered_picture, video
from tests.support.processes.catalogue_api import CatalogueApi, catalogue_api
from tests.support.processes.supervisor import running_supervisor

pytestmark = pytest.mark.anyio
TARGET = IngestTarget("run", "camera", "frames")


@pytest.fixture
async def api(postgres_url: str, tmp_path: Path) -> AsyncIterator[CatalogueApi]:
    async with (
        catalogue_api(postgres_url, tmp_path / "home") as api,
        running_supervisor(api.database, tmp_path / "home"),
    ):
        yield api


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve frames, one number missing, a folder below, a hidden file."""
    folder = tmp_path / "frames"
    (folder / "late").mkdir(parents=True)
    for number in (*range(8), *range(9, 13)):
        (folder / f"{'late/' if number > 9 else ''}f{number}.jpg").write_bytes(jpeg(numbered_picture(number)))
    (folder / ".DS_Store").write_bytes(b"x")
    return folder


class UnreliableTransport(httpx.AsyncBaseTransport):
    """The API behind a scripted connection: a status or an exception for each PUT, None to let it pass."""

    def __init__(self, inner: httpx.AsyncBaseTransport, faults: list[int | Exception | None]) -> None:
        self.inner, self.faults, self.puts = inner, faults, 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "PUT":
            self.puts += 1
            fault = self.faults.pop(0) if self.faults else None
            if isinstance(fault, Exception):
                raise fault
            if fault is not None:
                return httpx.Response(fault, json={"title": "x", "detail": "no room left"})
        return await self.inner.handle_async_request(request)


def _unreliable_client(
    api: CatalogueApi, *faults: int | Exception | None
) -> tuple[httpx.AsyncClient, UnreliableTransport]:
    transport = UnreliableTransport(httpx.ASGITransport(api.app), list(faults))
    headers = api.client("alice").headers
    return httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers), transport


async def test_a_folder_becomes_a_dataset(api: CatalogueApi, folder: Path) -> None:
    heard: list[tuple[str, int, int | None]] = []
    async with api.client("alice") as client:
        result = await ingest(client, folder, TARGET, lambda *moved: heard.append(moved))
        assert (result.uploaded, result.present) == (12, 0)
        dataset = result.dataset
        assert (dataset["state"], dataset["frame_count"], dataset["gap_frames"]) == ("ready", 12, 1)
        rows = (await client.get(f"/api/datasets/{dataset['id']}/frames")).json()
        assert [row["number"] for row in rows] == [*range(8), *range(9, 13)]
    uploads = [moved for moved in heard if moved[0] == "upload"]
    assert uploads[0] == ("upload", 0, 12) and uploads[-1] == ("upload", 12, 12)
    assert heard[-1] == ("scan", 12, 12)


async def test_only_what_is_missing_is_sent(api: CatalogueApi, folder: Path) -> None:
    broken, first = _unreliable_client(api, *[None] * 8, *[422] * 20)
    async with broken:
        with pytest.raises(ApiError, match="no room left"):
            await ingest(broken, folder, TARGET, lambda *_: None)
    whole, second = _unreliable_client(api)
    async with whole:
        stored = len((await _stored_objects(whole))["objects"])
        assert 0 < stored < 12 and first.puts >= stored
        (folder / "f3.jpg").write_bytes(jpeg(numbered_picture(3), quality=50))
        result = await ingest(whole, folder, TARGET, lambda *_: None)
        assert second.puts == result.uploaded and result.uploaded + result.present == 12
        assert 1 <= result.uploaded <= 13 - stored, "the changed file and the missing ones"
        again = await ingest(whole, folder, TARGET, lambda *_: None)
        assert (again.uploaded, again.present, again.dataset["id"]) == (0, 12, result.dataset["id"])


async def _stored_objects(client: httpx.AsyncClient) -> dict[str, Any]:
    experiment = (await client.get("/api/experiments")).json()[0]["id"]
    dataset = (await client.get(f"/api/experiments/{experiment}/datasets")).json()[0]["id"]
    return {"id": dataset, "objects": (await client.get(f"/api/datasets/{dataset}/objects")).json()}


async def test_short_outages_are_waited_out(api: CatalogueApi, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_client, "INITIAL_RETRY_DELAY_S", 0.01)
    faults = [httpx.ConnectError("refused"), 503, None, httpx.ReadError("cut"), 429, 503]
    client, transport = _unreliable_client(api, *faults)
    async with client:
        result = await ingest(client, folder, TARGET, lambda *_: None)
    assert result.dataset["frame_count"] == 12 and transport.puts == 17


async def test_a_file_that_the_service_refuses_does_not_stop_the_others(api: CatalogueApi, folder: Path) -> None:
    client, _ = _unreliable_client(api, 413)
    async with client:
        result = await ingest(client, folder, TARGET, lambda *_: None)
    (left,) = result.left_out
    assert left.reason == "the service refused it: no room left" and left.is_media and not result.is_complete
    assert (result.uploaded, result.dataset["frame_count"]) == (11, 11)


class ChangingTransport(httpx.AsyncBaseTransport):
    """The API; what its first `times` uploads send is written anew meanwhile."""

    def __init__(self, inner: httpx.AsyncBaseTransport, path: Path, times: int) -> None:
        self.inner, self.path, self.times = inner, path, times

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "PUT" and self.times and self.path.exists():
            self.times -= 1
            self.path.write_bytes(jpeg(numbered_picture(self.times), quality=50 + self.times))
        return await self.inner.handle_async_request(request)


@pytest.mark.parametrize(("times", "left_out"), [(1, []), (9, ["it changes while it is uploaded: run ingest again"])])
async def test_a_file_that_changes_while_it_is_sent(
    api: CatalogueApi, tmp_path: Path, times: int, left_out: list[str]
) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "f.jpg").write_bytes(jpeg(numbered_picture(1)))
    transport = ChangingTransport(httpx.ASGITransport(api.app), folder / "f.jpg", times)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://test", headers=api.client("alice").headers
    ) as client:
        result = await ingest(client, folder, TARGET, lambda *_: None)
        assert [left.reason for left in result.left_out] == left_out
        if result.is_complete:
            shown = await client.get(f"/api/datasets/{result.dataset['id']}/frames/0/image")
            assert shown.content == (folder / "f.jpg").read_bytes()


async def test_a_service_that_stays_away(api: CatalogueApi, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_client, "INITIAL_RETRY_DELAY_S", 0.001)
    client, _ = _unreliable_client(api, *[httpx.ConnectError("refused")] * 100)
    async with client:
        with pytest.raises(httpx.ConnectError):
            await ingest(client, folder, TARGET, lambda *_: None)


async def test_folders_that_cannot_be_used(api: CatalogueApi, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    async with api.client("alice") as client:
        for name, reason in (("nowhere", "is not a folder"), ("empty", "has no files")):
            with pytest.raises(FolderError, match=reason):
                await ingest(client, tmp_path / name, TARGET, lambda *_: None)


async def test_nothing_readable(api: CatalogueApi, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("text")
    async with api.client("alice") as client:
        with pytest.raises(ApiError, match="the scan failed: no frames under frames/"):
            await ingest(client, tmp_path / "texts", TARGET, lambda *_: None)


async def test_refusals_are_told(api: CatalogueApi, folder: Path) -> None:
    async with api.client("alice", "catalog:read") as client:
        with pytest.raises(ApiError, match="the token lacks the scope catalog:write"):
            await ingest(client, folder, TARGET, lambda *_: None)
    async with api.client("alice") as client:
        await ingest(client, folder, TARGET, lambda *_: None)
        with pytest.raises(ApiError, match="holds frames, not video"):
            await ingest(client, folder, IngestTarget("run", "camera", "video"), lambda *_: None)


async def test_somebody_elses_experiment_of_that_name_is_left_alone(api: CatalogueApi, folder: Path) -> None:
    async with api.client("bob") as bob:
        await bob.post("/api/experiments", json={"name": "run", "visibility": "public"})
    async with api.client("alice") as client:
        result = await ingest(client, folder, TARGET, lambda *_: None)
        assert (await client.get(f"/api/experiments/{result.dataset['experiment_id']}")).json()["owner"] == "alice"


async def test_two_at_once(api: CatalogueApi, folder: Path) -> None:
    async with api.client("alice") as client:
        results = await asyncio.gather(*(ingest(client, folder, TARGET, lambda *_: None) for _ in range(3)))
    assert {result.dataset["id"] for result in results} == {results[0].dataset["id"]}
    assert {result.dataset["frame_count"] for result in results} == {12}


async def test_source_videos(api: CatalogueApi, tmp_path: Path) -> None:
    """Larger than a chunk, so that the body is streamed."""
    (tmp_path / "videos").mkdir()
    data = video(numbered_picture(number) for number in range(30))
    free = (2 * 1024 * 1024).to_bytes(4, "big") + b"free" + bytes(2 * 1024 * 1024 - 8)
    (tmp_path / "videos" / "a.mp4").write_bytes(data + free)
    async with api.client("alice") as client:
        result = await ingest(client, tmp_path / "videos", IngestTarget("run", "film", "video"), lambda *_: None)
    assert (result.dataset["frame_count"], result.dataset["bytes"]) == (30, len(data) + len(free))


async def test_a_folder_is_followed_through_an_outage(
    api: CatalogueApi, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a service that fails has not taken is sent when it works again; what it refuses for good ends it."""
    monkeypatch.setattr(ingest_module, "FOLLOW_INTERVAL_S", 0.05)
    lines: list[str] = []
    client, transport = _unreliable_client(api, None, 500, 502)
    async with client:
        follower = FolderFollower(client, folder, TARGET, lines.append)
        following = asyncio.create_task(follow_folder(follower, lines.append))
        await _until_stored(api, 12)
        (folder / "f99.jpg").write_bytes(jpeg(numbered_picture(9)))
        await _until_stored(api, 13)
        assert sum("the service is away" in line for line in lines) >= 1, lines
        transport.faults.append(403)
        (folder / "f100.jpg").write_bytes(jpeg(numbered_picture(10)))
        with pytest.raises(ApiError, match="no room left"):
            await following


async def test_a_file_waits_until_it_has_stopped_growing(api: CatalogueApi, tmp_path: Path) -> None:
    picture, path = jpeg(numbered_picture(1)), tmp_path / "new" / "f1.jpg"
    path.parent.mkdir()
    async with api.client("alice") as client:
        follower = FolderFollower(client, path.parent, TARGET, lambda line: None)
        assert await follower.step() == 0, "the folder has nothing yet"
        for end in (100, 200, len(picture)):
            path.write_bytes(picture[:end])
            assert await follower.step() == 0
        assert [await follower.step(), await follower.step()] == [1, 0]
        path.write_bytes(jpeg(numbered_picture(20)))
        assert [await follower.step(), await follower.step()] == [0, 1], "it has changed"


async def _until_stored(api: CatalogueApi, count: int) -> None:
    async with asyncio.timeout(60):
        while sum([len(page) async for page in api.objects.list("reelmill", "frames/")]) < count:
            await asyncio.sleep(0.05)
