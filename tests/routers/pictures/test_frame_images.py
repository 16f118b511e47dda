"""Images of frames: stored bytes, and previews that a real worker renders, with a real database and a folder."""

import asyncio
import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import text

from service.ids import DatasetId, Subject
from service.plan.preview import FramePreview
from service.plan.render_plan import FrameRef
from service.store.cache import previews
from tests.support.data import media
from tests.support.data.scanning import scan_dataset
from tests.support.patience import PATIENCE_S
from tests.support.processes.catalogue_api import CatalogueApi, catalogue_api
from tests.support.processes.supervisor import running_supervisor

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(postgres_url: str, tmp_path: Path) -> AsyncIterator[CatalogueApi]:
    async with catalogue_api(postgres_url, tmp_path, sources="camera") as api:
        yield api


@pytest.fixture
async def alice(api: CatalogueApi) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client("alice") as client:
        yield client


@asynccontextmanager
async def worker(api: CatalogueApi) -> AsyncIterator[None]:
    async with running_supervisor(api.database, api.objects.root.parent, sources="camera"):
        yield


async def _create_scanned_dataset(
    api: CatalogueApi, client: httpx.AsyncClient, files: dict[str, bytes], kind: str = "frames"
) -> str:
    """The path of the frames of a dataset."""
    for name, data in files.items():
        await api.put(f"day/{name}", data, "camera")
    experiment = (await client.post("/api/experiments", json={"name": "run"})).json()["id"]
    body = {"name": "camera", "kind": kind, "bucket": "camera", "prefix": "day/"}
    dataset = (await client.post(f"/api/experiments/{experiment}/datasets", json=body)).json()["dataset"]["id"]
    await scan_dataset(api.database, api.objects, DatasetId(UUID(dataset)))
    return f"/api/datasets/{dataset}/frames"


async def _get_image(client: httpx.AsyncClient, url: str, **parameters: Any) -> httpx.Response:
    """Retry while the response asks for it."""
    while True:
        response = await client.get(url, params=parameters)
        if response.status_code != 503:
            return response
        await asyncio.sleep(float(response.headers["Retry-After"]) / 10)


def _pixels(response: httpx.Response) -> np.ndarray[Any, Any]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/jpeg"
    return np.asarray(Image.open(io.BytesIO(response.content)))


async def _count_tasks(api: CatalogueApi) -> int:
    async with api.database.service_transaction() as connection:
        return int(await connection.scalar(text("SELECT count(*) FROM tasks WHERE kind = 'preview'")) or 0)


