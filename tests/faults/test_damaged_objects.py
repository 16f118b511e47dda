"""Every kind of object that we keep is damaged in every way, and asked for again: it is refused by name or made anew, and
right in the end. A real API, a real supervisor with a real slot process, a real database, and a folder of objects."""

import asyncio
import os

import pytest
from sqlalchemy import text

from service.routers.http.object_streams import parse_range
from service.routers.videos.files import _open_range
from service.routers.videos.finished_files import FileLost, require_video
from service.store.objects.digests import sha256_hex
from service.store.objects.object_store import ObjectChanged
from service.telemetry.metrics import FILES_LOST
from tests.support.patience import PATIENCE_S
from tests.support.processes.finished_render import (
    DAMAGES,
    FILES,
    OBJECTS,
    FinishedRender,
    damage,
    render_row,
    video_ref,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("log_lines")]


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", FILES)
async def test_a_file_of_a_render(render: FinishedRender, name: str, how: str) -> None:
    damage(render.path(OBJECTS.get(name, name)), how)
    refused = await render.get(name)
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/file-lost"), refused.text
    assert refused.json()["status_url"] == f"/api/videos/{render.job}" and "Retry-After" in refused.headers
    await render.require_all_right()


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("suffix", ["mp4", "ndjson", "preview.jpg", "keogram.png"])
async def test_an_object_of_a_segment_that_a_render_uses_again(render: FinishedRender, suffix: str, how: str) -> None:
    damage((await render.segment_files(suffix))[1], how)
    await render.submit_anew()
    await render.require_all_right()
    async with render.api.database.service_transaction() as connection:
        query = text("SELECT starts, state FROM tasks WHERE render_id = :job ORDER BY kind, state")
        tasks = (await connection.execute(query, {"job": render.job})).all()
    assert [tuple(task) for task in tasks] == [(1, "cancelled"), (1, "succeeded"), (1, "succeeded")], "made once"


@pytest.mark.parametrize("how", DAMAGES)
async def test_a_segment_of_a_stream(render: FinishedRender, how: str) -> None:
    first = await render.get("stream/0.m4s")
    assert first.status_code == 200
    for path in await render.segment_files("mp4"):
        damage(path, how)
    refused = await render.get("stream/0.m4s")
    assert refused.status_code == 409 and "rendered again" in refused.json()["detail"]
    assert (await render.get("stream.m3u8")).status_code == 409, "the playlist promises nothing that is not there"
    async with asyncio.timeout(PATIENCE_S):
        while (answer := await render.get("stream/0.m4s")).status_code != 200:
            assert answer.status_code in (404, 409)
            await asyncio.sleep(0.02)
    assert answer.content == first.content
    damage((await render.segment_files("mp4"))[0], how)
    refused = await render.get("stream/0.m4s")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "60"), "not again within a minute"
    assert "object store" in refused.json()["detail"]
    await render.let_time_pass()
    await render.submit_anew()
    await render.require_all_right()


@pytest.mark.parametrize("name", ["stream/init.mp4", "stream/1.m4s", "preview.jpg", "preview.vtt", "keogram.png"])
async def test_browsers_ask_before_they_show_what_they_kept(render: FinishedRender, name: str) -> None:
    answer = await render.get(name)
    tag = answer.headers["ETag"]
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "private, no-cache")
    same = await render.get(name, **{"If-None-Match": tag})
    assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", tag)
    other = await render.get(name, **{"If-None-Match": '"another"'})
    assert (other.status_code, other.content) == (200, answer.content)


async def test_a_segment_that_starts_later_has_another_tag(render: FinishedRender) -> None:
    """An earlier segment was rendered again, with frames that it had skipped."""
    names = ("stream/init.mp4", "stream/0.m4s", "stream/1.m4s")
    before = [await render.get(name) for name in names]
    change = text("""
        UPDATE segment_cache SET duration = CAST(:duration AS text) FROM segments s, segment_cache old
        WHERE s.render_id = :job AND s.number = 0 AND s.content_key = segment_cache.content_key
            AND old.content_key = s.content_key RETURNING old.duration
    """)
    async with render.api.database.service_transaction() as connection:
        duration = await connection.scalar(change, {"job": render.job, "duration": "7/3"})
    pairs = zip(names, before, strict=True)
    after = [await render.get(name, **{"If-None-Match": answer.headers["ETag"]}) for name, answer in pairs]
    async with render.api.database.service_transaction() as connection:
        await connection.execute(change, {"job": render.job, "duration": duration})
    assert [answer.status_code for answer in after] == [304, 304, 200]
    assert after[2].headers["ETag"] != before[2].headers["ETag"] and after[2].content != before[2].content


