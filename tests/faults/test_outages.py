"""PostgreSQL and the object store go away under load and come back: 503 meanwhile, then everything goes on by
itself.
"""

import signal
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.data.footage import frame_jpeg
from tests.support.patience import PATIENCE_S
from tests.support.processes.api import make_dataset, wait_until_ended
from tests.support.processes.api_process import ApiProcess, api_process
from tests.support.processes.worker_process import worker_process
from tests.support.servers.outages import (
    RESTARTED_S3,
    Answer,
    CallerPool,
    RestartablePostgres,
    RestartableServer,
    SendRequest,
    needs_restarted_s3,
    under_load,
)
from tests.support.servers.s3_server import s3_server

FRAMES = {f"f{number:03d}.jpg": frame_jpeg(number) for number in range(90)}
# Slow enough that the outage falls into the render.
LARGE = {"width": 1280, "height": 960}
OUTAGE_S = 3.0


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[RestartablePostgres]:
    server = RestartablePostgres(tmp_path / "cluster")
    yield server
    server.close()


def submit(client: httpx.Client, dataset: dict[str, Any], **more: Any) -> str:
    body = {"experiment_id": dataset["experiment_id"], "decimation_factor": 1, "fps": 30} | more
    return str(client.post("/api/videos/generate", json=body).raise_for_status().json()["job_id"])


def wait_started(client: httpx.Client, job: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while client.get(f"/api/videos/{job}").json()["frames_done"] < 5:
        assert time.monotonic() < deadline, "the render does not begin"
        time.sleep(0.05)


def database_requests(dataset: dict[str, Any], job: str) -> dict[str, SendRequest]:
    """Of everything that needs the database."""
    counted = {"table": "frames", "filters": [], "aggregates": [{"function": "count"}]}
    path = f"/api/experiments/{dataset['experiment_id']}"
    return {
        "list": lambda client: client.get("/api/experiments"),
        "status": lambda client: client.get(f"/api/videos/{job}"),
        "query": lambda client: client.post("/api/database/query", json=counted),
        "change": lambda client: client.patch(
            path, json={"description": str(time.monotonic())}, headers={"If-Match": "*"}
        ),
        "health": lambda client: client.get("/health"),
    }


def assert_unavailable(answers: list[Answer]) -> None:
    """All of them 503, and but for the health report problems that say when to come back."""
    assert answers
    for answer in answers:
        assert answer.status == 503, answer
        if answer.name != "health":
            assert answer.kind == "application/problem+json" and answer.retry_after, answer


def assert_logged_no_crash(api: ApiProcess) -> None:
    assert [line for line in api.log_lines() if line.get("status") == 500] == []


class EventFollower(threading.Thread):
    """Follows a render's events, and comes back as often as the stream breaks."""

    def __init__(self, client: httpx.Client, job: str) -> None:
        super().__init__(daemon=True)
        self._client, self._path, self.lines = client, f"/api/videos/{job}/events", []

    def run(self) -> None:
        with self._client:
            while not any('"succeeded"' in line for line in self.lines):
                try:
                    with self._client.stream("GET", self._path) as stream:
                        self.lines += list(stream.iter_lines())
                except httpx.HTTPError as error:
                    self.lines.append(f"broken: {type(error).__name__}")
                time.sleep(0.1)


def restart_postgres(
    postgres: RestartablePostgres, how: signal.Signals, load: CallerPool, names: Iterable[str]
) -> list[Answer]:
    """What was answered while it was away; returns when everything is answered again."""
    load.wait_for("change", 200)
    postgres.stop(how)
    away = time.monotonic()
    load.wait_for("list", 503)
    time.sleep(OUTAGE_S)
    back = time.monotonic()
    postgres.start()
    for name in names:
        load.wait_for(name, 200)
    return load.during(away, back)


def test_postgresql_goes_away_and_comes_back(postgres: RestartablePostgres, tmp_path: Path) -> None:
    with (
        api_process(postgres.url, tmp_path, REELMILL_RATE_LIMIT="none") as api,
        worker_process(postgres.url, tmp_path) as worker,
        api.client() as client,
    ):
        dataset = make_dataset(client, FRAMES)
        job = submit(client, dataset, **LARGE)
        wait_started(client, job)
        follower, asks = EventFollower(api.client(), job), database_requests(dataset, job)
        follower.start()
        with under_load(api.client, asks) as load:
            answers = restart_postgres(postgres, signal.SIGINT, load, asks)
            later = submit(client, dataset, decimation_factor=20)
            answers += restart_postgres(postgres, signal.SIGKILL, load, asks)
        assert {wait_until_ended(client, each)["status"] for each in (job, later)} == {"succeeded"}
        follower.join(60)
        assert not follower.is_alive(), "who follows the render is told its end"
        assert (api.process.poll(), worker.poll()) == (None, None), "nobody was restarted"
        assert load.connection_errors == []
        assert set.union(*load.statuses().values()) == {200, 503}
        assert_unavailable(answers)
        assert_logged_no_crash(api)


def object_requests(dataset: str, job: str) -> dict[str, SendRequest]:
    """Of what needs the object store, and one that does not."""
    return {
        "upload": lambda client: client.put(f"/api/datasets/{dataset}/objects/new.jpg", content=frame_jpeg(1)),
        "video": lambda client: client.get(f"/api/videos/{job}/video"),
        "health": lambda client: client.get("/health"),
        "list": lambda client: client.get("/api/experiments"),
    }


@pytest.fixture
def local_s3() -> Iterator[tuple[RestartableServer, dict[str, str]]]:
    """The server, and the settings that lead to it; it runs when the test is over."""
    store = replace(s3_server(), endpoint=RESTARTED_S3)
    server = RestartableServer(store.endpoint)
    yield server, store.environment()
    server.start()


@needs_restarted_s3
def test_the_object_store_goes_away_and_comes_back(
    postgres: RestartablePostgres, local_s3: tuple[RestartableServer, dict[str, str]], tmp_path: Path
) -> None:
    server, settings = local_s3
    with (
        api_process(postgres.url, tmp_path, REELMILL_RATE_LIMIT="none", **settings) as api,
        worker_process(postgres.url, tmp_path, **settings) as worker,
        api.client() as client,
    ):
        dataset, other = make_dataset(client, FRAMES), make_dataset(client, {"a.jpg": frame_jpeg(1)})
        ready = submit(client, dataset, decimation_factor=20)
        assert wait_until_ended(client, ready)["status"] == "succeeded"
        job = submit(client, dataset, **LARGE)
        wait_started(client, job)
        with under_load(api.client, object_requests(other["id"], ready)) as load:
            load.wait_for("video", 200)
            server.stop()
            away = time.monotonic()
            load.wait_for("upload", 503)
            load.wait_for("video", 503)
            later = submit(client, dataset, decimation_factor=15)
            time.sleep(OUTAGE_S)
            back = time.monotonic()
            server.start()
            for name in object_requests("", ""):
                load.wait_for(name, 200)
        assert {wait_until_ended(client, each)["status"] for each in (job, later)} == {"succeeded"}
        assert (api.process.poll(), worker.poll()) == (None, None), "nobody was restarted"
        assert load.connection_errors == []
        assert load.statuses()["list"] == {200}, "what needs no objects goes on"
        assert_unavailable([answer for answer in load.during(away, back) if answer.name != "list"])
        assert_logged_no_crash(api)
