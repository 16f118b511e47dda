"""Duration, time windows and capture-time pacing, through the API."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import av
import httpx
import numpy as np
import pytest
from PIL import Image

from tests.support.data.footage import frame_jpeg
from tests.support.processes import api
from tests.support.processes.running_service import RunningService

START = datetime(2026, 5, 4, 6, 0, tzinfo=UTC)
# Capture times of the frames: a pause, two equal times, and a clock set back by 20 s.
SECONDS = [0, 10, 20, 30, 60, 60, 90, 100, 80, 90, 100, 110]


def captured_jpeg(number: int, seconds: float) -> bytes:
    exif = Image.Exif()
    moment = START + timedelta(seconds=seconds)
    exif.get_ifd(0x8769).update({0x9003: moment.strftime("%Y:%m:%d %H:%M:%S"), 0x9011: "+00:00"})
    out = io.BytesIO()
    Image.fromarray(np.full((48, 64, 3), 20 + 10 * number, np.uint8)).save(out, "JPEG", exif=exif)
    return out.getvalue()


@pytest.fixture(scope="module")
def camera(service: RunningService) -> dict[str, Any]:
    with service.client("alice") as client:
        return api.make_dataset(client, {f"t{n:03d}.jpg": captured_jpeg(n, at) for n, at in enumerate(SECONDS)})


@pytest.fixture(scope="module")
def timeless(service: RunningService) -> dict[str, Any]:
    with service.client("alice") as client:
        return api.make_dataset(client, {f"f{n:03d}.jpg": frame_jpeg(n) for n in range(12)})


def picture_times(client: httpx.Client, status: dict[str, Any]) -> list[float]:
    with av.open(io.BytesIO(client.get(status["video_url"]).raise_for_status().content)) as video:
        stream = video.streams.video[0]
        shown = [float(frame.pts * stream.time_base) for frame in video.decode(stream)]
        return [*shown, float(stream.duration * stream.time_base)]


def test_a_duration_instead_of_a_rate(alice: httpx.Client, timeless: dict[str, Any]) -> None:
    status = api.render(alice, timeless, fps=None, duration_seconds=1.5)
    assert status["summary"]["fps"] == "8"
    assert picture_times(alice, status)[-1] == pytest.approx(1.5)
    assert api.render(alice, timeless, fps=8)["job_id"] == status["job_id"], "the same request in other words"


def test_capture_times_set_the_pace(alice: httpx.Client, camera: dict[str, Any]) -> None:
    status = api.render(alice, camera, fps=None, timing="captured", speed=20)
    expected = [0, 10, 20, 30, 60, 75, 90, 100, 110, 120, 130, 140, 150]
    assert picture_times(alice, status) == pytest.approx([at / 20 for at in expected], abs=2e-4)
    lines = api.receipt_lines(alice, status["job_id"])
    assert [line["captured_at"] for line in lines][:2] == ["2026-05-04T06:00:00Z", "2026-05-04T06:00:10Z"]
    assert [number for number, line in enumerate(lines) if line["clock"]] == [5, 8]
    assert "went back" in lines[8]["clock"]
    assert sorted(status["summary"]["clock"].values()) == [1, 1]
    assert status["summary"]["options"]["timing"] == {"speed": "20"}


def test_a_stream_keeps_the_pace(alice: httpx.Client, camera: dict[str, Any]) -> None:
    status = api.render(alice, camera, fps=None, timing="captured", speed=2)
    lines = alice.get(status["stream_url"]).raise_for_status().text.splitlines()
    lasts = [float(line.removeprefix("#EXTINF:").rstrip(",")) for line in lines if line.startswith("#EXTINF:")]
    target = next(int(line.partition(":")[2]) for line in lines if line.startswith("#EXT-X-TARGETDURATION"))
    assert sum(lasts) == pytest.approx(75, abs=1e-3)
    assert target == round(max(lasts)) > 8, "no segment is longer than was said, and none can be cut within a picture"


def test_jpegs_are_copied_at_the_pace(alice: httpx.Client, camera: dict[str, Any]) -> None:
    status = api.render(alice, camera, fps=None, timing="captured", speed=20, codec="mjpeg")
    expected = [0, 10, 20, 30, 60, 75, 90, 100, 110, 120, 130, 140, 150]
    assert picture_times(alice, status) == pytest.approx([at / 20 for at in expected], abs=2e-4)
    assert {line["decoder"] for line in api.receipt_lines(alice, status["job_id"])} == {"copied"}


def test_bins_keep_the_pace(alice: httpx.Client, camera: dict[str, Any]) -> None:
    body = {"timing": "captured", "speed": 20, "decimation_factor": 5, "decimation_mode": "mean"}
    assert picture_times(alice, api.render(alice, camera, **body)) == pytest.approx([0, 3.75, 6.5, 7.5], abs=2e-4)


@pytest.mark.parametrize(
    ("window", "wanted"),
    [
        ({"from": "2026-05-04T06:00:20Z", "to": "2026-05-04T06:01:00Z"}, [2, 3]),
        ({"from": "2026-05-04T08:00:20+02:00", "to": "2026-05-04T08:01:00.5+02:00"}, [2, 3, 4, 5]),
        ({"to": "2026-05-04T06:00:10"}, [0]),
        ({"from": "2026-05-04T06:01:45Z"}, [11]),
        ({"from": "2026-05-04T06:01:30Z"}, [6, 7, 8, 9, 10, 11]),
    ],
)
def test_a_time_window(alice: httpx.Client, camera: dict[str, Any], window: dict[str, str], wanted: list[int]) -> None:
    status = api.render(alice, camera, frames=window)
    assert [line["source"] for line in api.receipt_lines(alice, status["job_id"])] == wanted


def test_a_time_window_on_a_time_line_with_holes(alice: httpx.Client) -> None:
    files = {f"h{n:03d}.jpg": captured_jpeg(n, 10 * n) for n in range(20) if n not in (4, 5)}
    dataset = api.make_dataset(alice, files)
    window = {"from": "2026-05-04T06:00:30Z", "to": "2026-05-04T06:02:10Z"}
    for missing, wanted in (("skip", list(range(3, 11))), ("black", list(range(3, 13)))):
        status = api.render(alice, dataset, frames=window, missing=missing)
        assert [line["source"] for line in api.receipt_lines(alice, status["job_id"])] == wanted


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"fps": None}, "#/fps", "missing"),
        ({"duration_seconds": 3}, "#/duration_seconds", "exclusive"),
        ({"fps": None, "duration_seconds": 0.01}, "#/duration_seconds", "impossible_rate"),
        ({"fps": None, "duration_seconds": 0}, "#/duration_seconds", "greater_than"),
        ({"speed": 2}, "#/speed", "needs_captured"),
        ({"timing": "captured", "speed": 100_000}, "#/speed", "too_fast"),
        ({"timing": "captured", "speed": 0.0011}, "#/speed", "too_long"),
        ({"timing": "captured", "fps": None, "duration_seconds": 3}, "#/duration_seconds", "exclusive"),
        ({"timing": "captured", "codec": "mjpeg", "container": "avi"}, "#/container", "container"),
        ({"frames": {"from": "2026-05-05T00:00:00Z"}}, "#/frames", "empty_range"),
        ({"frames": {"from": "2026-05-04T07:00:00Z", "to": "2026-05-04T06:00:00Z"}}, "#/frames/to", "empty_range"),
        ({"frames": {"from": "2026-05-04T06:00:00Z", "stop": 3}}, "#/frames/from", "exclusive"),
        ({"frames": {"from": "yesterday"}}, "#/frames/from", "datetime_from_date_parsing"),
    ],
)
def test_what_does_not_go_together(
    alice: httpx.Client, camera: dict[str, Any], change: dict[str, Any], pointer: str, code: str
) -> None:
    body = {"experiment_id": camera["experiment_id"], "decimation_factor": 1, "fps": 30} | change
    answer = alice.post("/api/videos/generate", json=body)
    assert answer.status_code == 422, answer.text
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [({"timing": "captured"}, "#/timing"), ({"frames": {"to": "2026-05-05T00:00:00Z"}}, "#/frames/to")],
)
def test_frames_without_capture_times(
    alice: httpx.Client, timeless: dict[str, Any], change: dict[str, Any], pointer: str
) -> None:
    body = {"experiment_id": timeless["experiment_id"], "decimation_factor": 1, "fps": 30} | change
    answer = alice.post("/api/videos/generate", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    assert answer.json()["errors"][0]["code"] == "no_capture_times"
