"""Grids over the whole service: several cameras of an experiment in one video."""

import io
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from service.commands.verify import verify_video
from tests.pipeline.rendering import decode_pictures
from tests.support.data import media
from tests.support.patience import PATIENCE_S
from tests.support.processes import api
from tests.support.processes.running_service import RunningService

WIDTH, HEIGHT = 64, 48


def jpeg(number: int, seconds: float) -> bytes:
    """A numbered picture that says when it was captured."""
    exif = Image.Exif()
    whole = int(seconds)
    taken = f"2026:05:04 06:{whole // 60:02d}:{whole % 60:02d}"
    details = exif.get_ifd(0x8769)
    details[0x9003], details[0x9291] = taken, f"{round((seconds - whole) * 1000):03d}"
    return media.jpeg(media.numbered_picture(number, WIDTH, HEIGHT), exif=exif)


@pytest.fixture(scope="module")
def experiment(service: RunningService) -> dict[str, Any]:
    """Three cameras: one picture a second, one every two seconds (0.4 s later), and one without pictures after 3 s."""
    with service.client("alice") as client:
        made = client.post("/api/experiments", json={"name": f"grid {uuid.uuid4()}"}).raise_for_status().json()
        cameras = {
            "every second": {f"{n:03d}.jpg": jpeg(n, n) for n in range(12)},
            "slow": {f"{n:03d}.jpg": jpeg(100 + n, 2 * n + 0.4) for n in range(6)},
            "stopped": {f"{n:03d}.jpg": jpeg(200 + n, n) for n in range(4)},
        }
        ids = [add_camera(client, made["id"], name, files) for name, files in cameras.items()]
        return made | {"dataset_ids": ids}


def add_camera(client: httpx.Client, experiment: str, name: str, files: dict[str, bytes]) -> str:
    path = f"/api/experiments/{experiment}/datasets"
    dataset = str(client.post(path, json={"name": name}).raise_for_status().json()["dataset"]["id"])
    for file, data in files.items():
        client.put(f"/api/datasets/{dataset}/objects/{file}", content=data).raise_for_status()
    client.post(f"/api/datasets/{dataset}/scan").raise_for_status()
    assert api.wait_until_scanned(client, dataset)["state"] == "ready"
    return dataset


def render(client: httpx.Client, experiment: dict[str, Any], grid: dict[str, Any], **fields: Any) -> dict[str, Any]:
    body = {"experiment_id": experiment["id"], "decimation_factor": 1, "fps": 10, "codec": "ffv1", "grid": grid}
    answer = client.post("/api/videos/generate", json=body | fields)
    assert answer.is_success, answer.text
    return api.wait_until_ended(client, answer.json()["job_id"])


def shown(client: httpx.Client, job: str, columns: int, panels: int) -> list[list[int | None]]:
    """The number that each panel of each picture shows; None: black."""
    pictures = decode_pictures(client.get(f"/api/videos/{job}/video").raise_for_status().content)
    return [[number_in(picture, place, columns) for place in range(panels)] for picture in pictures]


def number_in(picture: media.Pixels, place: int, columns: int) -> int | None:
    top, left = place // columns * HEIGHT, place % columns * WIDTH
    panel = picture[top : top + HEIGHT, left : left + WIDTH]
    return media.read_number(panel) if panel.any() else None


def test_panels_by_position(alice: httpx.Client, experiment: dict[str, Any]) -> None:
    status = render(alice, experiment, {"dataset_ids": experiment["dataset_ids"]}, missing="black")
    assert status["status"] == "succeeded", status
    expected = [[n, 100 + n if n < 6 else None, 200 + n if n < 4 else None] for n in range(12)]
    assert shown(alice, status["job_id"], 2, 3) == expected
    lines = api.receipt_lines(alice, status["job_id"])
    assert [line["outcome"] for line in lines] == ["ok"] * 4 + ["partial"] * 8
    assert [member["outcome"] for member in lines[7]["members"]] == ["ok", "missing", "missing"]


@pytest.mark.parametrize("many", ["grid", "bins"])
def test_receipts_of_many_frames_match_their_videos(
    alice: httpx.Client, experiment: dict[str, Any], many: str, tmp_path: Path
) -> None:
    """Their lines have no object of their own, but one for each member."""
    ids = experiment["dataset_ids"]
    body = {"experiment_id": experiment["id"], "decimation_factor": 1, "fps": 10, "missing": "black"}
    body |= {"grid": {"dataset_ids": ids}} if many == "grid" else {"dataset_id": ids[0], "decimation_mode": "mean"}
    if many == "bins":
        body["decimation_factor"] = 3
    job = alice.post("/api/videos/generate", json=body).raise_for_status().json()["job_id"]
    assert api.wait_until_ended(alice, job)["status"] == "succeeded"
    for name in ("video", "receipt"):
        (tmp_path / name).write_bytes(alice.get(f"/api/videos/{job}/{name}").raise_for_status().content)
    assert verify_video(tmp_path / "video", tmp_path / "receipt")[0]


def test_a_list_by_dataset_has_the_grids_that_show_it(alice: httpx.Client, experiment: dict[str, Any]) -> None:
    first, _, last = experiment["dataset_ids"]
    status = render(alice, experiment, {"dataset_ids": [first, last]}, frames={"stop": 3}, missing="black")
    found = alice.get("/api/videos", params={"dataset_id": last}).raise_for_status().json()
    assert status["job_id"] in [each["job_id"] for each in found]


