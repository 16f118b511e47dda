"""Bad input gets a problem that names the field, or follows its policy and is listed in the receipt."""

import io
from datetime import timedelta
from typing import Any

import av
import httpx
import pytest

from tests.support.data.footage import frame_jpeg
from tests.support.data.media import png_bomb
from tests.support.processes import api
from tests.support.processes.running_service import SCOPES, RunningService


@pytest.fixture(scope="module")
def small(service: RunningService) -> dict[str, Any]:
    with service.client("alice") as client:
        return api.make_dataset(client, {f"f{number}.jpg": frame_jpeg(number) for number in range(8)})


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"decimation_factor": 0}, "#/decimation_factor"),
        ({"fps": 1e9}, "#/fps"),
        ({"fps": "NaN"}, "#/fps"),
        ({"codec": "realvideo"}, "#/codec"),
        ({"colour": "red"}, "#/colour"),
        ({"frames": {"start": 100}}, "#/frames"),
        ({"frames": {"begin": 1}}, "#/frames/begin"),
        ({"scale": 0.5, "width": 10}, "#/scale"),
        ({"device": "cuda"}, "#/device"),
        ({"dataset_id": "0197a3c2-7d10-7cc2-9d5e-2f1b6f0f6c11"}, "#/dataset_id"),
    ],
)
def test_impossible_requests_point_to_the_field(
    alice: httpx.Client, small: dict[str, Any], change: dict[str, Any], pointer: str
) -> None:
    body = {"experiment_id": small["experiment_id"], "decimation_factor": 1, "fps": 30} | change
    answer = alice.post("/api/videos/generate", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]


def test_unknown_experiment(alice: httpx.Client) -> None:
    body = {"experiment_id": "0197a3c2-7d10-7cc2-9d5e-2f1b6f0f6c11", "decimation_factor": 1, "fps": 30}
    assert alice.post("/api/videos/generate", json=body).status_code == 404


def test_no_token_expired_token_missing_scope(service: RunningService) -> None:
    url = f"{service.url}/api/videos/generate"
    assert httpx.post(url, json={}, trust_env=False).status_code == 401
    expired = service.token("alice", SCOPES, timedelta(seconds=-120))
    answer = httpx.post(url, json={}, headers={"Authorization": f"Bearer {expired}"}, trust_env=False)
    assert (answer.status_code, answer.json()["detail"]) == (401, "token expired")
    assert "Bearer" in answer.headers["WWW-Authenticate"]
    with service.client("alice", "videos:read") as reader:
        assert reader.post("/api/videos/generate", json={}).status_code == 403


def test_an_empty_dataset_says_so(alice: httpx.Client) -> None:
    dataset = api.make_dataset(alice, {})
    assert dataset["state"] == "failed" and dataset["error"]
    body = {"experiment_id": dataset["experiment_id"], "decimation_factor": 1, "fps": 30}
    answer = alice.post("/api/videos/generate", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "#/dataset_id")


def outcomes_by_source(client: httpx.Client, status: dict[str, Any]) -> dict[int, tuple[str, str | None]]:
    return {
        line["source"]: (line["outcome"], line["reason"])
        for line in api.receipt_lines(client, status["job_id"])
        if line["outcome"] != "ok"
    }


def test_bad_frames_follow_their_policy_and_are_named(alice: httpx.Client) -> None:
    files = {f"f{number:02d}.jpg": frame_jpeg(number) for number in range(12)}
    files["f03.jpg"] = b"this is a text file named .jpg"
    files["f05.jpg"] = frame_jpeg(5)[:200]
    files["f07.jpg"] = b""
    files["f09.jpg"] = png_bomb()
    dataset = api.make_dataset(alice, files)
    assert dataset["frame_count"] == 12
    held = api.render(alice, dataset)
    assert (held["status"], held["summary"]["frames"]) == ("succeeded", 12)
    named = outcomes_by_source(alice, held)
    assert set(named) == {3, 5, 7, 9}
    assert all(outcome == "held" and reason for outcome, reason in named.values())
    skipped = api.render(alice, dataset, corrupt="skip")
    assert skipped["summary"]["frames"] == 8
    assert {outcome for outcome, _ in outcomes_by_source(alice, skipped).values()} == {"skipped"}
    failed = api.render(alice, dataset, corrupt="fail")
    assert failed["status"] == "failed" and "frame 3" in failed["error"]["reason"]
    black = api.render(alice, dataset, corrupt="black")
    with av.open(io.BytesIO(alice.get(black["video_url"]).content)) as video:
        pictures = [frame.to_ndarray(format="gray").mean() for frame in video.decode(video=0)]
    assert pictures[3] < 20 < pictures[4]


