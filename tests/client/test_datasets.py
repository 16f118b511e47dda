"""Experiments, datasets and frames through the client: a real API, database, queue and slot."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.client import frames as frames_module
from service.client.datasets import AsyncDataset
from service.client.errors import Conflict, Invalid, NotFound
from tests.client.mills import open_mill
from tests.support.data import media
from tests.support.processes.catalogue_api import CatalogueApi, catalogue_api
from tests.support.processes.running_service import SCOPES
from tests.support.processes.supervisor import running_supervisor

pytestmark = pytest.mark.anyio
COUNT = 12


@pytest.fixture
async def api(postgres_url: str, tmp_path: Path) -> AsyncIterator[CatalogueApi]:
    async with (
        catalogue_api(postgres_url, tmp_path, sources="lab") as api,
        running_supervisor(api.database, tmp_path, sources="lab"),
    ):
        yield api


def deep(number: int) -> "np.ndarray[Any, np.dtype[np.uint16]]":
    y, x = np.mgrid[0:48, 0:64]
    return (x * 500 + y * 37 + number * 1000).astype(np.uint16)


async def register(api: CatalogueApi, mill: Any) -> AsyncDataset:
    """The frames of a bucket of the laboratory; the fifth is cut short."""
    for number in range(COUNT):
        data = media.tiff(deep(number))
        await api.put(f"run 7/f{number:03d}.tif", data[:300] if number == 5 else data, bucket="lab")
    experiment = await mill.experiments.get_or_create("run 7")
    dataset: AsyncDataset = await experiment.datasets.register("camera", "run 7/", bucket="lab")
    await dataset.wait_until_scanned()
    return dataset


async def test_frames_that_are_in_a_bucket_are_registered_and_read(api: CatalogueApi) -> None:
    async with open_mill(api) as mill:
        dataset = await register(api, mill)
        assert (len(dataset), dataset.state, dataset.bucket) == (COUNT, "ready", "lab")
        frame = await dataset.frame(-1)
        assert (frame.index, frame.key, frame.problem) == (11, "run 7/f011.tif", None)
        array = await frame.array()
        assert array.dtype == np.uint16 and np.array_equal(array, deep(11))
        assert (await frame.samples(x=3, y=2))["samples"][2][3] == [int(deep(11)[2, 3])]
        assert await frame.image() == media.tiff(deep(11))
        assert (await frame.image(width=32))[:2] == b"\xff\xd8"
        assert (await frame.preview(fps=10, tone={"mode": "full"}))[:4] == b"\x89PNG"
        with pytest.raises(Invalid):
            await (await dataset.frame(5)).array()
        with pytest.raises(IndexError):
            await dataset.frame(COUNT)


@pytest.mark.parametrize(
    "places",
    [
        slice(None),
        slice(2, 9, 3),
        slice(None, None, -1),
        slice(-3, None),
        slice(4, 4),
        slice(100, 200),
        slice(10, 2, -4),
    ],
    ids=str,
)
async def test_slices_are_those_of_a_list(api: CatalogueApi, monkeypatch: pytest.MonkeyPatch, places: slice) -> None:
    monkeypatch.setattr(frames_module, "PAGE", 5)
    async with open_mill(api) as mill:
        part = (await register(api, mill)).part(places)
        wanted = list(range(COUNT))[places]
        assert len(part) == len(wanted) and [frame.index async for frame in part.each()] == wanted
        if wanted:
            assert (await part.frame(-1)).index == wanted[-1]
            assert [frame.index async for frame in part.part(slice(1, None)).each()] == wanted[1:]


class Counting(httpx.AsyncBaseTransport):
    """The API; `arrays` are the frames whose arrays were asked for."""

    def __init__(self, api: CatalogueApi) -> None:
        self.inner, self.arrays = httpx.ASGITransport(api.app), list[int]()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/array"):
            self.arrays.append(int(request.url.path.split("/")[-2]))
        return await self.inner.handle_async_request(request)


async def test_arrays_are_fetched_ahead_once_one_was_wanted(api: CatalogueApi) -> None:
    counting = Counting(api)
    async with open_mill(api, transport=counting) as mill:
        dataset = await register(api, mill)
        async for frame in dataset.frames(0, 3).each():
            assert frame.width == 64
        assert counting.arrays == [], "facts alone take no array"
        seen = list[int]()
        async for frame in dataset.frames().each():
            if frame.problem:
                continue
            assert np.array_equal(await frame.array(), deep(frame.index))
            seen.append(frame.index)
            if len(seen) == 3:
                break
        assert seen == [0, 1, 2] and len(counting.arrays) > 3, "the next ones were begun"
        assert sorted(set(counting.arrays)) == sorted(counting.arrays), "none twice"
        arrays = [array async for array in dataset.frames(6).arrays()]
        assert [int(array[0, 0]) for array in arrays] == [1000 * number for number in range(6, COUNT)]


async def test_a_picture_that_is_too_large_for_one_answer_comes_in_strips(
    api: CatalogueApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames_module, "MOST_BYTES", 64 * 3 * 8 * 10)  # ten rows
    counting = Counting(api)
    async with open_mill(api, transport=counting) as mill:
        frame = await (await register(api, mill)).frame(3)
        assert np.array_equal(await frame.array(), deep(3)) and counting.arrays == [3] * 5


async def test_names_ids_and_what_is_not_there(api: CatalogueApi) -> None:
    async with open_mill(api) as mill:
        run = await mill.experiments.create("run", description="first")
        assert (await mill.experiments.get(run.id)).description == "first"
        assert (await mill.experiments.get("run")) == run and (await mill.experiments.get_or_create("run")) == run
        camera = await run.datasets.create("camera")
        assert (
            (await run.datasets.get("camera"))
            == camera
            == (await run.datasets.get(camera.id))
            == (await mill.dataset(camera.id))
        )
        digest = await mill.experiments.create("0cc175b9c0f1b6a831c399e269772661")
        like_an_id = await digest.datasets.create("92eb5ffee6ae2fec3ad71c777531578f")
        assert await mill.experiments.get(digest.name) == digest
        assert await digest.datasets.get(like_an_id.name) == like_an_id
        await digest.delete()
        await run.datasets.create("film", "video")
        assert sorted([each.name async for each in run.datasets.list()]) == ["camera", "film"]
        with pytest.raises(Conflict, match="holds video, not frames"):
            await run.datasets.get_or_create("film")
        for missing in (mill.experiments.get("none"), run.datasets.get("none"), mill.dataset("0" * 32)):
            with pytest.raises(NotFound):
                await missing
        assert vars(await camera.delete())["datasets"] == 1
        assert [each.name async for each in run.datasets.list()] == ["film"]
        await run.delete()
        assert [each async for each in mill.experiments.list()] == []


async def test_a_name_means_the_own_experiment_then_the_only_one(api: CatalogueApi) -> None:
    async with open_mill(api) as mill, open_mill(api, "bob") as of_bob, open_mill(api, "carol") as of_carol:
        own = await mill.experiments.create("plate")
        bobs = await of_bob.experiments.create("plate", visibility="public")
        assert await mill.experiments.get("plate") == own and await of_carol.experiments.get("plate") == bobs
        await own.delete()
        assert await mill.experiments.get("plate") == bobs
        carols = await of_carol.experiments.create("plate", visibility="public")
        with pytest.raises(Conflict, match="several people have an experiment named plate: name its id") as caught:
            await mill.experiments.get("plate")
        assert f"{bobs.id} of bob" in str(caught.value) and f"{carols.id} of carol" in str(caught.value)
        assert await mill.experiments.get(bobs.id) == bobs


async def test_renders_and_queries(api: CatalogueApi, tmp_path: Path) -> None:
    async with open_mill(api, "alice", *SCOPES) as mill:
        dataset = await register(api, mill)
        estimate = await dataset.estimate(decimation=2, fps=10, tone="percentile")
        assert estimate.frames == 6 and [each async for each in mill.renders.list()] == []
        render = await dataset.render(decimation=2, fps=10, tone="percentile", corrupt="black")
        assert render.estimate is not None and render.estimate.frames == 6
        same = await dataset.render(decimation=2, fps=10, tone="percentile", corrupt="black")
        assert same == render
        heard = list[str]()
        await render.wait(60, lambda status: heard.append(status["status"]))
        assert heard[-1] == "succeeded" and render.is_done
        path = await render.save(tmp_path / "new" / "a.mp4")
        assert path.stat().st_size == render.video_bytes
        receipt = await render.receipt()
        assert [line["source"] for line in receipt] == [0, 2, 4, 6, 8, 10] and receipt.summary["frames"] == 6
        shown = await render.frame(2)
        assert shown.line["key"] == "run 7/f004.tif" and shown.array().shape == (48, 64, 3)
        with pytest.raises(Conflict):
            await render.cancel()
        assert [each.id async for each in mill.renders.list(status="succeeded", dataset_id=dataset.id)] == [render.id]
        assert (await render.delete()).renders == 1
        with pytest.raises(NotFound):
            await mill.renders.get(render.id)
        with pytest.raises(Invalid) as caught:
            await dataset.render(fps=1000)
        assert caught.value.errors[0]["pointer"] == "#/fps"
