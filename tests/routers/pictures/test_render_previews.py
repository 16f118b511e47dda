"""The preview of a render is the picture that the finished video has, whatever is asked of it."""

import io
from collections.abc import Callable
from typing import Any

import httpx
import imagecodecs
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import text

from benchmarks.scenes import pictures
from tests.routers.pictures.renders import Pixels, ask_again, create_scanned_dataset, finish, psnr, render
from tests.support.data import media
from tests.support.processes.catalogue_api import CatalogueApi

pytestmark = pytest.mark.anyio
FRAMES, WIDTH, HEIGHT = 7, 320, 240
LOSSLESS = {"codec": "ffv1"}
FINEST = {"codec": "h264", "quality": 100}
# What a preview does not take: it changes no picture, or only by what the encoder loses.
OF_THE_VIDEO = ("quality", "effort")
# A caller may have this many unfinished renders.
MAX_QUEUED = 20


def scene(number: int) -> Pixels:
    """(height, width, 3): a smooth, coloured scene that differs in every frame."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    shift = number * 9
    red, green = 128 + 50 * np.sin((x + shift) / 80), 128 + 50 * np.cos((y + 2 * shift) / 70)
    return np.stack([red, green, 90 + 60 * (x + y) / (WIDTH + HEIGHT)], -1).astype(np.uint8)


def deep(number: int) -> "np.ndarray[Any, Any]":
    """(height, width) of 16 bits."""
    return (scene(number)[..., 0].astype(np.uint16) * 180 + 1000).astype(np.uint16)


def jpegs() -> dict[str, bytes]:
    return {f"f{n}.jpg": media.jpeg(scene(n)) for n in range(FRAMES)}


async def preview(client: httpx.AsyncClient, dataset: dict[str, Any], index: int, **options: Any) -> httpx.Response:
    body = {name: value for name, value in options.items() if name not in OF_THE_VIDEO}
    return await ask_again(client, "POST", f"/api/datasets/{dataset['id']}/frames/{index}/preview", json=body)


def read(response: httpx.Response) -> Pixels:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/png"
    return np.asarray(imagecodecs.png_decode(response.content))


async def compare(
    api: CatalogueApi,
    client: httpx.AsyncClient,
    dataset: dict[str, Any],
    cases: list[tuple[dict[str, Any], int, int]],
) -> None:
    """Each case: options, the index that is looked at, and the output frame that shows it."""
    for rest in range(MAX_QUEUED, len(cases), MAX_QUEUED):
        await compare(api, client, dataset, cases[rest : rest + MAX_QUEUED])
    cases = cases[:MAX_QUEUED]
    jobs = [await render(client, dataset, **options) for options, _, _ in cases]
    for job, (options, index, output) in zip(jobs, cases, strict=True):
        shown = (await finish(api, client, job))[output]
        found = read(await preview(client, dataset, index, **{"fps": 10} | options))
        if options["codec"] == "ffv1":
            assert np.array_equal(found, shown), (options, found.shape, shown.shape)
        else:
            assert psnr(found, shown) >= 50, (options, psnr(found, shown))


OPTIONS: list[dict[str, Any]] = [
    {},
    {"crop": {"x": 21, "y": 10, "width": 90, "height": 70}},
    {"rotate": 90},
    {"rotate": 180, "scale": 0.5},
    {"width": 200},
    {"width": 480},
    {"overlay": {"frame_index": True, "text": "Well B7"}},
    {"overlay": {"elapsed": True, "size": 20}},
    {"background": "white", "width": 200, "height": 200},
]


async def test_every_option(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    """Of frames that are dropped or combined, the picture is that of the output frame in whose place they are."""
    dataset = await create_scanned_dataset(api, alice, jpegs())
    cases = [(options | FINEST, 4, 4) for options in OPTIONS]
    cases += [(options | LOSSLESS, 4, 4) for options in OPTIONS[:5]]
    cases += [
        ({"decimation_factor": 3, "decimation_mode": mode, "frames": frames} | codec, index, output)
        for mode, codec in (("drop", LOSSLESS), ("mean", FINEST), ("max", LOSSLESS))
        for frames, index, output in (({}, 4, 1), ({"start": 1}, 6, 1))
    ]
    await compare(api, alice, dataset, [*cases, ({"codec": "mjpeg"}, 4, 4)])
    first = await preview(alice, dataset, 3, scale=0.5)
    again = await preview(alice, dataset, 3, width=WIDTH // 2, fps=3)
    assert again.content == first.content, "another rate gives the same picture, which is made once"
    assert again.headers["ETag"] == first.headers["ETag"]
    assert Image.open(io.BytesIO(again.content)).size == (160, 120)


@pytest.mark.parametrize("kind", ["street", "night"])
async def test_the_noise_of_a_camera(api: CatalogueApi, alice: httpx.AsyncClient, kind: Any) -> None:
    frames = {f"f{n}.png": media.png(picture[..., ::-1]) for n, picture in enumerate(pictures(kind, 4, (640, 360)))}
    dataset = await create_scanned_dataset(api, alice, frames)
    options: list[dict[str, Any]] = [{}, {"scale": 0.5, "effort": "small"}, {"rotate": 90, "effort": "fast"}]
    await compare(api, alice, dataset, [(each | FINEST, 3, 3) for each in options])


def toned_cases(dataset: dict[str, Any]) -> list[tuple[dict[str, Any], int, int]]:
    fixed = {"tone": {"mode": "minmax", "gamma": 0.7}}
    cases: list[dict[str, Any]] = [FINEST] if "float32" in str(dataset["levels"]) else [FINEST, LOSSLESS]
    if dataset["levels"]:
        cases += [LOSSLESS | fixed, FINEST | {"decimation_factor": 2, "decimation_mode": "mean"}]
    if dataset["levels"] and dataset["levels"]["channels"] == 1:
        cases += [FINEST | {"tone": {"colormap": "viridis"}}, LOSSLESS | {"tone": {"colormap": "viridis"}}]
    return [(case, 1, 1 // int(case.get("decimation_factor", 1))) for case in cases]


SAMPLES: list[Callable[[int], bytes]] = [
    lambda n: media.tiff(deep(n)),
    lambda n: media.tiff(deep(n).astype(np.float32) / 7000),
    lambda n: media.png16(scene(n)),
    lambda n: media.png(scene(n)),
]


async def test_samples_of_every_depth_and_source_videos(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    clips = {f"c{n}.mp4": media.video(scene(4 * n + k) for k in range(5)) for n in range(2)}
    videos = await create_scanned_dataset(api, alice, clips, "video")
    turned = [FINEST, LOSSLESS, FINEST | {"rotate": 270, "scale": 0.5}, LOSSLESS | {"rotate": 90}]
    await compare(api, alice, videos, [(case, 7, 7) for case in turned])
    for encode in SAMPLES:
        dataset = await create_scanned_dataset(api, alice, {f"f{n}.img": encode(n) for n in range(2)})
        await compare(api, alice, dataset, toned_cases(dataset))


async def test_faulty_frames_are_shown_as_the_render_shows_them(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    """Indexes 2 to 8 are damaged and 10 to 12 missing, so more than a segment may look back."""
    files = {f"f{n:02}.png": media.png(scene(n)[:48, :64]) for n in range(16) if n not in (10, 11, 12)}
    for number in range(2, 9):
        files[f"f{number:02}.png"] = media.truncate(files[f"f{number:02}.png"])
    dataset = await create_scanned_dataset(api, alice, files)
    cases: list[tuple[dict[str, Any], int, int]] = []
    for options in ({"corrupt": "hold", "missing": "hold"}, {"corrupt": "black", "missing": "black"}):
        bins = {"decimation_factor": 4, "decimation_mode": "mean"}
        cases += [(LOSSLESS | options, index, index) for index in (1, 2, 8, 11, 12, 13)]
        cases += [(LOSSLESS | options | {"frames": {"start": 3}}, index, index - 3) for index in (5, 9)]
        cases += [(LOSSLESS | options | bins, index, index // 4) for index in (2, 5, 12)]
    timed = {f"f{n:02}.jpg": media.oriented_jpeg(scene(n), 1, f"2026:01:01 12:00:{n:02}") for n in range(24)}
    timed["f20.jpg"] = media.truncate(timed["f20.jpg"])
    captured = await create_scanned_dataset(api, alice, timed)
    drawn = FINEST | {"overlay": {"elapsed": True, "captured_at": True}}
    await compare(api, alice, dataset, cases)
    skipped = await preview(alice, dataset, 4, corrupt="skip")
    assert (skipped.status_code, skipped.json()["errors"][0]["code"]) == (422, "skipped")
    failed = await preview(alice, dataset, 4, corrupt="fail")
    assert (failed.status_code, failed.json()["errors"][0]["code"]) == (422, "frame_policy")
    assert "truncated" in failed.json()["detail"]
    paced = LOSSLESS | {"timing": "captured", "speed": 2}
    await compare(api, alice, captured, [(paced, 3, 3), (paced, 20, 20), (drawn, 20, 20), (drawn, 23, 23)])
    await check_what_is_missing_for_a_moment(api, alice, captured)


async def check_what_is_missing_for_a_moment(
    api: CatalogueApi, client: httpx.AsyncClient, dataset: dict[str, Any]
) -> None:
    """It is held for those who look now, and not kept."""
    key = (await client.get(f"/api/datasets/{dataset['id']}/frames")).json()[3]["key"]
    path = api.objects.root / "camera" / key
    away = path.rename(path.with_suffix(".away"))
    held = await preview(client, dataset, 3, missing="hold")
    assert np.array_equal(read(held), read(await preview(client, dataset, 2)))
    assert "ETag" not in held.headers and held.headers["Cache-Control"] == "no-store"
    away.rename(path)
    async with api.database.service_transaction() as connection:
        await connection.execute(text("UPDATE previews SET created_at = now() - interval '1 minute'"))
    whole = await preview(client, dataset, 3, missing="hold")
    assert "ETag" in whole.headers
    assert not np.array_equal(read(whole), read(held))


async def test_what_may_be_asked(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    dataset = await create_scanned_dataset(api, alice, jpegs())
    for body, pointer in (
        ({"quality": 70}, "#/quality"),
        ({"device": "cpu"}, "#/device"),
        ({"experiment_id": dataset["experiment_id"]}, "#/experiment_id"),
        ({"crop": {"x": 1000, "y": 0, "width": 10, "height": 10}}, "#/crop/width"),
        ({"rotate": 45}, "#/rotate"),
        ({"decimation_factor": 0}, "#/decimation_factor"),
        ({"decimation_factor": 3000, "decimation_mode": "max"}, "#/decimation_factor"),
    ):
        refused = await preview_raw(alice, dataset, 0, body)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, pointer), refused.text
    outside = await preview_raw(alice, dataset, 5, {"frames": {"stop": 3}})
    assert (outside.status_code, outside.json()["errors"][0]["parameter"]) == (422, "index")
    assert "0 to 2" in outside.json()["detail"]
    assert (await preview_raw(alice, dataset, FRAMES, {})).status_code == 404
    async with api.client("eve") as eve, api.client("alice", "videos:render") as other:
        assert (await preview_raw(eve, dataset, 0, {})).status_code == 404
        assert (await preview_raw(other, dataset, 0, {})).status_code == 403


async def preview_raw(
    client: httpx.AsyncClient, dataset: dict[str, Any], index: int, body: dict[str, Any]
) -> httpx.Response:
    return await client.post(f"/api/datasets/{dataset['id']}/frames/{index}/preview", json=body)


async def test_the_options_of_a_preset_are_shown(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    dataset = await create_scanned_dataset(api, alice, jpegs())
    crop = {"x": 20, "y": 40, "width": 160, "height": 120}
    options = {"crop": crop, "scale": 0.5, "rotate": 90, "quality": 20, "outputs": ["keogram"]}
    body = {"name": f"cropped {dataset['id']}", "options": options}
    made = (await alice.post("/api/presets", json=body)).raise_for_status().json()
    for own in ({}, {"scale": None, "width": 64}, {"crop": crop | {"x": 0}}):
        by_preset = await preview(alice, dataset, 3, preset=made["id"], **own)
        merged = {name: value for name, value in (options | own).items() if name != "outputs"}
        assert np.array_equal(read(by_preset), read(await preview(alice, dataset, 3, **merged)))
    async with api.client("eve", "catalog:read") as eve:
        await alice.patch(f"/api/experiments/{dataset['experiment_id']}", json={"visibility": "public"})
        refused = await preview(eve, dataset, 3, preset=made["id"])
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/preset")
