"""Pictures on demand of the whole service: previews, frames of videos, thumbnails."""

import io
import time
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.support.data import media
from tests.support.processes import api
from tests.support.processes.running_service import RunningService

FRAMES = 40


@pytest.fixture(scope="module")
def dataset(service: RunningService) -> dict[str, Any]:
    with service.client("alice") as client:
        return api.make_dataset(client, {f"f{n:03d}.png": media.png(media.numbered_picture(n)) for n in range(FRAMES)})


def read(client: httpx.Client, method: str, url: str, **more: Any) -> "np.ndarray[Any, Any]":
    """The picture; asks again while the service says so."""
    while (response := client.request(method, url, **more)).status_code == 503:
        time.sleep(float(response.headers["Retry-After"]))
    assert response.status_code == 200, response.text
    return np.asarray(Image.open(io.BytesIO(response.content)))


def test_pictures(alice: httpx.Client, dataset: dict[str, Any]) -> None:
    frames = f"/api/datasets/{dataset['id']}/frames"
    status = api.render(alice, dataset, codec="ffv1", crop={"x": 0, "y": 0, "width": 128, "height": 50})
    job = f"/api/videos/{status['job_id']}"
    for index in (0, 23, FRAMES - 1):
        body = {"codec": "ffv1", "crop": {"x": 0, "y": 0, "width": 128, "height": 50}}
        preview = read(alice, "POST", f"{frames}/{index}/preview", json=body)
        assert np.array_equal(preview, read(alice, "GET", f"{job}/frames/{index}/image"))
        assert (preview.shape, media.read_number(preview)) == ((50, 128, 3), index)
    about = alice.get(f"/api/datasets/{dataset['id']}/thumbnails").json()
    sheet = read(alice, "GET", about["url_template"].format(level=0, number=0))
    width, height = about["cell_width"], about["cell_height"]
    for index in range(FRAMES):
        top, left = index // about["columns"] * height, index % about["columns"] * width
        assert media.read_number(sheet[top : top + height, left : left + width]) == index


def test_a_frame_of_a_video_whose_segment_is_lost(
    service: RunningService, alice: httpx.Client, dataset: dict[str, Any]
) -> None:
    """It is decoded from the video, with the ranges that it takes."""
    before = set(service.object_keys("segments/"))
    status = api.render(alice, dataset, codec="h264", quality=81)
    for key in set(service.object_keys("segments/")) - before:
        service.remove_object(key)
    for k in (1, 33):
        shown = read(alice, "GET", f"/api/videos/{status['job_id']}/frames/{k}/image")
        assert media.read_number(shown) == k
