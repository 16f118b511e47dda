"""Datasets of a running service in this process, renders of them by a real worker, and what players see of those."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import av
import httpx
import numpy as np
from av.video.reformatter import Interpolation
from sqlalchemy import text

from service.ids import DatasetId
from tests.support.data.scanning import scan_dataset
from tests.support.processes.catalogue_api import CatalogueApi
from tests.support.processes.supervisor import running_supervisor, wait_until_ended

Pixels = np.ndarray[Any, np.dtype[Any]]
SCOPES = ("catalog:read", "catalog:write", "videos:read", "videos:render")
PLAYER = (
    Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
)


@asynccontextmanager
async def worker(api: CatalogueApi, **settings: Any) -> AsyncIterator[None]:
    async with running_supervisor(api.database, api.objects.root.parent, sources="camera", **settings):
        yield


async def create_scanned_dataset(
    api: CatalogueApi, client: httpx.AsyncClient, files: dict[str, bytes], kind: str = "frames"
) -> dict[str, Any]:
    """A ready dataset of these files, in an experiment of its own."""
    experiment = (await client.post("/api/experiments", json={"name": f"run {uuid4()}"})).json()["id"]
    folder = f"day-{experiment}"
    for name, data in files.items():
        await api.put(f"{folder}/{name}", data, "camera")
    body = {"name": "camera", "kind": kind, "bucket": "camera", "prefix": f"{folder}/"}
    found = (await client.post(f"/api/experiments/{experiment}/datasets", json=body)).json()["dataset"]
    async with api.database.service_transaction() as connection:  # no worker is to scan it again
        await connection.execute(text("DELETE FROM tasks WHERE kind = 'scan'"))
    await scan_dataset(api.database, api.objects, DatasetId(UUID(found["id"])))
    return dict((await client.get(f"/api/datasets/{found['id']}")).json())


async def ask_again(client: httpx.AsyncClient, method: str, url: str, **more: Any) -> httpx.Response:
    """Retry while the response asks for it."""
    while True:
        response = await client.request(method, url, **more)
        if response.status_code != 503:
            return response
        await asyncio.sleep(float(response.headers["Retry-After"]) / 10)


async def render(client: httpx.AsyncClient, dataset: dict[str, Any], **options: Any) -> str:
    """The id of a render that was submitted."""
    body = {"experiment_id": dataset["experiment_id"], "decimation_factor": 1, "fps": 10} | options
    response = await client.post("/api/videos/generate", json=body)
    assert response.status_code in (200, 202), response.text
    return str(response.json()["job_id"])


async def finish(api: CatalogueApi, client: httpx.AsyncClient, job: str) -> list[Pixels]:
    """The frames of the video as a player shows them, when the render has succeeded."""
    status = await wait_until_ended(api.database, UUID(job))
    assert status["status"] == "succeeded", status["error"]
    return decode((await client.get(f"/api/videos/{job}/video")).content)


def decode(video: bytes) -> list[Pixels]:
    """Every frame of a file as gray or RGB, of 8 or 16 bits, in the order in which they are shown."""
    with av.open(io.BytesIO(video)) as container:
        return [_pixels(frame) for frame in container.decode(video=0)]


def _pixels(frame: av.VideoFrame) -> Pixels:
    if frame.format.name in ("gray", "gray16le", "gbrp16le"):
        return frame.to_ndarray()
    matrix, sample_range = frame.colorspace, frame.color_range
    if frame.format.name.startswith("yuv"):  # without a place of chroma, which only some files name
        frame = av.VideoFrame.from_ndarray(frame.to_ndarray(), frame.format.name)
    ranges = {"src_color_range": sample_range or None, "dst_color_range": 2}
    return frame.reformat(format="rgb24", src_colorspace=matrix, interpolation=PLAYER, **ranges).to_ndarray()


def psnr(one: Pixels, other: Pixels) -> float:
    """Of two pictures of 8 bits, in decibels; infinite for equal ones. As FFmpeg's filter `psnr` averages 4:2:0: over the
    samples of the luma and of both chroma, which have a quarter as many."""
    assert one.shape == other.shape and one.dtype == other.dtype == np.uint8
    squares = (_planes(one) - _planes(other)) ** 2
    error = float(np.average([plane.mean() for plane in squares], weights=WEIGHTS[: len(squares)]))
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


WEIGHTS = (4, 1, 1)
# BT.601.
TO_YCBCR = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])


def _planes(pixels: Pixels) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """(planes, height, width)."""
    if pixels.ndim == 2:
        return pixels[None].astype(np.float64)
    return np.moveaxis(pixels @ TO_YCBCR.T, -1, 0)
