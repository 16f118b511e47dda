"""The catalogue through the whole service: signed uploads, previews, and deletion."""

import io
import time
from typing import Any

import httpx
import numpy as np
from PIL import Image

from tests.support.data import media
from tests.support.data.footage import frame_jpeg
from tests.support.patience import PATIENCE_S
from tests.support.processes import api
from tests.support.processes.running_service import RunningService


def upload_signed_dataset(client: httpx.Client, files: dict[str, bytes]) -> dict[str, Any]:
    """Uploaded by a client with signed URLs and no token."""
    experiment = client.post("/api/experiments", json={"name": f"signed-{time.time_ns()}"}).json()
    path = f"/api/experiments/{experiment['id']}/datasets"
    dataset = client.post(path, json={"name": "d"}).raise_for_status().json()["dataset"]
    wanted = [{"name": name, "size": len(data)} for name, data in files.items()]
    answer = client.post(f"/api/datasets/{dataset['id']}/uploads", json={"files": wanted}).raise_for_status().json()
    with httpx.Client(base_url=str(client.base_url), trust_env=False) as stranger:
        for upload in answer["uploads"]:
            sent = stranger.put(upload["url"], content=files[upload["name"]], headers=upload["headers"])
            assert sent.status_code == 200, sent.text
    client.post(f"/api/datasets/{dataset['id']}/scan").raise_for_status()
    return api.wait_until_scanned(client, dataset["id"])


def fetch_preview(client: httpx.Client, dataset: str, index: int, width: int) -> httpx.Response:
    while True:
        answer = client.get(f"/api/datasets/{dataset}/frames/{index}/image", params={"width": width})
        if answer.status_code != 503:
            return answer
        time.sleep(0.2)


def test_signed_uploads_become_frames_that_can_be_seen(alice: httpx.Client) -> None:
    files = {f"f{number:02}.jpg": frame_jpeg(number, (320, 240)) for number in range(12)}
    files["notes.bin"] = bytes(3 * 1024 * 1024)
    dataset = upload_signed_dataset(alice, files)
    assert (dataset["state"], dataset["frame_count"]) == ("ready", 12)
    original = alice.get(f"/api/datasets/{dataset['id']}/frames/3/image")
    assert (original.content, original.headers["content-type"]) == (files["f03.jpg"], "image/jpeg")
    small = fetch_preview(alice, dataset["id"], 3, 80)
    assert Image.open(io.BytesIO(small.content)).size == (80, 60)
    assert api.render(alice, dataset)["status"] == "succeeded"


def test_deleting_a_render_leaves_what_others_use(alice: httpx.Client) -> None:
    """Two renders of different length share segments; after one is deleted, the other still plays."""
    dataset = api.make_dataset(alice, {f"f{number:04}.jpg": frame_jpeg(number) for number in range(200)})
    first = api.render(alice, dataset)
    second = api.render(alice, dataset, frames={"start": 0, "stop": 199})
    gone = alice.delete(f"/api/videos/{first['job_id']}").raise_for_status().json()
    assert (gone["renders"], gone["objects"]) == (1, 3)
    assert alice.get(first["video_url"]).status_code == 404
    assert alice.get(second["video_url"]).status_code == 200
    again = api.render(alice, dataset)
    assert again["status"] == "succeeded" and again["video_sha256"] == first["video_sha256"]
    assert again["attempts"] == 1, "only the assembly ran: every segment was still there"


def test_a_forced_deletion_ends_renders_and_removes_their_files(service: RunningService, alice: httpx.Client) -> None:
    dataset = api.make_dataset(alice, {f"f{number:04}.jpg": frame_jpeg(number, (320, 240)) for number in range(400)})
    experiment = f"/api/experiments/{dataset['experiment_id']}"
    done = api.render(alice, dataset, frames={"start": 0, "stop": 5})
    body = {"experiment_id": dataset["experiment_id"], "decimation_factor": 1, "fps": 30, "scale": 4}
    alice.post("/api/videos/generate", json=body).raise_for_status()
    assert alice.delete(experiment).status_code == 409
    gone = alice.delete(experiment, params={"force": True}).raise_for_status().json()
    assert (gone["renders"], gone["cancelled"], gone["objects"], gone["frames"]) == (2, 1, 3, 400)
    assert alice.get(experiment).status_code == 404
    deadline = time.monotonic() + PATIENCE_S
    while service.object_keys(f"renders/{done['job_id']}/"):
        assert time.monotonic() < deadline, "the files of the finished render are removed"
        time.sleep(0.2)
    assert len(service.object_keys(dataset["prefix"])) == 400, "the frames are the user's"
    small = api.make_dataset(alice, {f"f{number}.jpg": frame_jpeg(number) for number in range(5)})
    assert api.render(alice, small)["status"] == "succeeded", "the workers go on"


def test_previews_of_deep_frames_and_of_pages(alice: httpx.Client) -> None:
    """Previews use the same window as a render; each page is a frame."""
    ramp = (np.tile(np.arange(64, dtype=np.uint16) * 60, (48, 1)) + 1000).astype(np.uint16)
    stack = media.tiff(np.stack([ramp, ramp[:, ::-1], ramp]), photometric="minisblack")
    dataset = api.make_dataset(alice, {"stack.tif": stack})
    assert (dataset["frame_count"], dataset["state"]) == (3, "ready")
    shown = []
    for index in range(3):
        answer = fetch_preview(alice, dataset["id"], index, 64)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg"), answer.text
        shown.append(np.asarray(Image.open(io.BytesIO(answer.content)).convert("L")).astype(int))
    assert shown[0][24, 2] < 30 and shown[0][24, 61] > 220
    assert shown[1][24, 2] > 220 and shown[1][24, 61] < 30
    assert np.abs(shown[0] - shown[2]).max() == 0
