"""A video that grows with its dataset: each version encodes what is new, and the newest one is always a whole file."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from benchmarks.growing.reader import Reader, Version
from tests.support.data.footage import frame_jpeg
from tests.support.patience import PATIENCE_S
from tests.support.processes import api
from tests.support.processes.running_service import SCOPES, RunningService
from tests.support.servers.s3_server import ANY_STORE

# At one frame a second, a segment has eight.
LENGTH, FIRST = 8, 40


@pytest.fixture(scope="module")
def service(start_service: Callable[[str], RunningService]) -> RunningService:
    return start_service(ANY_STORE)


def append(client: httpx.Client, dataset: dict[str, Any], begin: int, end: int) -> None:
    """Upload frames, and wait until following has found them; an event brings the look forward."""
    address = f"/api/datasets/{dataset['id']}"
    for number in range(begin, end):
        client.put(f"{address}/objects/{number:04d}.jpg", content=frame_jpeg(number)).raise_for_status()
    place = {"bucket": {"name": dataset["bucket"]}, "object": {"key": f"{dataset['prefix']}{end - 1:04d}.jpg"}}
    client.post("/api/events/s3", json={"Records": [{"s3": place}]}).raise_for_status()
    deadline = time.monotonic() + PATIENCE_S
    while client.get(address).raise_for_status().json()["frame_count"] < end:
        assert time.monotonic() < deadline, "the frames were not found"
        time.sleep(0.1)


class Made(NamedTuple):
    """A version, and how many of its segments were made anew and were there."""

    version: Version
    anew: int
    reused: int


def make_version(client: httpx.Client, schedule: str, number: int) -> Made:
    run = client.post(f"/api/schedules/{schedule}/run").raise_for_status().json()
    status = api.wait_until_ended(client, run["job_id"])
    assert status["status"] == "succeeded", status
    segments, reused = (status["summary"][name] for name in ("segments", "segments_reused"))
    return Made(Version(number, status["frames_total"], status["video_sha256"]), segments - reused, reused)


def test_each_version_encodes_the_last_and_the_new_segments(service: RunningService, tmp_path: Path) -> None:
    reader = Reader(tmp_path, pause_s=0.01)
    with service.client("alice", *SCOPES, "events:write") as client, service.client("alice") as other:
        dataset = api.make_dataset(client, {f"{number:04d}.jpg": frame_jpeg(number) for number in range(FIRST)})
        client.put(f"/api/datasets/{dataset['id']}/follow").raise_for_status()
        request = {"experiment_id": dataset["experiment_id"], "decimation_factor": 1, "fps": 1}
        body = {"name": dataset["experiment_id"], "cron": "0 0 1 1 *", "request": request}
        schedule = client.post("/api/schedules", json=body).raise_for_status().json()["id"]
        made = [make_version(client, schedule, 0)]
        with reader.reading(other, dataset["experiment_id"]):
            for begin, end in ((FIRST, 44), (44, 52)):
                append(client, dataset, begin, end)
                made.append(make_version(client, schedule, len(made)))
        reader.read(other, dataset["experiment_id"])
    versions = [each.version for each in made]
    assert [version.frames for version in versions] == [FIRST, 44, 52]
    # The second version has one more segment, which the third extends to a whole one, before one of its own.
    assert [each.anew for each in made] == [FIRST // LENGTH, 1, 2]
    assert [each.reused for each in made] == [0, FIRST // LENGTH, FIRST // LENGTH]
    assert reader.faults(versions) == []
    assert len(reader.answers) > len(versions) and reader.answers[-1][0] == versions[-1].sha256
