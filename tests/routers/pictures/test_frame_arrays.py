"""Frames as NumPy arrays, equal to those that were written, read by a real worker."""

import io
import json

import httpx
import imagecodecs
import numpy as np
import pytest
from PIL import Image

from service.pipeline.images.decoder import ImageDecoder
from service.pipeline.images.header import DecodeOptions
from service.plan.preview import MAX_ARRAY_BYTES
from service.store.objects.digests import ObjectLost
from tests.routers.pictures.measured import Array, ask, create_frames, ramp, tiff
from tests.support.data import media
from tests.support.data.colour_profiles import PROFILES
from tests.support.processes.catalogue_api import CatalogueApi

pytestmark = pytest.mark.anyio


async def load(client: httpx.AsyncClient, frames: str, index: int, **window: int) -> Array:
    response = await ask(client, f"{frames}/{index}/array", **window)
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/x-npy"
    file = io.BytesIO(response.content)
    assert np.lib.format.read_magic(file) == (1, 0)
    _, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    assert not fortran and dtype.byteorder in "<|="
    loaded: Array = np.load(io.BytesIO(response.content), allow_pickle=False)
    assert len(response.content) == file.tell() + loaded.nbytes, "nothing follows the array"
    return loaded


def png(samples: Array) -> bytes:
    return bytes(imagecodecs.png_encode(samples))


