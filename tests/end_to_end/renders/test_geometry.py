"""Crop, rotation and bins through the API: size, pixels, receipt, and rejected requests."""

import io
from typing import Any

import av
import httpx
import numpy as np
import pytest
from PIL import Image

from tests.support.processes import api
from tests.support.processes.running_service import RunningService


def quartered_jpeg(number: int) -> bytes:
    """160x120; the quarters have the levels 40, 90, 140, 190 (by rows) plus the frame number."""
    levels = np.array([[40, 90], [140, 190]], np.uint8) + number % 10
    pixels = np.repeat(np.repeat(np.repeat(levels, 60, 0), 80, 1)[..., None], 3, 2)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=95)
    return out.getvalue()


@pytest.fixture(scope="module")
def quarters(service: RunningService) -> dict[str, Any]:
    with service.client("alice") as client:
        return api.make_dataset(client, {f"q{number:03d}.jpg": quartered_jpeg(number) for number in range(6)})


def first_picture(client: httpx.Client, status: dict[str, Any]) -> "np.ndarray[Any, Any]":
    with av.open(io.BytesIO(client.get(status["video_url"]).raise_for_status().content)) as video:
        return next(video.decode(video=0)).to_ndarray(format="gray")


def test_a_part_is_shown_turned(alice: httpx.Client, quarters: dict[str, Any]) -> None:
    crop = {"x": 40, "y": 30, "width": 80, "height": 60}
    status = api.render(alice, quarters, crop=crop, rotate=90)
    assert (status["summary"]["width"], status["summary"]["height"]) == (60, 80)
    assert status["summary"]["options"]["crop"] == crop | {"of_width": 160, "of_height": 120}
    assert status["summary"]["options"]["rotate"] == 90
    picture = first_picture(alice, status)
    assert picture.shape == (80, 60)
    corners = [int(picture[y, x]) for y in (10, 70) for x in (10, 50)]
    assert corners == pytest.approx([140, 40, 190, 90], abs=3), "clockwise: the lower left corner is the upper left one"


def test_the_whole_picture_is_the_same_render(alice: httpx.Client, quarters: dict[str, Any]) -> None:
    plain = api.render(alice, quarters)
    whole = api.render(alice, quarters, crop={"x": 0, "y": 0, "width": 160, "height": 120}, rotate=0)
    assert plain["job_id"] == whole["job_id"]


def test_bins_read_every_frame_and_list_it(alice: httpx.Client, quarters: dict[str, Any]) -> None:
    status = api.render(alice, quarters, decimation_factor=4, decimation_mode="mean")
    assert (status["status"], status["frames_total"], status["frames_done"]) == ("succeeded", 2, 2)
    lines = api.receipt_lines(alice, status["job_id"])
    assert [[member["source"] for member in line["members"]] for line in lines] == [[0, 1, 2, 3], [4, 5]]
    assert int(first_picture(alice, status)[10, 10]) == pytest.approx(41.5, abs=2)
    longer = api.render(alice, quarters, decimation_factor=4, decimation_mode="mean", priority=3)
    assert longer["job_id"] == status["job_id"]


def test_segments_of_bins_are_counted_in_outputs_when_reused(alice: httpx.Client) -> None:
    dataset = api.make_dataset(alice, {f"q{number:03d}.jpg": quartered_jpeg(number) for number in range(200)})
    whole = api.render(alice, dataset, decimation_factor=2, decimation_mode="max")
    part = api.render(alice, dataset, decimation_factor=2, decimation_mode="max", frames={"stop": 150})
    assert (whole["frames_total"], whole["frames_done"]) == (100, 100)
    assert (part["frames_total"], part["frames_done"]) == (75, 75)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"crop": {"x": 100, "y": 0, "width": 80, "height": 60}}, "#/crop/width"),
        ({"crop": {"x": 0, "y": 100, "width": 80, "height": 60}}, "#/crop/height"),
        ({"crop": {"x": -1, "y": 0, "width": 80, "height": 60}}, "#/crop/x"),
        ({"crop": {"x": 0, "y": 0, "width": 80}}, "#/crop/height"),
        ({"rotate": 45}, "#/rotate"),
        ({"decimation_mode": "median"}, "#/decimation_mode"),
    ],
)
def test_what_cannot_be_shown(
    alice: httpx.Client, quarters: dict[str, Any], change: dict[str, Any], pointer: str
) -> None:
    body = {"experiment_id": quarters["experiment_id"], "decimation_factor": 1, "fps": 30} | change
    answer = alice.post("/api/videos/generate", json=body)
    assert answer.status_code == 422, answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