def test_panels_by_capture_time(alice: httpx.Client, experiment: dict[str, Any]) -> None:
    grid = {"dataset_ids": experiment["dataset_ids"], "align": "captured", "columns": 3, "within_seconds": 1}
    status = render(alice, experiment, grid, missing="black", frames={"start": 1})
    assert status["status"] == "succeeded", status
    # Of the slow camera: 0.4, 2.4, 4.4 … 10.4 s; the stopped one has nothing within a second from 5 s on.
    slow = [100 + min(range(6), key=lambda n: abs(2 * n + 0.4 - second)) for second in range(1, 12)]
    stopped = [200 + min(second, 3) if second <= 4 else None for second in range(1, 12)]
    expected = [list(row) for row in zip(range(1, 12), slow, stopped, strict=True)]
    assert shown(alice, status["job_id"], 3, 3) == expected


def test_a_preview_is_the_picture_of_the_video(alice: httpx.Client, experiment: dict[str, Any]) -> None:
    grid = {"dataset_ids": experiment["dataset_ids"][:2], "labels": True, "align": "captured"}
    look = {"codec": "h264", "grid": grid, "overlay": {"captured_at": True}, "width": 200}
    status = render(alice, experiment, **look, quality=100)
    assert (status["status"], status["options"]["width"]) == ("succeeded", 200)
    path = f"/api/datasets/{experiment['dataset_ids'][0]}/frames/7/preview"
    while (preview := alice.post(path, json=look)).status_code == 503:
        pass
    assert preview.status_code == 200, preview.text
    with Image.open(io.BytesIO(preview.content)) as picture:
        expected = np.asarray(picture).astype(int)
    video = decode_pictures(alice.get(f"/api/videos/{status['job_id']}/video").content)[7]
    assert np.abs(video.astype(int) - expected).mean() < 1
    assert expected.shape == (76, 200, 3)


def test_a_grid_is_deleted_with_each_of_its_datasets(
    service: RunningService, alice: httpx.Client, experiment: dict[str, Any]
) -> None:
    """Otherwise it would still show pictures that somebody wanted gone."""
    extra = add_camera(alice, experiment["id"], "short-lived", {"0.jpg": jpeg(7, 0)})
    grid = {"dataset_ids": [experiment["dataset_ids"][0], extra]}
    status = render(alice, experiment, grid, frames={"stop": 2}, missing="black")
    others = render(alice, experiment, {"dataset_ids": experiment["dataset_ids"][:2]}, frames={"stop": 2})
    assert status["status"] == others["status"] == "succeeded"
    path = f"/api/datasets/{experiment['dataset_ids'][0]}/frames/1/preview"
    for shown in (grid, {"dataset_ids": experiment["dataset_ids"][:2]}):
        while (preview := alice.post(path, json={"grid": shown})).status_code == 503:
            time.sleep(0.05)
        assert preview.status_code == 200, preview.text
    kept = f"previews/{experiment['dataset_ids'][0]}/grids/"
    assert len(service.object_keys(kept)) >= 2
    deleted = alice.delete(f"/api/datasets/{extra}").raise_for_status().json()
    assert deleted["renders"] == 1
    assert alice.get(f"/api/videos/{status['job_id']}").status_code == 404
    assert alice.get(f"/api/videos/{others['job_id']}").status_code == 200
    deadline = time.monotonic() + PATIENCE_S
    while service.object_keys(kept) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not service.object_keys(kept), "previews of grids are made again when somebody asks"


@pytest.mark.parametrize(
    ("grid", "others", "pointer", "sentence"),
    [
        ({"dataset_ids": [0, 0]}, {}, "#/grid/dataset_ids/1", "has a panel already"),
        ({"dataset_ids": [0, str(uuid.uuid4())]}, {}, "#/grid/dataset_ids/1", "no such dataset"),
        ({"dataset_ids": [0]}, {}, "#/grid/dataset_ids", "at least 2"),
        ({"dataset_ids": [0, 1]}, {"dataset_id": 1}, "#/dataset_id", "the first dataset of the grid leads"),
        ({"dataset_ids": [0, 1]}, {"decimation_factor": 2, "decimation_mode": "mean"}, "#/decimation_mode", "use drop"),
        ({"dataset_ids": [0, 1]}, {"width": 16384, "height": 16384, "scale": 2}, "#/scale", "either scale or width"),
        ({"dataset_ids": [0, 1], "columns": 1}, {"width": 16384}, "#/width", "at most 16384"),
    ],
)
def test_what_is_refused(
    alice: httpx.Client,
    experiment: dict[str, Any],
    grid: dict[str, Any],
    others: dict[str, Any],
    pointer: str,
    sentence: str,
) -> None:
    ids = experiment["dataset_ids"]
    grid = grid | {"dataset_ids": [ids[each] if isinstance(each, int) else each for each in grid["dataset_ids"]]}
    if "dataset_id" in others:
        others = {"dataset_id": ids[others["dataset_id"]]}
    body = {"experiment_id": experiment["id"], "decimation_factor": 1, "fps": 10, "grid": grid} | others
    refused = alice.post("/api/videos/generate", json=body)
    assert refused.status_code == 422, refused.text
    (error,) = refused.json()["errors"]
    assert (error["pointer"], sentence in error["detail"]) == (pointer, True), error
