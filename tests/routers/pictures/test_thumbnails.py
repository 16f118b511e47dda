"""Every cell of a sheet shows the frame that the description of the sheets says, at every density."""

import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import text

from service.plan.preview import sheet_levels
from tests.routers.pictures.renders import ask_again, create_scanned_dataset
from tests.support.data import media
from tests.support.processes.catalogue_api import CatalogueApi

pytestmark = pytest.mark.anyio
FRAMES, DAMAGED, TALL = 130, 7, 12


def files() -> dict[str, bytes]:
    found = {f"f{n:03}.jpg": media.jpeg(media.numbered_picture(n)) for n in range(FRAMES)}
    found[f"f{DAMAGED:03}.jpg"] = media.truncate(found[f"f{DAMAGED:03}.jpg"])
    found[f"f{TALL:03}.jpg"] = media.jpeg(media.numbered_picture(TALL, 96, 192))
    return found


async def get_sheet(client: httpx.AsyncClient, dataset: dict[str, Any], level: int, number: int) -> httpx.Response:
    return await ask_again(client, "GET", f"/api/datasets/{dataset['id']}/thumbnails/{level}/{number}")


def cells(response: httpx.Response, about: dict[str, Any]) -> list[Any]:
    """The pixels of the cells, row by row."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/jpeg"
    pixels = np.asarray(Image.open(io.BytesIO(response.content)))
    width, height = about["cell_width"], about["cell_height"]
    assert pixels.shape[1] == width * about["columns"]
    return [
        pixels[top : top + height, left : left + width]
        for top in range(0, pixels.shape[0], height)
        for left in range(0, pixels.shape[1], width)
    ]


def is_marked(cell: "np.ndarray[Any, Any]") -> bool:
    middle = cell[cell.shape[0] // 2, cell.shape[1] // 2].astype(int)
    corner_ground = cell[cell.shape[0] // 2, 2].astype(int)
    return bool(middle[0] > middle[1] + 60 and abs(int(corner_ground.mean()) - 40) < 15)


async def test_every_cell_shows_its_frame(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    dataset = await create_scanned_dataset(api, alice, files())
    about = (await alice.get(f"/api/datasets/{dataset['id']}/thumbnails")).json()
    assert (about["frame_count"], about["cell_width"], about["cell_height"]) == (FRAMES, 128, 96)
    assert about["levels"] == [{"level": 0, "stride": 1, "sheets": 2}, {"level": 1, "stride": 10, "sheets": 1}]
    for level in about["levels"]:
        for number in range(level["sheets"]):
            url = about["url_template"].format(level=level["level"], number=number)
            sheet = cells(await ask_again(alice, "GET", url), about)
            first = number * about["frames_per_sheet"]
            for place, index in enumerate(range(first * level["stride"], FRAMES, level["stride"])):
                if place == about["frames_per_sheet"]:
                    break
                if index == DAMAGED:
                    assert is_marked(sheet[place])
                else:
                    middle = sheet[place][:, 40:88] if index == TALL else sheet[place]
                    assert media.read_number(middle) == index, (level, number, place)
    kept = await get_sheet(alice, dataset, 1, 0)
    tag = {"If-None-Match": kept.headers["ETag"]}
    assert (await alice.get(f"/api/datasets/{dataset['id']}/thumbnails/1/0", headers=tag)).status_code == 304
    await _check_a_frame_that_changed(api, alice, dataset)
    for level, number, parameter in ((2, 0, "level"), (0, 2, "number"), (1, 1, "number")):
        outside = await get_sheet(alice, dataset, level, number)
        assert (outside.status_code, outside.json()["errors"][0]["parameter"]) == (404, parameter)


async def _check_a_frame_that_changed(api: CatalogueApi, client: httpx.AsyncClient, dataset: dict[str, Any]) -> None:
    """One that was replaced since the scan is marked for those who look now, and the sheet is not kept."""
    key = (await client.get(f"/api/datasets/{dataset['id']}/frames")).json()[20]["key"]
    path = api.objects.root / "camera" / key
    data = path.read_bytes()
    path.write_bytes(data + b"changed")
    await _forget_sheets(api)
    about = (await client.get(f"/api/datasets/{dataset['id']}/thumbnails")).json()
    changed = await get_sheet(client, dataset, 0, 0)
    assert is_marked(cells(changed, about)[20]) and "ETag" not in changed.headers


async def _forget_sheets(api: CatalogueApi) -> None:
    async with api.database.service_transaction() as connection:
        await connection.execute(text("DELETE FROM previews"))


async def test_source_videos_and_deep_frames(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    clips = {f"c{n}.mp4": media.video(media.numbered_picture(8 * n + k) for k in range(8)) for n in range(2)}
    stacks = {f"f{n}.tif": media.tiff(media.numbered_picture(n)[..., 0].astype(np.uint16) * 200) for n in range(3)}
    for kind, sources, count in (("video", clips, 16), ("frames", stacks, 3)):
        dataset = await create_scanned_dataset(api, alice, sources, kind)
        about = (await alice.get(f"/api/datasets/{dataset['id']}/thumbnails")).json()
        sheet = cells(await get_sheet(alice, dataset, 0, 0), about)
        assert [media.read_number(cell) for cell in sheet[:count]] == list(range(count))


def test_levels_end_with_one_sheet() -> None:
    assert sheet_levels(0) == []
    assert [(one.stride, one.sheets) for one in sheet_levels(1)] == [(1, 1)]
    assert [(one.stride, one.sheets) for one in sheet_levels(100_000)] == [(1, 1000), (10, 100), (100, 10), (1000, 1)]
    last = sheet_levels(100_001)[0]
    assert list(last.frames_of(1000, 100_001)) == [100_000]
