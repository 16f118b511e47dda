"""Files that are lost are made again: what happens when that fails, is cancelled, or is asked of an earlier version."""

import asyncio
import itertools
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from service.store.renders import lifecycle, queries
from tests.support.patience import PATIENCE_S
from tests.support.processes.finished_render import FPS, FinishedRender, damage, render_row

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("log_lines")]


async def test_a_store_that_loses_what_it_is_given_is_named(render: FinishedRender) -> None:
    path = render.path("video.mp4")
    path.unlink()
    assert (await render.get("video")).status_code == 409
    await render.wait()
    path.unlink()
    refused = await render.get("video")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "60")
    assert "object store" in refused.json()["detail"]
    await render.let_time_pass()
    assert (await render.get("video")).status_code == 409
    await render.require_all_right()


@dataclass(frozen=True)
class LostFrame:
    """Where a frame was, and is now; `video` is what was made of it."""

    was: Path
    aside: Path
    video: bytes

    def restore(self) -> None:
        self.aside.rename(self.was)


async def lose_with_a_frame(render: FinishedRender, file: str, fps: int) -> LostFrame:
    """Make `render` another one, which fails without a frame, and lose a file of it, its segments and a frame."""
    body = render.body | {"missing": "fail", "fps": fps}
    render.job = (await render.client.post("/api/videos/generate", json=body)).raise_for_status().json()["job_id"]
    await render.wait()
    video = (await render.get("video")).content
    for path in (render.path(file), *await render.segment_files("mp4")):
        path.unlink()
    frame = render.bucket / render.dataset.prefix / "f00000.jpg"
    return LostFrame(frame, frame.rename(frame.with_suffix(".aside")), video)


async def test_a_remake_that_fails_leaves_a_video_that_is_there(render: FinishedRender) -> None:
    """The poster and the segments are lost, and the frames are gone, too."""
    lost = await lose_with_a_frame(render, "poster.jpg", FPS + 1)
    assert (await render.get("poster")).status_code == 409
    status = await render.wait()
    assert (status["status"], status["error"]["code"]) == ("succeeded", "frame_policy")
    assert (await render.get("video")).content == lost.video
    refused = await render.get("poster")
    assert refused.status_code == 503 and "frame 0: the object does not exist" in refused.json()["detail"]
    lost.restore()
    await render.let_time_pass()
    assert (await render.get("poster")).status_code == 409
    assert (await render.wait())["error"] is None
    assert (await render.get("poster")).status_code == 200


async def test_a_video_that_cannot_be_made_again_can_be_retried(render: FinishedRender) -> None:
    lost = await lose_with_a_frame(render, "video.mp4", FPS + 2)
    assert (await render.get("video")).status_code == 409
    assert (await render.wait())["status"] == "failed"
    assert "could not be made again" in (await render.get("video")).json()["detail"]
    lost.restore()
    (await render.client.post(f"/api/videos/{render.job}/retry")).raise_for_status()
    assert (await render.wait())["status"] == "succeeded"
    assert (await render.get("video")).content == lost.video


async def test_a_frame_that_was_replaced_is_in_no_video_made_again(render: FinishedRender) -> None:
    """From cached segments it is the same video as before; without them the render fails and says why."""
    frame, video = render.bucket / render.dataset.prefix / "f00000.jpg", render.path("video.mp4")
    aside = frame.rename(frame.with_suffix(".aside"))  # with its time, which is part of its ETag
    frame.write_bytes(frame.with_name("f00001.jpg").read_bytes())
    video.unlink()
    assert (await render.get("video")).status_code == 409
    await render.require_all_right()
    for path in (video, *await render.segment_files("mp4")):
        path.unlink()
    await render.let_time_pass()
    assert (await render.get("video")).status_code == 409
    status = await render.wait()
    assert status["status"] == "failed" and "changed since the scan" in status["error"]["reason"]
    aside.rename(frame)
    (await render.client.post(f"/api/videos/{render.job}/retry")).raise_for_status()
    await render.require_all_right()