def colours(kind: str) -> Array:
    return np.stack([ramp(kind), ramp(kind)[::-1], ramp(kind) // 3], axis=-1)


async def test_arrays_are_those_that_were_written(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    written = {
        "a.png": ramp("uint8"),
        "b.png": ramp("uint16"),
        "c.png": colours("uint8"),
        "d.png": colours("uint16"),
        "e.tif": ramp("uint16"),
        "f.tif": ramp("int16"),
        "g.tif": (ramp("float32") / 7).astype("float32"),
        "h.tif": ramp("int32"),
        "i.tif": colours("uint16"),
        "j.tif": np.where(ramp("float32") % 5 == 0, np.nan, np.inf).astype("float32"),
        "k.tif": ramp("float64") / 7,
    }
    written["j.tif"][0, 0] = 0.1
    files = {name: png(array) if name.endswith("png") else tiff(array) for name, array in written.items()}
    files["l.tif"], written["l.tif"] = tiff(ramp("uint16"), byteorder=">"), ramp("uint16")
    frames = await create_frames(api, alice, files)
    for index, (name, array) in enumerate(written.items()):
        found = await load(alice, frames, index)
        assert (found.dtype, found.shape) == (array.dtype, array.shape), name
        assert found.tobytes() == array.tobytes(), name
        if name in ("b.png", "c.png", "g.tif", "i.tif"):
            part = await load(alice, frames, index, x=17, y=31, width=64, height=5)
            assert np.array_equal(part, array[31:36, 17:81]), name


async def test_jpegs_are_what_renders_decode(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    files = {"a.jpg": media.jpeg(ramp("uint8")), "b.jpg": media.jpeg(media.numbered_picture(5, 200, 150))}
    frames = await create_frames(api, alice, files)
    decoder = ImageDecoder(DecodeOptions(10**6, keep_colours=True))
    for index, (data, shape) in enumerate(zip(files.values(), ((150, 200), (150, 200, 3)), strict=True)):
        found = await load(alice, frames, index)
        assert found.shape == shape
        assert np.array_equal(found, decoder.decode_all_samples(data).samples)


async def test_they_stand_upright(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    """Pillow turns the picture, as the reference."""
    turned = Image.fromarray(ramp("uint16"))
    turns = {3: "ROTATE_180", 5: "TRANSPOSE", 6: "ROTATE_270", 8: "ROTATE_90"}
    upright = {number: turned.transpose(Image.Transpose[name]) for number, name in turns.items()}
    files = {f"f{turn}.tif": tiff(ramp("uint16"), extratags=[(274, 3, 1, turn, True)]) for turn in upright}
    files["g.tif"] = tiff(colours("uint16"), extratags=[(274, 3, 1, 6, True)], photometric="rgb")
    frames = await create_frames(api, alice, files)
    for index, expected in enumerate(upright.values()):
        found = await load(alice, frames, index)
        assert np.array_equal(found, np.asarray(expected)), index
        last = await load(alice, frames, index, x=found.shape[1] - 3, y=2, height=7)
        assert np.array_equal(last, np.asarray(expected)[2:9, -3:]), index
    assert np.array_equal(await load(alice, frames, 4), np.rot90(colours("uint16"), -1))


async def test_a_page_of_a_stack(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    pages = np.stack([ramp("uint16") + page for page in range(3)])
    frames = await create_frames(api, alice, {"stack.tif": tiff(pages, photometric="minisblack")})
    for index in (2, 0):
        assert np.array_equal(await load(alice, frames, index), pages[index])


async def test_conversions_are_named(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    file, stored = io.BytesIO(), colours("uint8")
    Image.fromarray(stored).save(file, "PNG", icc_profile=PROFILES["Display P3"])
    frames = await create_frames(api, alice, {"a.png": file.getvalue(), "b.png": png(stored)})
    assert np.array_equal(await load(alice, frames, 0), stored), "colours are those of the profile"
    named, samples, plain = [await ask(alice, f"{frames}/{path}") for path in ("0/array", "0/samples", "1/array")]
    assert json.loads(named.headers["Reelmill-Conversions"]) == samples.json()["conversions"] != []
    assert "Reelmill-Conversions" not in plain.headers


async def test_transparent_pixels_are_blended(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    frames = await create_frames(
        api, alice, {"a.png": png(np.dstack([colours("uint8"), np.zeros((150, 200), "uint8")]))}
    )
    assert np.array_equal(await load(alice, frames, 0), np.zeros((150, 200, 3), "uint8"))


async def test_refusals(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    files = {
        "f0.tif": tiff(ramp("uint16")),
        "f1.tif": b"II*\0 no more",
        "f2.jpg": media.truncate(media.jpeg(ramp("uint8"))),
    }
    frames = await create_frames(api, alice, files)
    for index, parameters, parameter in (
        (0, {"x": 200}, "x"),
        (0, {"y": 150}, "y"),
        (0, {"x": -1}, "x"),
        (0, {"width": 0}, "width"),
        (0, {"width": 201}, "width"),
        (0, {"x": 10, "width": 191}, "width"),
        (0, {"y": 149, "height": 2}, "height"),
        (0, {"height": 2**63}, "height"),
        (1, {}, "index"),
        (2, {}, "index"),
    ):
        response = await ask(alice, f"{frames}/{index}/array", **parameters)
        assert response.status_code == 422, response.text
        assert response.json()["errors"][0]["parameter"] == parameter, response.text
    assert "truncated" in response.json()["detail"], response.text
    assert (await alice.get(f"{frames}/3/array")).status_code == 404
    video = await create_frames(api, alice, {"v.mp4": media.video([media.numbered_picture(1)] * 3)}, kind="video")
    response = await alice.get(f"{video}/0/array")
    assert (response.status_code, response.json()["errors"][0]["code"]) == (422, "video_frame")


async def test_large_frames_are_read_in_windows(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    """Of 8192 x 8193 bytes a window of 8192 rows is the largest that is sent."""
    samples = np.zeros((8193, 8192), "uint8")
    samples[-1], samples[:, -1] = 7, 9
    frames = await create_frames(api, alice, {"f.tif": tiff(samples, compression="deflate")})
    refused = await alice.get(f"{frames}/0/array")
    problem = refused.json()["errors"][0]
    assert (refused.status_code, problem["parameter"], problem["code"]) == (422, "height", "too_large"), refused.text
    assert "at most 8192" in problem["detail"] and str(MAX_ARRAY_BYTES) in problem["detail"]
    found = await load(alice, frames, 0, y=1)
    assert found.nbytes == MAX_ARRAY_BYTES and np.array_equal(found, samples[1:])


async def test_a_frame_that_was_replaced_by_a_larger_one(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    """The window was found in the frame that the scan has seen."""
    frames = await create_frames(api, alice, {"f.tif": tiff(ramp("uint16"))})
    dataset = (await alice.get(frames.removesuffix("/frames"))).json()
    await api.put(f"{dataset['prefix']}f.tif", tiff(ramp("uint16", 300, 400)), "camera")
    response = await ask(alice, f"{frames}/0/array")
    assert response.status_code == 422 and "400 x 300 pixels now" in response.json()["detail"], response.text


async def test_they_are_kept(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    frames = await create_frames(api, alice, {"f.tif": tiff(ramp("uint16"))})
    first = await ask(alice, f"{frames}/0/array", x=5, y=5)
    headers = {"If-None-Match": first.headers["ETag"]}
    for window in ("x=5&y=5", "x=5&y=5&width=195&height=145"):
        same = await alice.get(f"{frames}/0/array?{window}", headers=headers)
        assert (same.status_code, same.content) == (304, b""), window
    other = await ask(alice, f"{frames}/0/array", x=6, y=5)
    assert other.headers["ETag"] != first.headers["ETag"]


async def test_a_damaged_array_is_made_again(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    """The answer under way breaks off before its end; the next one has an array that was made again."""
    written = np.tile(ramp("uint16"), (10, 4))
    assert written.nbytes > 2 * 2**20, "more than a piece"
    frames = await create_frames(api, alice, {"f.tif": tiff(written)})
    assert np.array_equal(await load(alice, frames, 0), written)
    (stored,) = (api.objects.root / "reelmill" / "previews" / frames.split("/")[3]).glob("*.npy")
    damaged = bytearray(stored.read_bytes())
    damaged[-5] ^= 1
    stored.write_bytes(damaged)
    with pytest.raises(ObjectLost):
        await alice.get(f"{frames}/0/array")
    assert np.array_equal(await load(alice, frames, 0), written)
    stored.unlink()
    assert np.array_equal(await load(alice, frames, 0), written)
