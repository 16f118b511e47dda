"""An overlay through the API: planned options, digits in the video, and rejected requests."""

import io
from typing import Any

import av
import httpx
import pytest

from service.pipeline.overlay.caption import OverlayRenderer
from service.plan.overlay import Overlay
from tests.end_to_end.renders.test_timing import captured_jpeg
from tests.pipeline.overlay.test_caption import read_text
from tests.support.data.footage import frame_jpeg
from tests.support.processes import api
from tests.support.processes.running_service import RunningService


@pytest.fixture(scope="module")
def plate(service: RunningService) -> dict[str, Any]:
    """Eight frames of 320x240 with pixels of 50 micrometres, without capture times."""
    with service.client("alice") as client:
        dataset = api.make_dataset(client, {f"p{n}.jpg": frame_jpeg(n, (320, 240)) for n in range(8)})
        change = {"metadata": {"pixel_size_um": 50}}
        client.patch(f"/api/experiments/{dataset['experiment_id']}", json=change).raise_for_status()
        return dataset


def test_numbers_and_a_scale_bar(alice: httpx.Client, plate: dict[str, Any]) -> None:
    wanted = {"frame_index": True, "elapsed": True, "text": " a  b ", "scale_bar": {"length": 2, "unit": "mm"}}
    status = api.render(alice, plate, decimation_factor=3, fps=2, scale=2, overlay=wanted)
    planned = status["summary"]["options"]["overlay"]
    assert planned["bar"] == {"pixels": 80, "label": "2 mm"}
    assert (planned["text"], planned["size"], planned["position"]) == ("a b", 17, "bottom_left")
    caption = OverlayRenderer(Overlay.from_json(planned), 640, 480)
    with av.open(io.BytesIO(alice.get(status["video_url"]).raise_for_status().content)) as video:
        lumas = [frame.to_ndarray()[: frame.height] for frame in video.decode(video=0)]
    found = [read_text(luma, caption, "#0  +00:00:00") for luma in lumas]
    assert [text[:2] for text in found] == ["#0", "#3", "#6"]
    assert found[2].endswith("+00:00:01"), "the time in the video, in steps of half a second"


def test_capture_times_are_written(alice: httpx.Client) -> None:
    dataset = api.make_dataset(alice, {f"t{n}.jpg": captured_jpeg(n, 61 * n) for n in range(3)})
    status = api.render(alice, dataset, scale=6, quality=90, overlay={"captured_at": True, "elapsed": True})
    caption = OverlayRenderer(Overlay.from_json(status["summary"]["options"]["overlay"]), 384, 288)
    with av.open(io.BytesIO(alice.get(status["video_url"]).raise_for_status().content)) as video:
        lumas = [frame.to_ndarray()[: frame.height] for frame in video.decode(video=0)]
    assert read_text(lumas[2], caption, "0000-00-00 00:00:00  +00:00:00") == "2026-05-04 06:02:02  +00:02:02"
    assert [line["captured_at"] for line in api.receipt_lines(alice, status["job_id"])][2] == "2026-05-04T06:02:02Z"


def test_an_overlay_of_nothing_is_none(alice: httpx.Client, plate: dict[str, Any]) -> None:
    plain = api.render(alice, plate)
    assert api.render(alice, plate, overlay={"text": "  ", "position": "top_left"})["job_id"] == plain["job_id"]


@pytest.mark.parametrize(
    ("overlay", "pointer", "code"),
    [
        ({"captured_at": True}, "#/overlay/captured_at", "no_capture_times"),
        ({"text": "\u690d\u7269"}, "#/overlay/text", "unsupported_character"),
        ({"scale_bar": {"length": 1, "unit": "m"}}, "#/overlay/scale_bar/length", "unusable_length"),
        ({"scale_bar": {"length": 1, "unit": "inch"}}, "#/overlay/scale_bar/unit", "literal_error"),
        ({"colour": "red"}, "#/overlay/colour", "extra_forbidden"),
    ],
)
def test_what_cannot_be_written(
    alice: httpx.Client, plate: dict[str, Any], overlay: dict[str, Any], pointer: str, code: str
) -> None:
    body = {"experiment_id": plate["experiment_id"], "decimation_factor": 1, "fps": 30, "overlay": overlay}
    answer = alice.post("/api/videos/generate", json=body)
    assert answer.status_code == 422, answer.text
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]


@pytest.mark.parametrize("size", [None, "5", 0, -1, True])
def test_a_scale_bar_needs_the_size_of_a_pixel(alice: httpx.Client, size: Any) -> None:
    dataset = api.make_dataset(alice, {"p.jpg": frame_jpeg(0)})
    change = {"metadata": {"pixel_size_um": size}}
    alice.patch(f"/api/experiments/{dataset['experiment_id']}", json=change).raise_for_status()
    wanted = {"experiment_id": dataset["experiment_id"], "decimation_factor": 1, "fps": 30}
    answer = alice.post("/api/videos/generate", json=wanted | {"overlay": {"scale_bar": {"length": 5}}})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "no_pixel_size")