async def test_stored_bytes(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    picture = media.numbered_picture(5)
    files = {"f0.jpg": media.jpeg(picture), "f1.png": media.png(picture), "f2.tif": media.tiff(picture), "f3.jpg": b"x"}
    frames = await _create_scanned_dataset(api, alice, files)
    kinds = ("image/jpeg", "image/png", "image/tiff", "application/octet-stream")
    for index, (data, kind) in enumerate(zip(files.values(), kinds, strict=True)):
        answer = await alice.get(f"{frames}/{index}/image")
        assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, data, kind)
        assert (answer.headers["Content-Length"], answer.headers["X-Content-Type-Options"]) == (
            str(len(data)),
            "nosniff",
        )
        again = await alice.get(f"{frames}/{index}/image", headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
    await api.put("day/f0.jpg", files["f1.png"], "camera")
    changed = await alice.get(f"{frames}/0/image", headers={"If-None-Match": answer.headers["ETag"]})
    assert (changed.status_code, changed.content) == (200, files["f1.png"])
    assert await _count_tasks(api) == 0


async def test_previews_are_made_once_and_kept(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    frames = await _create_scanned_dataset(api, alice, {"f0.jpg": media.jpeg(media.numbered_picture(77, 640, 360))})
    async with worker(api):
        answers = await asyncio.gather(*(_get_image(alice, f"{frames}/0/image", width=160) for _ in range(5)))
    assert len({answer.content for answer in answers}) == 1 and await _count_tasks(api) == 1
    assert _pixels(answers[0]).shape == (90, 160, 3)
    assert media.read_number(_pixels(answers[0])) == 77
    kept = await alice.get(f"{frames}/0/image", params={"width": 160})
    assert kept.content == answers[0].content, "no worker is needed now"
    same = await alice.get(f"{frames}/0/image", params={"width": 160}, headers={"If-None-Match": kept.headers["ETag"]})
    assert same.status_code == 304


async def test_every_kind_of_frame(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    upright = media.numbered_picture(0b10110010, 128, 96)
    files = {
        "f0.png": media.png(upright),
        "f1.png": media.png16(upright),
        "f2.tif": media.tiff(upright, compression="deflate", tile=(32, 32)),
        "f3.png": media.png(upright[:, :, 0]),
    }
    files |= {f"g{turn}.jpg": media.oriented_jpeg(upright, turn) for turn in range(1, 9)}
    files["h.jpg"] = media.jpeg(media.numbered_picture(0b10110010, 127, 95))
    frames = await _create_scanned_dataset(api, alice, files)
    async with worker(api):
        for index, name in enumerate(files):
            for width, shape in ((64, 48), (101, 76), (1920, 96)):
                pixels = _pixels(await _get_image(alice, f"{frames}/{index}/image", width=width))
                own = (95, 127) if name == "h.jpg" else (96, 128)
                assert pixels.shape[:2] == (own if width == 1920 else (shape, width)), name
                assert media.read_number(pixels) == 0b10110010, name


async def test_colours_are_right(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    colours = [(200, 30, 40), (20, 180, 60), (250, 250, 250), (0, 0, 0), (128, 128, 128)]
    files = {
        f"f{n}.{kind}": getattr(media, kind)(media.flat_picture(c))
        for n, c in enumerate(colours)
        for kind in ("png", "jpeg")
    }
    files = {name.replace("jpeg", "jpg"): data for name, data in files.items()}
    frames = await _create_scanned_dataset(api, alice, files)
    keys = [row["key"] for row in (await alice.get(frames)).json()]
    async with worker(api):
        for index, key in enumerate(keys):
            middle = _pixels(await _get_image(alice, f"{frames}/{index}/image", width=32))[12, 16]
            wanted = colours[int(key[len("day/f")])]
            assert np.abs(middle.astype(int) - wanted).max() <= 6, (key, middle, wanted)


async def test_pictures_of_source_videos(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    clips = {
        f"clip{number}.mp4": media.video(media.numbered_picture(n) for n in range(number * 30, number * 30 + 30))
        for number in range(2)
    }
    frames = await _create_scanned_dataset(api, alice, clips, "video")
    async with worker(api):
        for index in (0, 17, 29, 30, 59):
            for parameters in ({"width": 64}, {}):
                assert (
                    media.read_number(_pixels(await _get_image(alice, f"{frames}/{index}/image", **parameters)))
                    == index
                )
        assert (await alice.get(f"{frames}/60/image")).status_code == 404


async def test_damage_is_told(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    whole = media.jpeg(media.numbered_picture(1, 256, 192))
    files = {"f0.jpg": media.truncate(whole), "f1.jpg": b"text", "f2.jpg": whole, "f3.jpg": whole}
    frames = await _create_scanned_dataset(api, alice, files)
    await api.objects.delete(_ref("day/f3.jpg"))
    async with worker(api):
        for _ in range(2):
            broken = await _get_image(alice, f"{frames}/0/image", width=64)
            assert (broken.status_code, broken.json()["type"]) == (422, "/problems/damaged-frame")
            assert "truncated" in broken.json()["detail"]
        assert await _count_tasks(api) == 1, "it is not tried again while the bytes are the same"
        unreadable = await _get_image(alice, f"{frames}/1/image", width=64)
        assert unreadable.status_code == 422 and "not a JPEG" in unreadable.json()["detail"]
        assert (await _get_image(alice, f"{frames}/2/image", width=64)).status_code == 200
        assert (await _get_image(alice, f"{frames}/3/image", width=64)).status_code == 404
        await api.put("day/f0.jpg", whole, "camera")
        assert (await _get_image(alice, f"{frames}/0/image", width=64)).status_code == 200, "mended in place"
    async with api.database.service_transaction() as connection:
        assert await connection.scalar(text("SELECT state FROM datasets")) == "ready"


@pytest.mark.parametrize(
    ("code", "pinned"),
    [("unreadable", True), ("poison", True), ("missing", False), ("damaged", False), ("changed", False)],
)
async def test_only_what_the_bytes_themselves_decide_is_not_tried_again(
    api: CatalogueApi, alice: httpx.AsyncClient, code: str, pinned: bool
) -> None:
    path = await _create_scanned_dataset(api, alice, {"f0.jpg": media.jpeg(media.numbered_picture(9))})
    dataset = UUID(path.split("/")[3])
    preview = FramePreview(dataset, "frames", "camera", FrameRef(0, "day/f0.jpg", "etag", 1), 64, 1_000_000)
    start = text("UPDATE tasks SET state = 'running'")
    fail = text("UPDATE tasks SET state = 'failed', error = jsonb_build_object('code', CAST(:code AS text))")
    async with api.database.service_transaction() as connection:
        first = await previews.enqueue_preview(connection, preview, Subject("alice"))
        await connection.execute(start)
        await connection.execute(fail, {"code": code})
        assert (await previews.enqueue_preview(connection, preview, Subject("alice")) == first) is pinned


def _ref(key: str) -> Any:
    from service.plan.render_plan import ObjectRef

    return ObjectRef("camera", key)


async def test_without_a_worker_the_caller_is_told_to_come_back(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    frames = await _create_scanned_dataset(api, alice, {"f0.jpg": media.jpeg(media.numbered_picture(9))})
    late = await alice.get(f"{frames}/0/image", params={"width": 64})
    assert (late.status_code, late.headers["Retry-After"]) == (503, "2")
    async with worker(api):
        assert media.read_number(_pixels(await _get_image(alice, f"{frames}/0/image", width=64))) == 9


async def test_what_may_be_asked(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    frames = await _create_scanned_dataset(api, alice, {"f0.jpg": media.jpeg(media.numbered_picture(9))})
    for width in ("15", "1921", "wide", "-1"):
        refused = await alice.get(f"{frames}/0/image", params={"width": width})
        assert (refused.status_code, refused.json()["errors"][0]["parameter"]) == (422, "width")
    for index in ("1", "-1", str(2**63), "x", "9" * 40):
        assert (await alice.get(f"{frames}/{index}/image")).status_code == 404
    async with api.client("eve") as eve, api.client("alice", "videos:read") as other:
        for parameters in ({}, {"width": 64}):
            assert (await eve.get(f"{frames}/0/image", params=parameters)).status_code == 404
            assert (await other.get(f"{frames}/0/image", params=parameters)).status_code == 403
    assert await _count_tasks(api) == 0


async def test_previews_go_with_their_dataset(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    frames = await _create_scanned_dataset(api, alice, {"f0.jpg": media.jpeg(media.numbered_picture(9))})
    async with worker(api):
        await _get_image(alice, f"{frames}/0/image", width=64)
        folder = api.objects.root / "reelmill" / "previews"
        assert [name for _, _, names in os.walk(folder) for name in names]
        (await alice.delete(frames.removesuffix("/frames"))).raise_for_status()
        async with asyncio.timeout(PATIENCE_S):
            while [name for _, _, names in os.walk(folder) for name in names]:
                await asyncio.sleep(0.1)
