"""An interlaced source video through the whole service: scan, receipt, preview."""

from typing import Any

import av
import httpx
import pytest

from tests.support.data import interlaced
from tests.support.processes import api

FIELDS = interlaced.moments(40)


@pytest.fixture(scope="module")
def combed(service: Any) -> dict[str, Any]:
    source = interlaced.encode(
        interlaced.woven(FIELDS, "bottom"),
        ".mp4",
        *interlaced.FLAGGED["bottom"],
        "-c:v",
        "libx264",
        "-pix_fmt",
        "yuv420p",
    )
    with service.client("alice") as client:
        return api.make_dataset(client, {"tape.mp4": source}, kind="video")


def test_the_scan_and_the_receipt_say_it(alice: httpx.Client, combed: dict[str, Any]) -> None:
    assert combed["field_orders"] == {"bottom": 20}
    auto = api.render(alice, combed)
    assert auto["summary"]["conversions"] == {"deinterlaced (bwdif, bottom field first)": 20}
    assert auto["summary"]["options"]["deinterlace"] == "auto"
    off = api.render(alice, combed, deinterlace="off")
    assert off["job_id"] != auto["job_id"]
    assert off["summary"]["conversions"] == {"fields left as stored, not deinterlaced (bottom field first)": 20}
    body = {"experiment_id": combed["experiment_id"], "decimation_factor": 1, "fps": 30, "deinterlace": "yes"}
    assert alice.post("/api/videos/generate", json=body).json()["errors"][0]["pointer"] == "#/deinterlace"


def test_an_archive_of_two_segments_keeps_the_fields(alice: httpx.Client, combed: dict[str, Any]) -> None:
    status = api.render(alice, combed, codec="ffv1", fps=4)
    assert status["summary"]["conversions"] == {"fields kept as stored (bottom field first)": 20}
    data = alice.get(status["video_url"]).content
    assert "bottom coded first" in interlaced.ffmpeg_log(data, "-i", "-")


def test_a_preview_is_deinterlaced(alice: httpx.Client, combed: dict[str, Any]) -> None:
    answer = alice.get(f"/api/datasets/{combed['id']}/frames/7/image")
    assert answer.status_code == 200
    shown = av.CodecContext.create("mjpeg", "r").decode(av.Packet(answer.content))[0].to_ndarray(format="gray")
    rows = shown[8:-8].astype(float)
    combing = abs(rows[1:-1] * 2 - rows[:-2] - rows[2:]).mean()
    true = FIELDS[14][8:-8].astype(float)
    assert combing < 1.5 * abs(true[1:-1] * 2 - true[:-2] - true[2:]).mean()