@pytest.mark.parametrize("how", DAMAGES)
async def test_a_preview_of_a_frame(render: FinishedRender, how: str) -> None:
    path = f"/api/datasets/{render.dataset.id}/frames/7/image?width=32"

    async def ask() -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            while (answer := await render.client.get(path)).status_code == 503:
                await asyncio.sleep(0.02)
        assert answer.status_code == 200, answer.text
        return answer.content

    right = await ask()
    await render.client.get(f"/api/datasets/{render.dataset.id}/frames/8/image?width=32")
    (stored,) = [each for each in (render.bucket / "previews").rglob("*.jpg") if each.read_bytes() == right]
    damage(stored, how)
    lost = FILES_LOST.labels("preview")._value.get()
    assert await ask() == right and stored.read_bytes() == right
    counted = FILES_LOST.labels("preview")._value.get() - lost
    assert counted == (how != "gone"), "those that are gone may have been evicted"


@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
async def test_a_video_that_exists_is_not_promised_when_it_does_not(render: FinishedRender, how: str) -> None:
    assert (await render.submit()).status_code == 200
    damage(render.path("video.mp4"), how)
    answer = await render.submit()
    assert (answer.status_code, answer.json()["job_id"], answer.json()["video_url"]) == (202, render.job, None)
    await render.require_all_right()


@pytest.mark.parametrize("headers", [{"Range": "bytes=0-9"}, {"If-None-Match": "*"}, {"Range": "bytes=0-"}])
async def test_no_part_of_a_damaged_video_is_sent(render: FinishedRender, headers: dict[str, str]) -> None:
    etag = (await render.get("video")).headers["ETag"]
    damage(render.path("video.mp4"), "flipped")
    headers = headers | ({"If-None-Match": etag} if "If-None-Match" in headers else {})
    assert (await render.get("video", **headers)).status_code == 409
    await render.require_all_right()


async def test_bits_that_fell_without_a_trace_are_found_when_the_whole_video_is_read(render: FinishedRender) -> None:
    path = render.path("video.mp4")
    before = path.stat()
    damage(path, "flipped")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (await render.get("video")).status_code == 409
    await render.require_all_right()


async def test_a_video_that_was_copied_is_read_once_and_stays(render: FinishedRender) -> None:
    path = render.path("video.mp4")
    os.utime(path)
    assert (await render.get("video", Range="bytes=0-9")).status_code == 206
    row = await render_row(render)
    assert row["video_etag"] == (await render.api.objects.head(video_ref(row))).etag


async def test_a_part_of_a_video_is_read_from_the_object_that_was_checked(render: FinishedRender) -> None:
    path, row = render.path("video.mp4"), await render_row(render)
    resources = render.api.app.state.resources
    checked = await require_video(resources, row)
    part = parse_range("bytes=0-9", row["video_bytes"])
    assert (
        b"".join([chunk async for chunk in await _open_range(resources, row, checked, part)]) == path.read_bytes()[:10]
    )
    path.write_bytes(bytes(row["video_bytes"]))
    with pytest.raises(ObjectChanged):
        await _open_range(resources, row, checked, part)
    assert (await render.get("video")).status_code == 409
    await render.require_all_right()


async def test_a_long_video_that_is_damaged_breaks_off(render: FinishedRender) -> None:
    path, data = render.path("video.mp4"), os.urandom(3 << 20)
    path.write_bytes(data)
    row, info = await render_row(render), await render.api.objects.head(video_ref(await render_row(render)))
    async with render.api.database.service_transaction() as connection:
        query = text(
            "UPDATE renders SET video_bytes = :size, video_sha256 = :sha256, video_etag = :etag WHERE id = :id"
        )
        values = {"size": len(data), "sha256": sha256_hex(data), "etag": info.etag, "id": row["id"]}
        await connection.execute(query, values)
    assert (await render.get("video")).content == data
    before = path.stat()
    damage(path, "flipped")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(FileLost):
        await render.get("video")
    await render.require_all_right()
    assert (await render.wait())["summary"]["remade"]["sha256_before"] == sha256_hex(data)
