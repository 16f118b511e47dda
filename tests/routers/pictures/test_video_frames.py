"""Any frame of a video is the one that the receipt names, whatever the codec: its number is read from its pixels."""

import asyncio
import json
import random
from typing import Any
from uuid import UUID

import httpx
import imagecodecs
import numpy as np
import pytest
from sqlalchemy import text

from tests.routers.pictures.renders import ask_again, create_scanned_dataset, decode, render
from tests.support.data import media
from tests.support.patience import PATIENCE_S
from tests.support.processes.catalogue_api import CatalogueApi
from tests.support.processes.supervisor import wait_until_ended

pytestmark = pytest.mark.anyio
FRAMES, ASKED_EACH, ASKED_AT_ONCE = 90, 15, 10
# Damaged and missing frames, some of them at the ends of segments.
DAMAGED, MISSING = (5, 6, 44, 45, 46, 89), (30, 31, 75)
RENDERS: list[dict[str, Any]] = [
    {"codec": "h264", "corrupt": "hold", "missing": "hold"},
    {"codec": "hevc", "corrupt": "skip"},
    {"codec": "av1", "corrupt": "hold", "missing": "black"},
    {"codec": "ffv1", "corrupt": "skip"},
    {"codec": "mjpeg", "corrupt": "hold"},
    {"codec": "h264", "container": "mkv", "quality": 30, "effort": "fast"},
    {"codec": "h264", "timing": "captured", "speed": 10, "corrupt": "skip"},
]


def camera_files() -> dict[str, bytes]:
    files = {}
    for number in range(FRAMES):
        taken = f"2026:01:01 12:{number // 60:02}:{number % 60:02}"
        data = media.oriented_jpeg(media.numbered_picture(number), 1, taken)
        files[f"f{number:03}.jpg"] = media.truncate(data, 0.4) if number in DAMAGED else data
    return {name: data for name, data in files.items() if int(name[1:4]) not in MISSING}


def read(response: httpx.Response) -> "np.ndarray[Any, Any]":
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/png"
    return np.asarray(imagecodecs.png_decode(response.content))


async def get_frame(client: httpx.AsyncClient, job: str, k: int) -> httpx.Response:
    return await ask_again(client, "GET", f"/api/videos/{job}/frames/{k}/image")


async def numbers_by_output(client: httpx.AsyncClient, job: str) -> dict[int, int]:
    """Output frame -> the number in its picture, by the receipt: files have it in their names. 0 for black ones."""
    lines = (await client.get(f"/api/videos/{job}/receipt")).text.splitlines()[:-1]
    entries = [json.loads(line) for line in lines]
    names = {entry["source"]: int(entry["key"][-7:-4]) for entry in entries if entry["key"]}
    found = {}
    for entry in entries:
        if entry["output"] is not None:
            held = entry["substituted_from"]
            shown = names.get(entry["source"] if held is None else held, 0)
            found[entry["output"]] = 0 if entry["outcome"] == "black" else shown
    return found


async def check_frames(client: httpx.AsyncClient, job: str, ks: list[int], numbers: dict[int, int]) -> None:
    room = asyncio.Semaphore(ASKED_AT_ONCE)

    async def check(k: int) -> None:
        async with room:
            assert media.read_number(read(await get_frame(client, job, k))) == numbers[k], (job, k)

    await asyncio.gather(*map(check, ks))


async def test_every_frame_is_the_one_of_the_receipt(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    dataset = await create_scanned_dataset(api, alice, camera_files())
    chance = random.Random(15)
    jobs = [await render(alice, dataset, fps=20, **options) for options in RENDERS]
    for job in jobs:
        status = await wait_until_ended(api.database, UUID(job))
        assert status["status"] == "succeeded", status["error"]
    for job in jobs:
        numbers = await numbers_by_output(alice, job)
        ks = [0, len(numbers) - 1, *chance.sample(range(1, len(numbers) - 1), min(ASKED_EACH, len(numbers) - 2))]
        await check_frames(alice, job, ks, numbers)
        outside = await get_frame(alice, job, len(numbers))
        assert (outside.status_code, outside.json()["errors"][0]["parameter"]) == (404, "k")
        assert f"0 to {len(numbers) - 1}" in outside.json()["detail"]
    lossless = decode((await alice.get(f"/api/videos/{jobs[3]}/video")).content)
    assert np.array_equal(read(await get_frame(alice, jobs[3], 17)), lossless[17])
    await _evict_segments(api)
    for job in jobs:
        numbers = await numbers_by_output(alice, job)
        await check_frames(alice, job, [0, len(numbers) - 1, *chance.sample(range(1, len(numbers)), 4)], numbers)


async def _evict_segments(api: CatalogueApi) -> None:
    """The videos are all that is left."""
    async with api.database.service_transaction() as connection:
        await connection.execute(text("DELETE FROM segment_cache"))
        await connection.execute(text("DELETE FROM previews"))


async def test_frames_of_a_render_that_is_not_finished(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    """Those are there before which all segments are finished. They go with the render."""
    dataset = await create_scanned_dataset(api, alice, camera_files())
    job = await render(alice, dataset, fps=20, corrupt="skip")
    await wait_until_ended(api.database, UUID(job))
    numbers = await numbers_by_output(alice, job)
    await _unfinish(api, job)
    early, late = await get_frame(alice, job, 3), await get_frame(alice, job, len(numbers) - 1)
    assert media.read_number(read(early)) == numbers[3]
    assert (late.status_code, late.json()["errors"][0]["parameter"]) == (409, "k")
    assert (await get_frame(alice, job, FRAMES)).status_code == 404
    again = await alice.get(f"/api/videos/{job}/frames/3/image", headers={"If-None-Match": early.headers["ETag"]})
    assert again.status_code == 304
    folder = api.objects.root / "reelmill" / "previews" / dataset["id"] / job
    assert list(folder.iterdir())
    (await alice.delete(f"/api/videos/{job}", params={"force": True})).raise_for_status()
    async with asyncio.timeout(PATIENCE_S):
        while folder.exists() and list(folder.iterdir()):
            await asyncio.sleep(0.1)
    async with api.database.service_transaction() as connection:
        left = text("SELECT count(*) FROM previews WHERE strpos(key, :job) > 0")
        assert await connection.scalar(left, {"job": job}) == 0


async def _unfinish(api: CatalogueApi, job: str) -> None:
    """As if only the first segment was finished."""
    async with api.database.service_transaction() as connection:
        await connection.execute(text("ALTER TABLE renders DISABLE TRIGGER ALL"))
        await connection.execute(
            text("UPDATE renders SET status = 'cancelled', video_key = NULL WHERE id = :job"), {"job": job}
        )
        await connection.execute(text("ALTER TABLE renders ENABLE TRIGGER ALL"))
        await connection.execute(
            text("""DELETE FROM segment_cache WHERE content_key =
                (SELECT content_key FROM segments WHERE render_id = :job ORDER BY number DESC LIMIT 1)"""),
            {"job": job},
        )
