"""A folder into a dataset, with a real API, queue and slot."""

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.client import transport as transport_module
from service.client.datasets import AsyncDataset
from service.client.errors import Conflict, FolderError, Invalid, NotPermitted, Unreachable
from service.client.files import bundles, uploads
from service.client.files.growing import GrowingFolder
from service.client.files.local_files import survey_folder
from service.client.files.uploads import ProgressCallback, UploadResult
from service.client.mill import AsyncReelmill
from service.commands.remote import ingest as ingest_command
from tests.client.mills import open_mill
from tests.support.data.media import jpeg, numbered_picture, video
from tests.support.patience import PATIENCE_S
from tests.support.processes.catalogue_api import CatalogueApi, catalogue_api
from tests.support.processes.supervisor import running_supervisor

pytestmark = pytest.mark.anyio


async def ingest(
    mill: AsyncReelmill,
    folder: Path,
    on_progress: ProgressCallback | None = None,
    name: str = "camera",
    kind: Any = "frames",
) -> tuple[AsyncDataset, UploadResult]:
    dataset = await (await mill.experiments.get_or_create("run")).datasets.get_or_create(name, kind)
    return dataset, await dataset.upload(folder, on_progress)


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
    """The API behind a scripted connection: a status or an exception for each upload, None to let it pass."""

    def __init__(self, inner: httpx.AsyncBaseTransport, faults: list[int | Exception | None]) -> None:
        self.inner, self.faults, self.puts = inner, faults, 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if "/objects" in request.url.path and request.method != "GET":
            self.puts += 1
            fault = self.faults.pop(0) if self.faults else None
            if isinstance(fault, Exception):
                raise fault
            if fault is not None:
                return httpx.Response(fault, json={"title": "x", "detail": "no room left"})
        return await self.inner.handle_async_request(request)


def _unreliable_mill(api: CatalogueApi, *faults: int | Exception | None) -> tuple[AsyncReelmill, UnreliableTransport]:
    transport = UnreliableTransport(httpx.ASGITransport(api.app), list(faults))
    return open_mill(api, transport=transport), transport


async def test_a_folder_becomes_a_dataset(api: CatalogueApi, folder: Path) -> None:
    heard: list[tuple[str, int, int | None]] = []
    async with open_mill(api) as mill:
        dataset, result = await ingest(mill, folder, lambda *moved: heard.append(moved))
        assert (result.uploaded, result.present) == (12, 0)
        assert (dataset.state, dataset.frame_count, dataset.gap_frames) == ("ready", 12, 1)
        numbers = [frame.number async for frame in dataset.frames().each()]
        assert numbers == [*range(8), *range(9, 13)]
    uploads = [moved for moved in heard if moved[0] == "upload"]
    assert uploads[0] == ("upload", 0, 12) and uploads[-1] == ("upload", 12, 12)
    assert heard[-1] == ("scan", 12, 12)


async def test_only_what_is_missing_is_sent(api: CatalogueApi, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "MAX_FILES", 2)
    monkeypatch.setattr(uploads, "CONCURRENT_REQUESTS", 1)
    broken, first = _unreliable_mill(api, *[None] * 3, *[422] * 20)
    async with broken:
        with pytest.raises(Invalid, match="no room left"):
            await ingest(broken, folder)
    whole, second = _unreliable_mill(api)
    async with whole:
        dataset = await (await whole.experiments.get("run")).datasets.get("camera")
        stored = len(await whole.call("list_objects", dataset_id=dataset.id))
        assert 0 < stored < 12 and first.puts == stored / 2 + 1
        (folder / "f3.jpg").write_bytes(jpeg(numbered_picture(3), quality=50))
        _, result = await ingest(whole, folder)
        assert second.puts == math.ceil(result.uploaded / 2) and result.total == 12
        assert 1 <= result.uploaded <= 13 - stored, "the changed file and the missing ones"
        same, again = await ingest(whole, folder)
        assert (again.uploaded, again.present, same.id) == (0, 12, dataset.id)


