"""HEAD is GET without the content, on every route."""

import re
from typing import Any

import httpx
import pytest

from tests.support.data.footage import frame_jpeg
from tests.support.processes import api
from tests.support.processes.running_service import RunningService

# Headers that differ between responses; the length differs where the body has a time.
CHANGING_HEADERS = {"x-request-id", "date", "ratelimit", "content-length"}


@pytest.fixture
def places(alice: httpx.Client, make_dataset: Any) -> dict[str, str]:
    dataset = make_dataset({f"f{number}.jpg": frame_jpeg(number) for number in range(6)})
    job = api.render(alice, dataset)["job_id"]
    known = {"experiment_id": dataset["experiment_id"], "dataset_id": dataset["id"], "job_id": job}
    return known | {"index": "0", "slug": "not-found", "name": "f0.jpg"}


def test_of_every_get(service: RunningService, alice: httpx.Client, places: dict[str, str]) -> None:
    document = alice.get("/openapi.json").json()
    paths = [path for path, item in document["paths"].items() if "get" in item]
    assert len(paths) > 15
    with service.client("alice", "admin") as admin:
        for path in paths:
            url = re.sub(r"\{(\w+)\}", lambda match: places.get(match[1], "nothing"), path)
            got, head = admin.get(url), admin.head(url)
            assert (head.status_code, head.content) == (got.status_code, b""), url
            assert stable_headers(head) == stable_headers(got), url


def stable_headers(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in CHANGING_HEADERS}


def test_an_open_stream_is_left_at_once(service: RunningService, places: dict[str, str]) -> None:
    """The connection can be used for the next request."""
    with service.client("alice") as client:
        for _ in range(3):
            answer = client.head(f"/api/videos/{places['job_id']}/events")
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert client.get("/health/live").status_code == 200


def test_refusals_and_what_has_no_get(service: RunningService, alice: httpx.Client) -> None:
    with httpx.Client(base_url=service.url, trust_env=False) as stranger:
        refused = stranger.head("/api/experiments")
    assert (refused.status_code, refused.content) == (401, b"") and refused.headers["WWW-Authenticate"]
    missing, wrong = alice.head("/api/nothing"), alice.head("/api/videos/generate")
    assert (missing.status_code, wrong.status_code, wrong.headers["Allow"]) == (404, 405, "POST")
    assert alice.delete("/api/experiments").headers["Allow"] == "GET, HEAD, POST"
