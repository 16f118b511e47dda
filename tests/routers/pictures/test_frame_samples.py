"""The measured values of frames, against the arrays that were written, read by a real worker."""

from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.routers.pictures.measured import ask, create_frames, ramp, tiff
from tests.support.data import media
from tests.support.processes.catalogue_api import CatalogueApi

pytestmark = pytest.mark.anyio


async def read(client: httpx.AsyncClient, frames: str, index: int, x: int, y: int) -> dict[str, Any]:
    response = await ask(client, f"{frames}/{index}/samples", x=x, y=y)
    assert response.status_code == 200, response.text
    return response.json()  # type: ignore[no-any-return]


async def test_values_are_those_of_the_file(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    colours = np.stack([ramp("uint16"), ramp("uint16")[::-1], ramp("uint16") // 3], axis=-1)
    arrays = {
        "f0.tif": ramp("uint16"),
        "f1.tif": ramp("int32"),
        "f2.tif": (ramp("float32") / 7).astype("float32"),
        "f3.tif": colours,
        "f4.tif": (ramp("uint16") % 251).astype("uint8"),
    }
    files = {name: tiff(array) for name, array in arrays.items()}
    files["f5.tif"] = tiff(ramp("uint16"), compression="deflate", tile=(32, 32))
    files["f6.png"] = media.png16(media.numbered_picture(5, 200, 150))
    arrays |= {"f5.tif": ramp("uint16"), "f6.png": media.numbered_picture(5, 200, 150).astype("uint16") * 257}
    frames = await create_frames(api, alice, files)
    for index, (name, array) in enumerate(arrays.items()):
        found = await read(alice, frames, index, 199, 100)
        assert (found["x"], found["y"], found["width"], found["height"]) == (192, 64, 8, 64), name
        expected = array[64:128, 192:200].reshape(64, 8, -1)
        assert np.array_equal(np.array(found["samples"], array.dtype), expected), name
        assert found["type"] == array.dtype.name and len(found["channels"]) == expected.shape[2], name


async def test_what_is_no_number_is_null(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    samples = np.array([[0.1, np.nan], [np.inf, -2.5]], "float32")
    frames = await create_frames(api, alice, {"f.tif": tiff(np.tile(samples, (8, 8)))})
    found = await read(alice, frames, 0, 0, 0)
    assert [row[:2] for row in found["samples"][:2]] == [[[0.1], [None]], [[None], [-2.5]]]


async def test_places_are_those_of_the_upright_picture(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    """Pillow turns the pictures upright, as the reference."""
    upright = media.numbered_picture(0b10110010, 128, 96)
    files = {f"g{turn}.jpg": media.oriented_jpeg(upright, turn) for turn in range(1, 9)}
    files["h.tif"] = tiff(ramp("uint16"), extratags=[(274, 3, 1, 6, True)])
    frames = await create_frames(api, alice, files)
    for index in range(8):
        found = await read(alice, frames, index, 64, 64)
        assert (found["width"], found["height"], found["channels"]) == (64, 32, ["red", "green", "blue"])
        assert np.abs(np.array(found["samples"]) - upright[64:96, 64:128]).max() <= 6, "JPEG's loss"
    turned = np.asarray(Image.fromarray(ramp("uint16")).transpose(Image.Transpose.ROTATE_270))
    found = await read(alice, frames, 8, 149, 199)
    assert np.array_equal(np.array(found["samples"])[..., 0], turned[192:200, 128:150])


async def test_a_page_of_a_stack(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    pages = np.stack([ramp("uint16") + page for page in range(3)])
    frames = await create_frames(api, alice, {"stack.tif": tiff(pages, photometric="minisblack")})
    found = await read(alice, frames, 2, 0, 0)
    assert np.array_equal(np.array(found["samples"])[..., 0], pages[2, :64, :64])


async def test_refusals(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    files = {
        "f0.tif": tiff(ramp("uint16")),
        "f1.tif": b"II*\0 no more",
        "f2.jpg": media.truncate(media.jpeg(ramp("uint8"))),
    }
    frames = await create_frames(api, alice, files)
    for index, parameters, status, parameter in (
        (0, {"x": 200}, 422, "x"),
        (0, {"y": 150}, 422, "y"),
        (0, {"x": -1}, 422, "x"),
        (1, {}, 422, "index"),
        (2, {}, 422, "index"),
    ):
        response = await ask(alice, f"{frames}/{index}/samples", **parameters)
        assert response.status_code == status, response.text
        assert response.json()["errors"][0]["parameter"] == parameter, response.text
    assert (await alice.get(f"{frames}/3/samples")).status_code == 404
    video = await create_frames(api, alice, {"v.mp4": media.video([media.numbered_picture(1)] * 3)}, kind="video")
    response = await alice.get(f"{video}/0/samples")
    assert (response.status_code, response.json()["errors"][0]["code"]) == (422, "video_frame")


async def test_they_are_kept(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    frames = await create_frames(api, alice, {"f.tif": tiff(ramp("uint16"))})
    first = await ask(alice, f"{frames}/0/samples", x=5, y=5)
    same = await alice.get(f"{frames}/0/samples?x=60&y=3", headers={"If-None-Match": first.headers["ETag"]})
    assert (same.status_code, same.content) == (304, b"")
    other = await ask(alice, f"{frames}/0/samples", x=64, y=3)
    assert other.headers["ETag"] != first.headers["ETag"]