@pytest.mark.parametrize(("together", "requests"), [(1, 12), (4, 3)])
async def test_short_outages_are_waited_out(
    api: CatalogueApi, folder: Path, monkeypatch: pytest.MonkeyPatch, together: int, requests: int
) -> None:
    monkeypatch.setattr(bundles, "MAX_FILES", together)
    monkeypatch.setattr(transport_module, "FIRST_PAUSE_S", 0.01)
    faults = [httpx.ConnectError("refused"), 503, None, httpx.ReadError("cut"), 429, 503]
    mill, transport = _unreliable_mill(api, *faults)
    async with mill:
        dataset, _ = await ingest(mill, folder)
    assert dataset.frame_count == 12 and transport.puts == requests + 5


async def test_a_file_that_the_service_refuses_does_not_stop_the_others(
    api: CatalogueApi, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "MAX_FILES", 1)
    mill, _ = _unreliable_mill(api, 413)
    async with mill:
        dataset, result = await ingest(mill, folder)
    (left,) = result.left_out
    assert left.reason == "the service refused it: no room left" and left.is_media and not result.is_complete
    assert (result.uploaded, dataset.frame_count) == (11, 11)


async def test_files_that_are_too_large_together_are_sent_alone(api: CatalogueApi, folder: Path) -> None:
    mill, transport = _unreliable_mill(api, 413)
    async with mill:
        dataset, result = await ingest(mill, folder)
    assert (result.uploaded, dataset.frame_count, transport.puts) == (12, 12, 13)


async def test_a_bundle_has_what_can_be_read(api: CatalogueApi, folder: Path) -> None:
    """A file that goes after the folder was looked at, beside a large one, which travels alone."""
    (folder / "large.jpg").write_bytes(jpeg(numbered_picture(20)) + bytes(bundles.MAX_FILE_BYTES))
    survey = survey_folder(folder, "frames")
    (folder / "f2.jpg").unlink()
    mill, transport = _unreliable_mill(api)
    async with mill:
        dataset = await (await mill.experiments.create("run")).datasets.create("camera")
        result = await dataset.upload_survey(survey)
    assert [(left.name, left.reason) for left in result.left_out] == [
        ("f2.jpg", "it cannot be read (No such file or directory)")
    ]
    assert (result.uploaded, dataset.frame_count, transport.puts) == (12, 12, 2)


class ChangingTransport(httpx.AsyncBaseTransport):
    """The API; what its first `times` uploads send is written anew meanwhile."""

    def __init__(self, inner: httpx.AsyncBaseTransport, path: Path, times: int) -> None:
        self.inner, self.path, self.times = inner, path, times

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if "/objects" in request.url.path and request.method != "GET" and self.times and self.path.exists():
            self.times -= 1
            self.path.write_bytes(jpeg(numbered_picture(self.times), quality=50 + self.times))
        return await self.inner.handle_async_request(request)


@pytest.mark.parametrize(("times", "left_out"), [(1, []), (9, ["it changes while it is uploaded: upload it again"])])
async def test_a_file_that_changes_while_it_is_sent(
    api: CatalogueApi, tmp_path: Path, times: int, left_out: list[str]
) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "f.jpg").write_bytes(jpeg(numbered_picture(1)))
    transport = ChangingTransport(httpx.ASGITransport(api.app), folder / "f.jpg", times)
    async with open_mill(api, transport=transport) as mill:
        dataset, result = await ingest(mill, folder)
        assert [left.reason for left in result.left_out] == left_out
        if result.is_complete:
            assert await (await dataset.frame(0)).image() == (folder / "f.jpg").read_bytes()


async def test_a_service_that_stays_away(api: CatalogueApi, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "FIRST_PAUSE_S", 0.001)
    transport = UnreliableTransport(httpx.ASGITransport(api.app), [httpx.ConnectError("refused")] * 10_000)
    mill = open_mill(api, transport=transport, patience_s=0.2)
    async with mill:
        with pytest.raises(Unreachable):
            await ingest(mill, folder)


