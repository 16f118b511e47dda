"""A video that arrives damaged from the object store: it counts as lost only if it is stored damaged."""

import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from service.processes.app import create_app
from service.routers.videos.finished_files import FileLost
from service.store.objects.object_store import ObjectStoreError
from service.store.objects.s3 import S3ObjectStore
from tests.support.data.database_rows import add_dataset, add_render
from tests.support.processes.catalogue_api import catalogue_api
from tests.support.servers.object_server import FaultyObjectServer
from tests.support.servers.stored_frames import object_settings

pytestmark = pytest.mark.anyio
KEY = "renders/x/video.mp4"
SET_VIDEO = text("""
    UPDATE renders SET status = 'succeeded', video_key = :key, video_bytes = :size, video_etag = :etag,
        video_sha256 = :sha256
""")


@pytest.fixture
async def videos(postgres_url: str, tmp_path: Path) -> AsyncIterator[tuple[FaultyObjectServer, httpx.AsyncClient, str]]:
    """A server with a finished video of 3 MiB, a client, and the address of the video."""
    server = FaultyObjectServer()
    server.extra_headers = {"Last-Modified": "Mon, 06 Jul 2026 12:00:00 GMT"}
    store, data = S3ObjectStore(object_settings(server.address)), os.urandom(3 << 20)
    video = {"key": KEY, "size": len(data), "etag": server.put(KEY, data), "sha256": hashlib.sha256(data).hexdigest()}
    async with catalogue_api(postgres_url, tmp_path) as api:
        async with api.database.service_transaction() as connection:
            job = await add_render(connection, await add_dataset(connection, 4))
            await connection.execute(SET_VIDEO, video)
        app = create_app(replace(api.app.state.resources, objects=store))
        async with replace(api, app=app).client("alice", "videos:read") as client:
            yield server, client, f"/api/videos/{job}/video"
    await store.close()
    server.stop()


async def test_damage_on_the_way_is_no_loss(videos: tuple[FaultyObjectServer, httpx.AsyncClient, str]) -> None:
    server, client, path = videos
    server.faults[KEY] = ["", "flipped"]  # HEAD, GET
    with pytest.raises(ObjectStoreError) as broken_off:
        await client.get(path)
    assert not isinstance(broken_off.value, FileLost)
    assert (await client.get(path)).content == server.objects[KEY], "it is there, and was not made again"
    server.faults[KEY] = ["", "empty"]
    answer = await client.get(path)
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True), "no byte was sent yet"
    server.faults[KEY] = ["", *["flipped"] * 9]
    with pytest.raises(FileLost):
        await client.get(path)
