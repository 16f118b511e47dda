"""Camera frames in, a video out, through the real HTTP API."""

import hashlib
import io
import json
import stat
from typing import Any

import av
import httpx
import pytest

from tests.support.data.footage import frame_jpeg
from tests.support.processes import api
from tests.support.processes.running_service import RunningService


def jpeg_sequence(count: int, size: tuple[int, int] = (64, 48)) -> dict[str, bytes]:
    return {f"frame_{number:04d}.jpg": frame_jpeg(number, size) for number in range(count)}


@pytest.fixture(scope="module")
def footage(service: RunningService) -> dict[str, Any]:
    with service.client("alice") as client:
        return api.make_dataset(client, jpeg_sequence(160))


def test_a_render_is_what_the_plan_promised(alice: httpx.Client, footage: dict[str, Any]) -> None:
    body = {"experiment_id": footage["experiment_id"], "decimation_factor": 2, "fps": 25}
    answer = alice.post("/api/videos/generate", json=body)
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["Location"] == job["status_url"]
    assert job["estimate"]["frames"] == 80
    assert set(job["plan"]) == {"fetch", "decode", "transform", "encode"}
    assert all(stage["reason"] for stage in job["plan"].values())
    status = api.wait_until_ended(alice, job["job_id"])
    assert (status["status"], status["frames_done"], status["summary"]["frames"]) == ("succeeded", 80, 80)
    lines = api.receipt_lines(alice, job["job_id"])
    assert [line["source"] for line in lines] == list(range(0, 160, 2))
    assert {line["outcome"] for line in lines} == {"ok"}
    assert lines[3]["sha256"] == hashlib.sha256(frame_jpeg(6)).hexdigest()


def test_the_file_plays_everywhere(alice: httpx.Client, footage: dict[str, Any]) -> None:
    status = api.render(alice, footage, decimation_factor=4, fps=20)
    data = alice.get(status["video_url"]).raise_for_status().content
    assert data.index(b"moov") < data.index(b"mdat"), "faststart"
    with av.open(io.BytesIO(data)) as video:
        stream = video.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.profile, stream.pix_fmt) == ("h264", "High", "yuv420p")
        assert stream.frames == 40
        assert float(stream.duration * stream.time_base) == pytest.approx(2.0)
        assert sum(1 for _ in video.decode(video=0)) == 40


def test_nothing_that_is_kept_is_open_to_other_users(
    service: RunningService, alice: httpx.Client, footage: dict[str, Any]
) -> None:
    """The service was started with umask 0."""
    api.render(alice, footage, decimation_factor=8, fps=20)
    paths = [service.home, *service.home.rglob("*")]
    others = [path for path in paths if not stat.S_ISSOCK(mode := path.lstat().st_mode) and mode & 0o077]
    assert len(paths) > 3 and others == []