async def wait_for_worker(render: FinishedRender) -> None:
    """Until no task of the render runs: it may be too late to cancel one."""
    async with asyncio.timeout(PATIENCE_S), render.api.database.engine.connect() as connection:
        while await queries.has_running_task(connection, UUID(render.job)):
            await connection.rollback()


async def test_cancelling_a_remake_of_a_poster_leaves_the_video(render: FinishedRender) -> None:
    render.path("poster.jpg").unlink()
    assert (await render.get("poster")).status_code == 409
    await render.client.post(f"/api/videos/{render.job}/cancel")
    assert (await render.wait())["status"] == "succeeded"
    await wait_for_worker(render)
    await render.let_time_pass()
    await render.get("poster")
    await render.require_all_right()


async def cancel_when_written(render: FinishedRender, name: str) -> bool:
    """Have a file made again, and cancel that between the writing of the files and the worker's word of it."""
    receipt = render.path("receipt.ndjson")
    before = receipt.stat().st_mtime_ns
    render.path(name).unlink()
    assert (await render.get(name)).status_code == 409
    async with render.api.database.service_transaction() as canceller, asyncio.timeout(PATIENCE_S):
        while receipt.stat().st_mtime_ns == before:
            await asyncio.sleep(0)
        return await lifecycle.cancel_render(canceller, UUID(render.job))


async def test_what_a_remake_wrote_before_it_was_cancelled_is_known(render: FinishedRender) -> None:
    for name in itertools.cycle(("keogram.png", "preview.vtt")):  # the receipt names it, and so is another each time
        if await cancel_when_written(render, name):
            break
        await render.let_time_pass()
    assert (await render.get("receipt")).status_code in (200, 409), "it is not lost: the worker has not said yet"
    await wait_for_worker(render)
    await render.require_all_right()


async def test_segments_without_digests_that_cannot_be_joined_are_rendered_again(render: FinishedRender) -> None:
    async with render.api.database.service_transaction() as connection:
        await connection.execute(text("UPDATE segment_cache SET digests = '{}'"))
    damage((await render.segment_files("mp4"))[0], "cut")
    await render.submit_anew()
    await render.require_all_right()


async def test_a_render_of_an_earlier_version_is_rendered_by_this_one(render: FinishedRender) -> None:
    """Nothing but its video can be checked; what is lost is made of new segments only."""
    earlier = (
        "UPDATE renders SET digests = '{}', video_etag = NULL, summary = summary || '{\"versions\": {}}'",
        "UPDATE segments SET pipeline = NULL, content_key = encode(sha256(content_key::bytea), 'hex')",
        "UPDATE segment_cache SET digests = '{}', content_key = encode(sha256(content_key::bytea), 'hex')"
        " WHERE content_key IN (SELECT min(content_key) FROM segment_cache)",
    )
    async with render.api.database.service_transaction() as connection:
        for statement in earlier:
            await connection.execute(text(statement))
    old_keys = await segment_keys(render)
    damage(render.path("poster.jpg"), "gone")
    assert (await render.get("video")).content == render.contents["video"], "its digest was kept"
    assert (await render.get("poster")).status_code == 409
    await render.require_all_right()
    assert not old_keys & await segment_keys(render)


async def segment_keys(render: FinishedRender) -> set[str]:
    query = text("SELECT content_key FROM segments WHERE render_id = :id")
    async with render.api.database.service_transaction() as connection:
        return set(await connection.scalars(query, {"id": render.job}))


async def test_the_receipt_says_what_was_made_again(render: FinishedRender) -> None:
    render.path("video.mp4").unlink()
    digest = (await render_row(render))["video_sha256"]
    assert (await render.get("video")).status_code == 409
    remade = (await render.wait())["summary"]["remade"]
    assert remade["file"] == "video" and "no object" in remade["reason"] and remade["sha256_before"] == digest
