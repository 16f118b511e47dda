"""Every kind of object that we keep is damaged in every way, and asked for again: it is refused by name or made anew, and
right in the end. A real API, a real supervisor with a real slot process, a real database, and a folder of objects."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from service.plan.render_plan import ObjectRef
from service.routers.http.object_streams import parse_range
from service.routers.videos.files import _open_range
from service.routers.videos.finished_files import FileLost, require_video
from service.store.cache.segments import list_render_segments
from service.store.objects.digests import sha256_hex
from service.store.objects.object_store import ObjectChanged
from service.telemetry.metrics import FILES_LOST
from tests.support.data.footage import add_footage
from tests.support.processes.catalogue_api import SCOPES, CatalogueApi, catalogue_api
from tests.support.processes.supervisor import running_supervisor

pytestmark = pytest.mark.anyio
FRAMES, FPS = 48, 12
DAMAGES = ("flipped", "cut", "empty", "zeros", "another's", "gone")
FILES = ("video", "poster", "receipt", "preview.jpg", "preview.vtt", "keogram.png")
OBJECTS = {"video": "video.mp4", "poster": "poster.jpg", "receipt": "receipt.ndjson"}
# Files may be made again only once a minute: let the last time be longer ago.
LET_TIME_PASS = (
    "UPDATE renders SET remade_at = remade_at - interval '1 hour'",
    "UPDATE segment_cache SET created_at = created_at - interval '1 hour'",
)


def damage(path: Path, how: str) -> None:
    """Damage an object in place."""
    data = path.read_bytes()
    middle = len(data) // 2
    match how:
        case "flipped":
            path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
        case "cut":
            path.write_bytes(data[:middle])
        case "empty":
            path.write_bytes(b"")
        case "zeros":
            path.write_bytes(bytes(len(data)))
        case "another's":
            path.write_bytes(next(other for other in path.parent.iterdir() if other != path).read_bytes())
        case "gone":
            path.unlink()


@dataclass
class Kept:
    """A finished render, with the contents of its files as they were first."""

    api: CatalogueApi
    client: httpx.AsyncClient
    body: dict[str, Any]
    dataset: Any
    job: str
    contents: dict[str, bytes]

    @property
    def bucket(self) -> Path:
        return Path(self.api.objects.root) / "reelmill"

    async def segment_files(self, suffix: str) -> list[Path]:
        async with self.api.database.service_transaction() as connection:
            segments = await list_render_segments(connection, UUID(self.job))
        return [self.bucket / segment.file(suffix).key for segment in segments]

    async def get(self, name: str, **headers: str) -> httpx.Response:
        return await self.client.get(f"/api/videos/{self.job}/{name}", headers=headers)

    async def submit(self) -> httpx.Response:
        return (await self.client.post("/api/videos/generate", json=self.body)).raise_for_status()

    async def submit_anew(self) -> None:
        """Another render of the same segments: the one before is not found any more."""
        async with self.api.database.service_transaction() as connection:
            await connection.execute(text("UPDATE renders SET render_key = id::text"))
        answer = await self.submit()
        assert answer.status_code == 202 and answer.json()["job_id"] != self.job
        self.job = answer.json()["job_id"]

    async def let_time_pass(self) -> None:
        async with self.api.database.service_transaction() as connection:
            for statement in LET_TIME_PASS:
                await connection.execute(text(statement))

    async def wait(self) -> dict[str, Any]:
        async with asyncio.timeout(60):
            while True:
                status = (await self.client.get(f"/api/videos/{self.job}")).json()
                if status["status"] in ("succeeded", "failed", "cancelled"):
                    return dict(status)
                await asyncio.sleep(0.02)

    async def require_all_right(self) -> None:
        assert (await self.wait())["status"] == "succeeded"
        assert await read_files(self) == self.contents


async def read_files(kept: Kept) -> dict[str, bytes]:
    """The content of every file; of the receipt without its summary, which says what was made again."""
    found = {}
    for name in FILES:
        answer = await kept.get(name)
        assert answer.status_code == 200, (name, answer.text)
        found[name] = answer.content.rpartition(b'\n{"summary"')[0] if name == "receipt" else answer.content
    return found


@pytest.fixture(autouse=True)
def _configured_logging(log_lines: Callable[[], Any]) -> None:
    """Configure logging as in production: the default of structlog takes seconds to format tracebacks."""


@pytest.fixture(scope="module")
async def service(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kept]:
    home = tmp_path_factory.mktemp("kept")
    async with catalogue_api(postgres_url, home) as api, running_supervisor(api.database, home):
        async with api.database.service_transaction() as connection:
            dataset = await add_footage(connection, home, FRAMES)
        body = {"experiment_id": str(dataset.experiment_id), "decimation_factor": 1, "fps": FPS}
        async with api.client("alice", *SCOPES, "videos:read", "videos:render") as client:
            yield Kept(api, client, body | {"outputs": ["preview_strip", "keogram"]}, dataset, "", {})


@pytest.fixture
async def kept(service: Kept) -> Kept:
    service.job = (await service.submit()).json()["job_id"]
    assert (await service.wait())["status"] == "succeeded"
    service.contents = service.contents or await read_files(service)
    await service.let_time_pass()
    return service


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", FILES)
async def test_a_file_of_a_render(kept: Kept, name: str, how: str) -> None:
    damage(kept.bucket / "renders" / kept.job / OBJECTS.get(name, name), how)
    refused = await kept.get(name)
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/file-lost"), refused.text
    assert refused.json()["status_url"] == f"/api/videos/{kept.job}" and "Retry-After" in refused.headers
    await kept.require_all_right()


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("suffix", ["mp4", "ndjson", "preview.jpg", "keogram.png"])
async def test_an_object_of_a_segment_that_a_render_uses_again(kept: Kept, suffix: str, how: str) -> None:
    damage((await kept.segment_files(suffix))[1], how)
    await kept.submit_anew()
    await kept.require_all_right()
    async with kept.api.database.service_transaction() as connection:
        query = text("SELECT starts, state FROM tasks WHERE render_id = :job ORDER BY kind, state")
        tasks = (await connection.execute(query, {"job": kept.job})).all()
    assert [tuple(task) for task in tasks] == [(1, "cancelled"), (1, "succeeded"), (1, "succeeded")], "made once"


@pytest.mark.parametrize("how", DAMAGES)
async def test_a_segment_of_a_stream(kept: Kept, how: str) -> None:
    first = await kept.get("stream/0.m4s")
    assert first.status_code == 200
    for path in await kept.segment_files("mp4"):
        damage(path, how)
    refused = await kept.get("stream/0.m4s")
    assert refused.status_code == 409 and "rendered again" in refused.json()["detail"]
    assert (await kept.get("stream.m3u8")).status_code == 409, "the playlist promises nothing that is not there"
    async with asyncio.timeout(30):
        while (answer := await kept.get("stream/0.m4s")).status_code != 200:
            assert answer.status_code in (404, 409)
            await asyncio.sleep(0.02)
    assert answer.content == first.content
    damage((await kept.segment_files("mp4"))[0], how)
    refused = await kept.get("stream/0.m4s")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "60"), "not again within a minute"
    assert "object store" in refused.json()["detail"]
    await kept.let_time_pass()
    await kept.submit_anew()
    await kept.require_all_right()


@pytest.mark.parametrize("name", ["stream/init.mp4", "stream/1.m4s", "preview.jpg", "preview.vtt", "keogram.png"])
async def test_browsers_ask_before_they_show_what_they_kept(kept: Kept, name: str) -> None:
    answer = await kept.get(name)
    tag = answer.headers["ETag"]
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "private, no-cache")
    same = await kept.get(name, **{"If-None-Match": tag})
    assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", tag)
    other = await kept.get(name, **{"If-None-Match": '"another"'})
    assert (other.status_code, other.content) == (200, answer.content)


async def test_a_segment_that_starts_later_has_another_tag(kept: Kept) -> None:
    """An earlier segment was rendered again, with frames that it had skipped."""
    names = ("stream/init.mp4", "stream/0.m4s", "stream/1.m4s")
    before = [await kept.get(name) for name in names]
    change = text("""
        UPDATE segment_cache SET duration = CAST(:duration AS text) FROM segments s, segment_cache old
        WHERE s.render_id = :job AND s.number = 0 AND s.content_key = segment_cache.content_key
            AND old.content_key = s.content_key RETURNING old.duration
    """)
    async with kept.api.database.service_transaction() as connection:
        duration = await connection.scalar(change, {"job": kept.job, "duration": "7/3"})
    pairs = zip(names, before, strict=True)
    after = [await kept.get(name, **{"If-None-Match": answer.headers["ETag"]}) for name, answer in pairs]
    async with kept.api.database.service_transaction() as connection:
        await connection.execute(change, {"job": kept.job, "duration": duration})
    assert [answer.status_code for answer in after] == [304, 304, 200]
    assert after[2].headers["ETag"] != before[2].headers["ETag"] and after[2].content != before[2].content


@pytest.mark.parametrize("how", DAMAGES)
async def test_a_preview_of_a_frame(kept: Kept, how: str) -> None:
    path = f"/api/datasets/{kept.dataset.id}/frames/7/image?width=32"

    async def ask() -> bytes:
        async with asyncio.timeout(30):
            while (answer := await kept.client.get(path)).status_code == 503:
                await asyncio.sleep(0.02)
        assert answer.status_code == 200, answer.text
        return answer.content

    right = await ask()
    await kept.client.get(f"/api/datasets/{kept.dataset.id}/frames/8/image?width=32")
    (stored,) = [each for each in (kept.bucket / "previews").rglob("*.jpg") if each.read_bytes() == right]
    damage(stored, how)
    lost = FILES_LOST.labels("preview")._value.get()
    assert await ask() == right and stored.read_bytes() == right
    counted = FILES_LOST.labels("preview")._value.get() - lost
    assert counted == (how != "gone"), "those that are gone may have been evicted"


@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
async def test_a_video_that_exists_is_not_promised_when_it_does_not(kept: Kept, how: str) -> None:
    assert (await kept.submit()).status_code == 200
    damage(kept.bucket / "renders" / kept.job / "video.mp4", how)
    answer = await kept.submit()
    assert (answer.status_code, answer.json()["job_id"], answer.json()["video_url"]) == (202, kept.job, None)
    await kept.require_all_right()


@pytest.mark.parametrize("headers", [{"Range": "bytes=0-9"}, {"If-None-Match": "*"}, {"Range": "bytes=0-"}])
async def test_no_part_of_a_damaged_video_is_sent(kept: Kept, headers: dict[str, str]) -> None:
    etag = (await kept.get("video")).headers["ETag"]
    damage(kept.bucket / "renders" / kept.job / "video.mp4", "flipped")
    headers = headers | ({"If-None-Match": etag} if "If-None-Match" in headers else {})
    assert (await kept.get("video", **headers)).status_code == 409
    await kept.require_all_right()


async def test_bits_that_fell_without_a_trace_are_found_when_the_whole_video_is_read(kept: Kept) -> None:
    path = kept.bucket / "renders" / kept.job / "video.mp4"
    before = path.stat()
    damage(path, "flipped")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (await kept.get("video")).status_code == 409
    await kept.require_all_right()


async def test_a_video_that_was_copied_is_read_once_and_stays(kept: Kept) -> None:
    path = kept.bucket / "renders" / kept.job / "video.mp4"
    os.utime(path)
    assert (await kept.get("video", Range="bytes=0-9")).status_code == 206
    row = await render_row(kept)
    assert row["video_etag"] == (await kept.api.objects.head(kept_ref(row))).etag


async def test_a_part_of_a_video_is_read_from_the_object_that_was_checked(kept: Kept) -> None:
    path, row = kept.bucket / "renders" / kept.job / "video.mp4", await render_row(kept)
    resources = kept.api.app.state.resources
    checked = await require_video(resources, row)
    part = parse_range("bytes=0-9", row["video_bytes"])
    assert (
        b"".join([chunk async for chunk in await _open_range(resources, row, checked, part)]) == path.read_bytes()[:10]
    )
    path.write_bytes(bytes(row["video_bytes"]))
    with pytest.raises(ObjectChanged):
        await _open_range(resources, row, checked, part)
    assert (await kept.get("video")).status_code == 409
    await kept.require_all_right()


async def test_a_store_that_loses_what_it_is_given_is_named(kept: Kept) -> None:
    path = kept.bucket / "renders" / kept.job / "video.mp4"
    path.unlink()
    assert (await kept.get("video")).status_code == 409
    await kept.wait()
    path.unlink()
    refused = await kept.get("video")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "60")
    assert "object store" in refused.json()["detail"]
    await kept.let_time_pass()
    assert (await kept.get("video")).status_code == 409
    await kept.require_all_right()


async def test_a_remake_that_fails_leaves_a_video_that_is_there(kept: Kept) -> None:
    """The poster and the segments are lost, and the frames are gone, too."""
    body = kept.body | {"missing": "fail", "fps": FPS + 1}
    kept.job = (await kept.client.post("/api/videos/generate", json=body)).raise_for_status().json()["job_id"]
    await kept.wait()
    video = await kept.get("video")
    frame = kept.bucket / kept.dataset.prefix / "f00000.jpg"
    aside = frame.rename(frame.with_suffix(".aside"))
    for path in (kept.bucket / "renders" / kept.job / "poster.jpg", *await kept.segment_files("mp4")):
        path.unlink()
    assert (await kept.get("poster")).status_code == 409
    status = await kept.wait()
    assert (status["status"], status["error"]["code"]) == ("succeeded", "frame_policy")
    assert (await kept.get("video")).content == video.content
    refused = await kept.get("poster")
    assert refused.status_code == 503 and "frame 0: the object does not exist" in refused.json()["detail"]
    aside.rename(frame)
    await kept.let_time_pass()
    assert (await kept.get("poster")).status_code == 409
    assert (await kept.wait())["error"] is None
    assert (await kept.get("poster")).status_code == 200


async def test_a_video_that_cannot_be_made_again_can_be_retried(kept: Kept) -> None:
    body = kept.body | {"missing": "fail", "fps": FPS + 2}
    kept.job = (await kept.client.post("/api/videos/generate", json=body)).raise_for_status().json()["job_id"]
    await kept.wait()
    video = await kept.get("video")
    frame = kept.bucket / kept.dataset.prefix / "f00000.jpg"
    aside = frame.rename(frame.with_suffix(".aside"))
    for path in (kept.bucket / "renders" / kept.job / "video.mp4", *await kept.segment_files("mp4")):
        path.unlink()
    assert (await kept.get("video")).status_code == 409
    assert (await kept.wait())["status"] == "failed"
    assert "could not be made again" in (await kept.get("video")).json()["detail"]
    aside.rename(frame)
    (await kept.client.post(f"/api/videos/{kept.job}/retry")).raise_for_status()
    assert (await kept.wait())["status"] == "succeeded"
    assert (await kept.get("video")).content == video.content


async def test_a_frame_that_was_replaced_is_in_no_video_made_again(kept: Kept) -> None:
    """From cached segments it is the same video as before; without them the render fails and says why."""
    frame, video = kept.bucket / kept.dataset.prefix / "f00000.jpg", kept.bucket / "renders" / kept.job / "video.mp4"
    aside = frame.rename(frame.with_suffix(".aside"))  # with its time, which is part of its ETag
    frame.write_bytes(frame.with_name("f00001.jpg").read_bytes())
    video.unlink()
    assert (await kept.get("video")).status_code == 409
    await kept.require_all_right()
    for path in (video, *await kept.segment_files("mp4")):
        path.unlink()
    await kept.let_time_pass()
    assert (await kept.get("video")).status_code == 409
    status = await kept.wait()
    assert status["status"] == "failed" and "changed since the scan" in status["error"]["reason"]
    aside.rename(frame)
    (await kept.client.post(f"/api/videos/{kept.job}/retry")).raise_for_status()
    await kept.require_all_right()


async def test_cancelling_a_remake_of_a_poster_leaves_the_video(kept: Kept) -> None:
    (kept.bucket / "renders" / kept.job / "poster.jpg").unlink()
    assert (await kept.get("poster")).status_code == 409
    await kept.client.post(f"/api/videos/{kept.job}/cancel")
    assert (await kept.wait())["status"] == "succeeded"
    await kept.let_time_pass()
    await kept.get("poster")
    await kept.require_all_right()


async def test_segments_without_digests_that_cannot_be_joined_are_rendered_again(kept: Kept) -> None:
    async with kept.api.database.service_transaction() as connection:
        await connection.execute(text("UPDATE segment_cache SET digests = '{}'"))
    damage((await kept.segment_files("mp4"))[0], "cut")
    await kept.submit_anew()
    await kept.require_all_right()


async def test_a_render_of_an_earlier_version_is_rendered_by_this_one(kept: Kept) -> None:
    """Nothing but its video can be checked; what is lost is made of new segments only."""
    earlier = (
        "UPDATE renders SET digests = '{}', video_etag = NULL, summary = summary || '{\"versions\": {}}'",
        "UPDATE segments SET pipeline = NULL, content_key = left(content_key, 60) || 'old' || number",
        "UPDATE segment_cache SET digests = '{}', content_key = left(content_key, 60) || 'old0'"
        " WHERE content_key IN (SELECT min(content_key) FROM segment_cache)",
    )
    async with kept.api.database.service_transaction() as connection:
        for statement in earlier:
            await connection.execute(text(statement))
    damage(kept.bucket / "renders" / kept.job / "poster.jpg", "gone")
    assert (await kept.get("video")).content == kept.contents["video"], "its digest was kept"
    assert (await kept.get("poster")).status_code == 409
    await kept.require_all_right()
    async with kept.api.database.service_transaction() as connection:
        keys = await connection.scalars(
            text("SELECT content_key FROM segments WHERE render_id = :id"), {"id": kept.job}
        )
        assert not [key for key in keys if "old" in key]


async def test_a_long_video_that_is_damaged_breaks_off(kept: Kept) -> None:
    path, data = kept.bucket / "renders" / kept.job / "video.mp4", os.urandom(3 << 20)
    path.write_bytes(data)
    row, info = await render_row(kept), await kept.api.objects.head(kept_ref(await render_row(kept)))
    async with kept.api.database.service_transaction() as connection:
        query = text(
            "UPDATE renders SET video_bytes = :size, video_sha256 = :sha256, video_etag = :etag WHERE id = :id"
        )
        values = {"size": len(data), "sha256": sha256_hex(data), "etag": info.etag, "id": row["id"]}
        await connection.execute(query, values)
    assert (await kept.get("video")).content == data
    before = path.stat()
    damage(path, "flipped")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(FileLost):
        await kept.get("video")
    await kept.require_all_right()
    assert (await kept.wait())["summary"]["remade"]["sha256_before"] == sha256_hex(data)


async def test_the_receipt_says_what_was_made_again(kept: Kept) -> None:
    (kept.bucket / "renders" / kept.job / "video.mp4").unlink()
    digest = (await render_row(kept))["video_sha256"]
    assert (await kept.get("video")).status_code == 409
    remade = (await kept.wait())["summary"]["remade"]
    assert remade["file"] == "video" and "no object" in remade["reason"] and remade["sha256_before"] == digest


async def render_row(kept: Kept) -> Any:
    async with kept.api.database.service_transaction() as connection:
        query = text("SELECT * FROM renders WHERE id = :job")
        return (await connection.execute(query, {"job": kept.job})).mappings().one()


def kept_ref(row: Any) -> ObjectRef:
    return ObjectRef("reelmill", row["video_key"])
