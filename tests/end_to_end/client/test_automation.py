"""Every example of docs/automation.md, as a user would type it: chapter by chapter, against a real service."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from tests.end_to_end.client.documents import blocks, environment
from tests.support.data.footage import frame_jpeg
from tests.support.patience import PATIENCE_S
from tests.support.processes import api
from tests.support.processes.running_service import SCOPES, RunningService
from tests.support.source_code import ROOT

CHAPTERS = {part.partition("\n")[0]: part for part in (ROOT / "docs/automation.md").read_text().split("\n## ")}
INTRODUCTION = next(iter(CHAPTERS.values()))
BERLIN = ZoneInfo("Europe/Berlin")
FRAMES_PER_DAY = 12


@dataclass(frozen=True)
class Typist:
    """Somebody with a shell, and "run 7" with frames of two days, one of which is yesterday also when a day ends."""

    client: httpx.Client
    folder: Path
    dataset: dict[str, Any]
    variables: dict[str, str]

    def type_shell(self, chapter: str) -> str:
        """What its shell examples print."""
        return self._type("bash", "-euo", "pipefail", "-c", blocks(CHAPTERS[chapter], "sh"))

    def type_python(self, chapter: str) -> str:
        script = blocks(INTRODUCTION, "python") + blocks(CHAPTERS[chapter], "python")
        return self._type(sys.executable, "-c", script)

    def _type(self, *words: str) -> str:
        done = subprocess.run(words, cwd=self.folder, env=self.variables, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def read(self, path: str, **query: Any) -> Any:
        return self.client.get(path, params=query).raise_for_status().json()

    def wait_until_finished(self, job: str) -> dict[str, Any]:
        """The render, which has succeeded."""
        status = api.wait_until_ended(self.client, job)
        assert status["status"] == "succeeded", status
        return status


@pytest.fixture(scope="module")
def typist(service: RunningService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Typist]:
    folder = tmp_path_factory.mktemp("typist")
    own = environment(service, folder) | {"REELMILL_HOME": str(service.home)}
    own["REELMILL_TOKEN"] = service.token("automation", SCOPES)
    with service.client("automation") as client:
        experiment = client.post("/api/experiments", json={"name": "run 7"}).raise_for_status().json()["id"]
        path = f"/api/experiments/{experiment}/datasets"
        dataset = client.post(path, json={"name": "camera 1"}).raise_for_status().json()["dataset"]
        for name in frame_names():
            client.put(f"/api/datasets/{dataset['id']}/objects/{name}", content=frame_jpeg(1)).raise_for_status()
        client.post(f"/api/datasets/{dataset['id']}/scan").raise_for_status()
        api.wait_until_scanned(client, dataset["id"])
        yield Typist(client, folder, dataset, own | {"EXPERIMENT": experiment, "DATASET": dataset["id"]})


def frame_names() -> list[str]:
    """Of yesterday and of today, in Berlin."""
    today = datetime.now(BERLIN).replace(hour=8, minute=0, second=0, microsecond=0)
    return [
        f"{(day + timedelta(seconds=second)).astimezone(ZoneInfo('UTC')):%Y-%m-%dT%H-%M-%SZ}.jpg"
        for day in (today - timedelta(days=1), today)
        for second in range(FRAMES_PER_DAY)
    ]


def objects(output: str) -> list[Any]:
    """The JSON values that stand one after the other in an output, before anything else."""
    found, decoder = list[Any](), json.JSONDecoder()
    while output.startswith(("{", "[")):
        value, end = decoder.raw_decode(output)
        found.append(value)
        output = output[end:].lstrip()
    return found


def test_presets(typist: Typist) -> None:
    said = typist.type_shell("Presets")
    preset, job = objects(said)
    assert (preset["name"], preset["visibility"], preset["options"]["codec"]) == ("daily overview", "public", "av1")
    render = typist.wait_until_finished(job["job_id"])
    assert (render["preset"]["id"], render["request"]["fps"], render["frames_total"]) == (preset["id"], 24, 6)
    assert render["request"]["overlay"]["captured_at"] is True
    assert said.count("daily overview") >= 3
    typist.type_python("Presets")
    assert [each["id"] for each in typist.read("/api/presets", mine=True)] == [preset["id"]]
    assert [each["job_id"] for each in typist.read("/api/videos", mine=True)] == [job["job_id"]], "it was joined"
    assert (typist.folder / "overview.mp4").stat().st_size == render["video_bytes"]


def test_batches(typist: Typist) -> None:
    (answers,) = objects(typist.type_shell("Batches"))
    assert [(each["index"], each["status"]) for each in answers] == [(0, 202), (1, 422)]
    assert answers[1]["problem"]["errors"][0]["pointer"] == "#/renders/1/fps"
    job = answers[0]["job"]["job_id"]
    render = typist.wait_until_finished(job)
    assert (render["preset"]["name"], render["request"]["fps"]) == ("daily overview", 30)
    first, second = typist.type_python("Batches").splitlines()
    assert job in first and "#/renders/1/fps" in second


def test_the_newest_video(typist: Typist) -> None:
    typist.type_shell("The newest video")
    newest = typist.read("/api/videos/latest", experiment_id=typist.dataset["experiment_id"], preset="daily overview")
    video = typist.client.get(f"/api/videos/{newest['job_id']}/video").content
    assert (typist.folder / "newest.mp4").read_bytes() == video and video[4:8] == b"ftyp"
    typist.type_python("The newest video")
    assert (typist.folder / "latest.mp4").read_bytes() == video


def test_schedules(typist: Typist) -> None:
    said = typist.type_shell("Schedules")
    (schedule,) = objects(said)
    assert (schedule["name"], schedule["zone"], schedule["window"]) == ("every morning", "Europe/Berlin", "yesterday")
    (run,) = typist.read(f"/api/schedules/{schedule['id']}/runs")
    assert f"run 1 of every morning: submitted {run['job_id']}" in said and said.count(run["job_id"]) == 2
    assert schedule["id"] in said.splitlines()[-1]
    assert typist.wait_until_finished(run["job_id"])["frames_total"] == FRAMES_PER_DAY // 4
    typist.type_python("Schedules")
    assert {each["name"] for each in typist.read("/api/schedules", mine=True)} == {"every morning", "the last week"}
    assert (typist.folder / "week.mp4").stat().st_size > 0


def test_follow(typist: Typist) -> None:
    (dataset,) = objects(typist.type_shell("Follow"))
    assert dataset["id"] == typist.dataset["id"] and dataset["followed"] and dataset["follow"]["problem"] is None
    path = f"/api/datasets/{dataset['id']}"
    typist.client.put(f"{path}/objects/9999-01-01T00-00-00Z.jpg", content=frame_jpeg(2)).raise_for_status()
    deadline = time.monotonic() + PATIENCE_S
    while typist.read(path)["frame_count"] == dataset["frame_count"]:
        assert time.monotonic() < deadline, "what appeared became no frame"
        time.sleep(0.2)
    typist.client.delete(f"{path}/follow").raise_for_status()
    typist.type_python("Follow")
    assert typist.read(path)["followed"]


def test_notifications(typist: Typist) -> None:
    token = typist.type_shell("Notifications").split()[-1]
    records = [{"s3": {"bucket": {"name": typist.dataset["bucket"]}, "object": {"key": typist.dataset["prefix"]}}}]
    url = typist.client.base_url.join("/api/events/s3")
    answer = httpx.post(url, auth=("minio", token), json={"Records": records}, trust_env=False)
    assert (answer.status_code, answer.json()) == (202, {"records": 1})
    refused = httpx.get(typist.client.base_url.join("/api/presets"), headers={"Authorization": f"Bearer {token}"})
    assert refused.status_code == 403


def test_no_example_is_left_out() -> None:
    tested = {"Presets", "Batches", "The newest video", "Schedules", "Follow", "Notifications"}
    assert {name for name, text in CHAPTERS.items() if blocks(text, "sh")} == tested
    with_python = {name for name, text in CHAPTERS.items() if blocks(text, "python") and text != INTRODUCTION}
    assert with_python == tested - {"Notifications"}