async def test_folders_that_cannot_be_used(api: CatalogueApi, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    async with open_mill(api) as mill:
        for name, reason in (("nowhere", "is not a folder"), ("empty", "has no files")):
            with pytest.raises(FolderError, match=reason):
                await ingest(mill, tmp_path / name)


async def test_nothing_readable(api: CatalogueApi, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("text")
    async with open_mill(api) as mill:
        with pytest.raises(Invalid, match="the scan failed: no frames under frames/"):
            await ingest(mill, tmp_path / "texts")


async def test_refusals_have_their_reason(api: CatalogueApi, folder: Path) -> None:
    async with open_mill(api, "alice", "catalog:read") as mill:
        with pytest.raises(NotPermitted, match="the token lacks the scope catalog:write"):
            await ingest(mill, folder)
    async with open_mill(api) as mill:
        await ingest(mill, folder)
        with pytest.raises(Conflict, match="holds frames, not video"):
            await ingest(mill, folder, kind="video")


async def test_somebody_elses_experiment_of_that_name_is_left_alone(api: CatalogueApi, folder: Path) -> None:
    async with open_mill(api, "bob") as bob:
        await bob.experiments.create("run", visibility="public")
    async with open_mill(api) as mill:
        dataset, _ = await ingest(mill, folder)
        assert (await mill.experiments.get(dataset.experiment_id)).owner == "alice"


async def test_two_at_once(api: CatalogueApi, folder: Path) -> None:
    async with open_mill(api) as mill:
        results = await asyncio.gather(*(ingest(mill, folder) for _ in range(3)))
    assert {dataset.id for dataset, _ in results} == {results[0][0].id}
    assert {dataset.frame_count for dataset, _ in results} == {12}


async def test_source_videos(api: CatalogueApi, tmp_path: Path) -> None:
    """Larger than a chunk, so that the body is streamed."""
    (tmp_path / "videos").mkdir()
    data = video(numbered_picture(number) for number in range(30))
    free = (2 * 1024 * 1024).to_bytes(4, "big") + b"free" + bytes(2 * 1024 * 1024 - 8)
    (tmp_path / "videos" / "a.mp4").write_bytes(data + free)
    async with open_mill(api) as mill:
        dataset, _ = await ingest(mill, tmp_path / "videos", name="film", kind="video")
    assert (dataset.frame_count, dataset.bytes) == (30, len(data) + len(free))


async def _growing(mill: AsyncReelmill, folder: Path) -> GrowingFolder:
    return (await (await mill.experiments.get_or_create("run")).datasets.get_or_create("camera")).growing_folder(folder)


async def test_a_folder_is_followed_through_an_outage(
    api: CatalogueApi, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a service that fails has not taken is sent when it works again; what it refuses for good ends it."""
    monkeypatch.setattr(ingest_command, "FOLLOW_INTERVAL_S", 0.05)
    mill, transport = _unreliable_mill(api, 500, 502)
    async with mill:
        following = asyncio.create_task(ingest_command.follow_folder(await _growing(mill, folder)))
        await _until_stored(api, 12)
        (folder / "f99.jpg").write_bytes(jpeg(numbered_picture(9)))
        await _until_stored(api, 13)
        transport.faults.append(403)
        (folder / "f100.jpg").write_bytes(jpeg(numbered_picture(10)))
        with pytest.raises(NotPermitted, match="no room left"):
            await following
    assert "the service is away" in capsys.readouterr().out


async def test_a_file_waits_until_it_has_stopped_growing(api: CatalogueApi, tmp_path: Path) -> None:
    picture, path = jpeg(numbered_picture(1)), tmp_path / "new" / "f1.jpg"
    path.parent.mkdir()
    async with open_mill(api) as mill:
        growing = await _growing(mill, path.parent)
        assert await growing.upload_settled() == 0, "the folder has nothing yet"
        for end in (100, 200, len(picture)):
            path.write_bytes(picture[:end])
            assert await growing.upload_settled() == 0
        assert [await growing.upload_settled() for _ in range(2)] == [1, 0]
        path.write_bytes(jpeg(numbered_picture(20)))
        assert [await growing.upload_settled() for _ in range(2)] == [0, 1], "it has changed"


async def _until_stored(api: CatalogueApi, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while sum([len(page) async for page in api.objects.list("reelmill", "frames/")]) < count:
            await asyncio.sleep(0.05)
