"""Requirement: Video Generation Migration."""

import hashlib
from typing import Any

import httpx
import pytest

from tests.specification.scenario import scenario
from tests.support.data.footage import frame_jpeg
from tests.support.processes import api as steps
from tests.support.processes.running_service import RunningService


@pytest.fixture(scope="module")
def footage(service: RunningService) -> dict[str, Any]:
    with service.client() as alice:
        return steps.make_dataset(alice, {f"f{n:03d}.jpg": frame_jpeg(n) for n in range(40)})


@scenario("Video generation request")
def test_video_generation_request(alice: httpx.Client, footage: dict[str, Any]) -> None:
    body = {"experiment_id": footage["experiment_id"], "decimation_factor": 2, "fps": 25}
    for change, pointer in (({"fps": "fast"}, "#/fps"), ({"decimation_factor": 0}, "#/decimation_factor")):
        refused = alice.post("/api/videos/generate", json=body | change)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, pointer)
    accepted = alice.post("/api/videos/generate", json=body)
    job = accepted.json()
    assert (accepted.status_code, job["status"] in ("queued", "running"), job["video_url"]) == (202, True, None)
    status = steps.wait_until_ended(alice, job["job_id"])
    assert (status["status"], status["summary"]["frames"]) == ("succeeded", 20)
    assert alice.get(status["video_url"]).headers["content-type"] == "video/mp4"
    again = alice.post("/api/videos/generate", json=body)
    assert (again.status_code, again.json()["video_url"]) == (200, status["video_url"])


@scenario("S3/MinIO integration")
def test_s3_minio_integration(service: RunningService, alice: httpx.Client, footage: dict[str, Any]) -> None:
    """The frames lie in the object store, the workers fetch them from it, and the video is put into it."""
    assert len(service.object_keys(footage["prefix"])) == 40
    status = steps.render(alice, footage, decimation_factor=4, fps=12)
    lines = steps.receipt_lines(alice, status["job_id"])
    assert [line["sha256"] for line in lines] == [hashlib.sha256(frame_jpeg(n)).hexdigest() for n in range(0, 40, 4)]
    (key,) = [key for key in service.object_keys(f"renders/{status['job_id']}/") if key.endswith(".mp4")]
    stored = service.read_object(key)
    assert hashlib.sha256(stored).hexdigest() == status["video_sha256"]
    assert alice.get(status["video_url"]).content == stored


@scenario("JWT authentication")
def test_jwt_authentication(service: RunningService, alice: httpx.Client, footage: dict[str, Any]) -> None:
    assert httpx.get(f"{service.url}/api/experiments", trust_env=False).status_code == 401
    mine = alice.get(f"/api/experiments/{footage['experiment_id']}")
    assert (mine.status_code, mine.json()["owner"]) == (200, "alice")
    with service.client("bob") as bob:
        assert bob.get(f"/api/experiments/{footage['experiment_id']}").status_code == 404
    with service.client("alice", "catalog:read") as reader:
        body = {"experiment_id": footage["experiment_id"], "decimation_factor": 2, "fps": 25}
        refused = reader.post("/api/videos/generate", json=body)
        assert (refused.status_code, "videos:render" in refused.json()["detail"]) == (403, True)