def test_a_gap_in_the_numbering(alice: httpx.Client) -> None:
    files = {f"f{number:02d}.jpg": frame_jpeg(number) for number in range(30) if number not in (10, 11)}
    dataset = api.make_dataset(alice, files)
    assert (dataset["frame_count"], dataset["gap_frames"]) == (28, 2)
    assert dataset["gaps"][0]["number"] == 10
    assert api.render(alice, dataset)["summary"]["frames"] == 28
    held = api.render(alice, dataset, missing="hold")
    assert held["summary"]["frames"] == 30
    assert {index: outcome for index, (outcome, _) in outcomes_by_source(alice, held).items()} == {
        10: "held",
        11: "held",
    }
    body = {"experiment_id": dataset["experiment_id"], "decimation_factor": 1, "fps": 30, "missing": "fail"}
    refused = alice.post("/api/videos/generate", json=body)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/missing")


def test_a_frame_that_vanished_after_the_scan(alice: httpx.Client, service: RunningService) -> None:
    dataset = api.make_dataset(alice, {f"f{number:02d}.jpg": frame_jpeg(number) for number in range(10)})
    service.remove_object(dataset["prefix"] + "f04.jpg")
    status = api.render(alice, dataset, missing="hold")
    assert status["summary"]["frames"] == 10
    assert outcomes_by_source(alice, status)[4][0] == "held"


def test_two_frame_sizes(alice: httpx.Client) -> None:
    files = {f"f{number:02d}.jpg": frame_jpeg(number) for number in range(10)}
    files["f06.jpg"] = frame_jpeg(6, (48, 48))
    dataset = api.make_dataset(alice, files)
    assert (dataset["width"], dataset["height"], len(dataset["sizes"])) == (64, 48, 2)
    status = api.render(alice, dataset)
    assert outcomes_by_source(alice, status) == {6: ("resized", outcomes_by_source(alice, status)[6][1])}
    assert api.render(alice, dataset, mismatch="fail")["status"] == "failed"


def test_the_queue_of_a_caller_is_bounded(service: RunningService) -> None:
    with service.client("carol") as carol:
        dataset = api.make_dataset(
            carol, {f"f{number:03d}.jpg": frame_jpeg(number, (320, 240)) for number in range(60)}
        )
        body = {"experiment_id": dataset["experiment_id"], "decimation_factor": 1, "scale": 8}
        answers = [carol.post("/api/videos/generate", json=body | {"fps": 20 + number}) for number in range(9)]
        codes = [answer.status_code for answer in answers]
        assert 429 in codes
        refused = answers[codes.index(429)]
        assert int(refused.headers["Retry-After"]) > 0
        for answer in answers:
            if answer.status_code == 202:
                carol.post(f"/api/videos/{answer.json()['job_id']}/cancel")


def test_a_submit_storm_makes_one_render(alice: httpx.Client, service: RunningService, small: dict[str, Any]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    body = {"experiment_id": small["experiment_id"], "decimation_factor": 1, "fps": 99}

    def submit(_: int) -> str:
        with service.client("alice") as client:
            return str(client.post("/api/videos/generate", json=body).raise_for_status().json()["job_id"])

    with ThreadPoolExecutor(12) as pool:
        assert len(set(pool.map(submit, range(24)))) == 1


def test_the_service_goes_on(alice: httpx.Client, small: dict[str, Any]) -> None:
    assert alice.get("/health/ready").status_code == 200
    assert api.render(alice, small, fps=17)["status"] == "succeeded"