def test_ranges_etag_and_head(alice: httpx.Client, footage: dict[str, Any]) -> None:
    url = api.render(alice, footage, decimation_factor=4, fps=20)["video_url"]
    whole = alice.get(url)
    size = len(whole.content)
    head = alice.head(url)
    assert (head.status_code, head.headers["Content-Length"], head.content) == (200, str(size), b"")
    part = alice.get(url, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{size}"
    assert alice.get(url, headers={"Range": "bytes=-50"}).content == whole.content[-50:]
    beyond = alice.get(url, headers={"Range": f"bytes={size}-"})
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")
    etag = whole.headers["ETag"]
    assert alice.get(url, headers={"If-None-Match": etag}).status_code == 304
    stale = alice.get(url, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    assert (stale.status_code, len(stale.content)) == (200, size)


def test_the_same_render_is_there_at_once(alice: httpx.Client, footage: dict[str, Any]) -> None:
    first = api.render(alice, footage, decimation_factor=5, fps=10)
    body = {"experiment_id": footage["experiment_id"], "decimation_factor": 5, "fps": 10}
    answer = alice.post("/api/videos/generate", json=body)
    assert answer.status_code == 200
    assert (answer.json()["job_id"], answer.json()["status"]) == (first["job_id"], "succeeded")
    assert answer.json()["video_url"] == first["video_url"]


def test_events_tell_the_whole_story(alice: httpx.Client, footage: dict[str, Any]) -> None:
    body = {"experiment_id": footage["experiment_id"], "decimation_factor": 1, "fps": 60, "scale": 4}
    job = alice.post("/api/videos/generate", json=body).raise_for_status().json()["job_id"]
    told, last_id = [], ""
    with alice.stream("GET", f"/api/videos/{job}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("data:"):
                told.append(json.loads(line[5:]))
            if line.startswith("id:"):
                last_id = line[3:].strip()
    assert told[-1]["status"] == "succeeded"
    done = [status["frames_done"] for status in told]
    assert done == sorted(done) and done[-1] == 160
    with alice.stream("GET", f"/api/videos/{job}/events", headers={"Last-Event-ID": last_id}) as stream:
        assert not [line for line in stream.iter_lines() if line.startswith("data:")], "nothing is told twice"


def test_poster_and_av1_and_dry_run(alice: httpx.Client, footage: dict[str, Any]) -> None:
    body = {"experiment_id": footage["experiment_id"], "decimation_factor": 1, "fps": 15, "codec": "av1"}
    dry = alice.post("/api/videos/generate", json=body | {"dry_run": True})
    assert (dry.status_code, dry.json()["estimate"]["frames"]) == (200, 160)
    assert dry.json()["estimate"]["reused_frames"] == 0
    status = api.render(alice, footage, codec="av1", fps=15)
    with av.open(io.BytesIO(alice.get(status["video_url"]).content)) as video:
        assert video.streams.video[0].codec_context.name in ("av1", "libdav1d")
        assert sum(1 for _ in video.decode(video=0)) == 160
    longer = alice.post("/api/videos/generate", json=body | {"frames": {"stop": 150}, "dry_run": True}).json()[
        "estimate"
    ]
    assert (longer["frames"], longer["reused_frames"]) == (150, 150), "its segments end where those of the other do"
    assert set(longer["stages"]) == {"fetch", "decode", "transform", "encode"}
    poster = alice.get(status["poster_url"])
    assert poster.headers["content-type"] == "image/jpeg" and poster.content.startswith(b"\xff\xd8")


def test_a_source_video_is_decimated_by_picture(alice: httpx.Client) -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        import numpy as np

        for number in range(90):
            picture = np.full((48, 64, 3), 20 + number * 2, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        out.mux(stream.encode())
    dataset = api.make_dataset(alice, {"clip.mp4": file.getvalue()}, kind="video")
    assert (dataset["state"], dataset["frame_count"]) == ("ready", 90)
    status = api.render(alice, dataset, decimation_factor=7)
    assert status["summary"]["frames"] == 13
    assert [line["source"] for line in api.receipt_lines(alice, status["job_id"])] == list(range(0, 90, 7))
    with av.open(io.BytesIO(alice.get(status["video_url"]).content)) as video:
        levels = [int(frame.to_ndarray(format="gray")[24, 32]) for frame in video.decode(video=0)]
    assert levels == sorted(levels) and len(set(levels)) == 13


def test_idempotency_keys(alice: httpx.Client, footage: dict[str, Any]) -> None:
    body = {"experiment_id": footage["experiment_id"], "decimation_factor": 3, "fps": 12}
    headers = {"Idempotency-Key": "one"}
    first = alice.post("/api/videos/generate", json=body, headers=headers).json()["job_id"]
    assert alice.post("/api/videos/generate", json=body, headers=headers).json()["job_id"] == first
    other = alice.post("/api/videos/generate", json=body | {"fps": 13}, headers=headers)
    assert (other.status_code, other.json()["errors"][0]["header"]) == (422, "Idempotency-Key")


def test_what_is_not_mine_does_not_exist(service: RunningService, alice: httpx.Client, footage: dict[str, Any]) -> None:
    status = api.render(alice, footage, decimation_factor=4, fps=20)
    with service.client("bob") as bob:
        for url in (status["video_url"], status["receipt_url"], f"/api/videos/{status['job_id']}"):
            assert bob.get(url).status_code == 404
        body = {"experiment_id": footage["experiment_id"], "decimation_factor": 1, "fps": 30}
        assert bob.post("/api/videos/generate", json=body).status_code == 404
    with service.client("boss", "admin") as admin:
        assert admin.get(status["video_url"]).status_code == 200


def test_cancel_and_retry(alice: httpx.Client) -> None:
    dataset = api.make_dataset(alice, jpeg_sequence(300, (320, 240)))
    body = {"experiment_id": dataset["experiment_id"], "decimation_factor": 1, "fps": 30, "scale": 4}
    job = alice.post("/api/videos/generate", json=body).json()["job_id"]
    assert alice.post(f"/api/videos/{job}/cancel").json()["status"] == "cancelled"
    assert alice.post(f"/api/videos/{job}/cancel").status_code == 409
    assert alice.get(f"/api/videos/{job}/video").status_code == 409
    assert alice.post(f"/api/videos/{job}/retry").status_code == 202
    assert api.wait_until_ended(alice, job)["status"] == "succeeded"
    assert alice.delete(f"/api/videos/{job}").json()["objects"] == 3
    assert alice.get(f"/api/videos/{job}").status_code == 404
