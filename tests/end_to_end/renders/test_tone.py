"""16-bit frames, stacks and transparent pictures through the whole service."""

import io
from typing import Any

import av
import httpx
import numpy as np
import pytest
import tifffile

from tests.support.data import media
from tests.support.processes import api


def frame(number: int) -> np.ndarray[Any, Any]:
    """12-bit samples with a hot pixel and a growing patch."""
    samples = np.full((48, 64), 500, np.uint16)
    samples[8:40, 8:56] = 1500 + number
    samples[0, 0] = 65_000
    return samples


@pytest.fixture(scope="module")
def deep(service: Any) -> dict[str, Any]:
    with service.client("alice") as client:
        files = {f"f{number:03d}.tif": media.tiff(frame(number), compression="deflate") for number in range(30)}
        return api.make_dataset(client, files)


def decode_pictures(alice: httpx.Client, status: dict[str, Any]) -> list[np.ndarray[Any, Any]]:
    with av.open(io.BytesIO(alice.get(status["video_url"]).content)) as video:
        return [picture.to_ndarray(format="rgb24").astype(int) for picture in video.decode(video=0)]


def test_deep_frames_get_one_window_that_is_told(alice: httpx.Client, deep: dict[str, Any]) -> None:
    assert deep["levels"]["dtype"] == "uint16" and deep["levels"]["high"] == 65_000
    assert deep["levels"]["percentiles"]["50"] == pytest.approx(1500, abs=30)
    status = api.render(alice, deep)
    tone = status["summary"]["options"]["tone"]
    assert 490 <= tone["low"] <= 500 and 1529 <= tone["high"] <= 1540, "the hot pixel does not make it dark"
    assert status["summary"]["clipped"] == {"below": 0, "above": 30, "nan": 0, "frames": 30}
    assert {tuple(line["clipped"]) for line in api.receipt_lines(alice, status["job_id"])} == {(0, 1, 0)}
    seen = decode_pictures(alice, status)
    assert seen[0][4, 32, 0] < 4 and seen[0][24, 32, 0] > 240


def test_requests_that_mean_the_same_are_one_render(alice: httpx.Client, deep: dict[str, Any]) -> None:
    first = api.render(alice, deep, tone={"mode": "fixed", "low": 0, "high": 65535})
    body = {"experiment_id": deep["experiment_id"], "decimation_factor": 1, "fps": 30, "background": "#000"}
    assert alice.post("/api/videos/generate", json=body).json()["errors"][0]["pointer"] == "#/background"
    again = body | {"tone": {"mode": "full", "gamma": 1}, "background": "Black"}
    answer = alice.post("/api/videos/generate", json=again)
    assert (answer.status_code, answer.json()["job_id"]) == (200, first["job_id"])


def test_colormap_and_gamma(alice: httpx.Client, deep: dict[str, Any]) -> None:
    tone = {"mode": "fixed", "low": 500, "high": 1500, "gamma": 0.5, "colormap": "viridis"}
    status = api.render(alice, deep, tone=tone, codec="av1")
    seen = decode_pictures(alice, status)[0]
    assert np.abs(seen[4, 32] - (68, 1, 84)).max() <= 6, "viridis begins in purple"
    assert np.abs(seen[24, 32] - (253, 231, 37)).max() <= 6, "and ends in yellow"


@pytest.mark.parametrize(
    ("tone", "pointer"),
    [
        ({"mode": "fixed", "low": 5}, "#/tone/high"),
        ({"mode": "full", "low": 5}, "#/tone/low"),
        ({"colormap": "nothing"}, "#/tone/colormap"),
        ({"gamma": 0}, "#/tone/gamma"),
        ({"window": [1, 2]}, "#/tone/window"),
        ({"low": 70, "high": 60}, "#/tone/high"),
    ],
)
def test_refusals_point_at_the_field(
    alice: httpx.Client, deep: dict[str, Any], tone: dict[str, Any], pointer: str
) -> None:
    body = {"experiment_id": deep["experiment_id"], "decimation_factor": 1, "fps": 30, "tone": tone}
    answer = alice.post("/api/videos/generate", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


def test_a_stack_is_a_sequence(alice: httpx.Client) -> None:
    out = io.BytesIO()
    tifffile.imwrite(out, np.stack([frame(number * 20) for number in range(50)]), photometric="minisblack")
    dataset = api.make_dataset(alice, {"stack.tif": out.getvalue()})
    assert (dataset["frame_count"], dataset["formats"], dataset["gap_frames"]) == (50, ["tiff"], 0)
    rows = alice.get(f"/api/datasets/{dataset['id']}/frames?limit=3").json()
    assert [(row["page"], row["bits"]) for row in rows] == [(0, 16), (1, 16), (2, 16)]
    status = api.render(alice, dataset, decimation_factor=5, tone={"mode": "fixed", "low": 500, "high": 2500})
    lines = api.receipt_lines(alice, status["job_id"])
    assert [line["source"] for line in lines] == list(range(0, 50, 5))
    assert len({line["sha256"] for line in lines}) == 10
    levels = [int(picture[24, 32, 0]) for picture in decode_pictures(alice, status)]
    assert levels == sorted(levels) and levels[-1] - levels[0] > 90


def test_8_bit_colour_has_no_tone_and_transparent_pixels_show_the_background(alice: httpx.Client) -> None:
    clear = np.zeros((48, 64, 4), np.uint8)
    clear[:, 32:] = (20, 200, 20, 255)
    dataset = api.make_dataset(alice, {f"f{number}.png": media.png(clear) for number in range(3)})
    body = {"experiment_id": dataset["experiment_id"], "decimation_factor": 1, "fps": 30, "tone": {}}
    assert alice.post("/api/videos/generate", json=body).json()["errors"][0]["pointer"] == "#/tone"
    seen = decode_pictures(alice, api.render(alice, dataset, background="orange"))[0]
    assert np.abs(seen[24, 8] - (255, 165, 0)).max() <= 4 and np.abs(seen[24, 56] - (20, 200, 20)).max() <= 4
