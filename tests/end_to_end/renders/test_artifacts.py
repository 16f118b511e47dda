"""Artifacts of a render: requested, downloaded, cached, and absent if not requested."""

import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.support.data.footage import frame_jpeg
from tests.support.processes import api
from tests.support.processes.running_service import RunningService

FRAMES = 100


@pytest.fixture(scope="module")
def footage(service: RunningService) -> dict[str, Any]:
    with service.client("alice") as client:
        return api.make_dataset(client, {f"f{n:03d}.jpg": frame_jpeg(n, (160, 120)) for n in range(FRAMES)})


def picture(data: bytes) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_strip_and_keogram(service: RunningService, alice: httpx.Client, footage: dict[str, Any]) -> None:
    status = api.render(alice, footage, outputs=["keogram", "preview_strip"])
    assert status["status"] == "succeeded", status["error"]
    keogram = alice.get(status["keogram_url"])
    assert keogram.headers["content-type"] == "image/png"
    columns = picture(keogram.content)
    assert columns.shape == (120, FRAMES, 3)
    assert np.abs(columns[-2, :, 0].astype(int) - (20 + np.arange(FRAMES))).max() <= 3
    cues = alice.get(status["preview_url"])
    assert cues.headers["content-type"].startswith("text/vtt")
    assert cues.text.startswith("WEBVTT\n") and cues.text.count("preview.jpg#xywh=") == 4
    sheet = alice.get(status["preview_url"].replace(".vtt", ".jpg"))
    assert sheet.headers["content-type"] == "image/jpeg" and picture(sheet.content).shape == (120, 4 * 160, 3)
    with service.client("bob") as bob:
        assert bob.get(status["keogram_url"]).status_code == 404


def test_a_longer_render_takes_the_pieces_from_the_cache(alice: httpx.Client, footage: dict[str, Any]) -> None:
    asked: dict[str, Any] = {"outputs": ["keogram"], "quality": 60}
    api.render(alice, footage, frames={"stop": FRAMES // 2}, **asked)
    status = api.render(alice, footage, **asked)
    assert (status["summary"]["segments_reused"], status["summary"]["segments"]) == (1, 2)
    assert picture(alice.get(status["keogram_url"]).content).shape == (120, FRAMES, 3)


def test_what_was_not_asked_for(alice: httpx.Client, footage: dict[str, Any]) -> None:
    status = api.render(alice, footage, decimation_factor=2)
    assert (status["preview_url"], status["keogram_url"]) == (None, None)
    base = f"/api/videos/{status['job_id']}"
    for name in ("preview.jpg", "preview.vtt", "keogram.png"):
        refused = alice.get(f"{base}/{name}")
        assert refused.status_code == 409 and "outputs" in refused.json()["detail"]
    assert alice.get(f"{base}/preview.gif").status_code in (404, 422)
    body = {"experiment_id": footage["experiment_id"], "decimation_factor": 1, "fps": 30, "outputs": ["hologram"]}
    assert alice.post("/api/videos/generate", json=body).json()["errors"][0]["pointer"] == "#/outputs/0"
