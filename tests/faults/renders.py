"""The renders of a storm: what was submitted, accepted, cancelled and deleted, and how all of it has ended."""

import hashlib
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.support.data.footage import frame_jpeg
from tests.support.patience import PATIENCE_S
from tests.support.processes.api import make_dataset, receipt_lines
from tests.support.processes.up import RunningUp, running_up

FRAMES = {f"f{number:03d}.jpg": frame_jpeg(number, (320, 240)) for number in range(90)}
MAX_UNFINISHED, END_TIMEOUT_S = 6, 300.0
ENDED = ("succeeded", "failed", "cancelled")
DUPLICATE_SUBMITS = 12
Body = dict[str, Any]


@dataclass
class Renders:
    """`accepted`: job -> its request. Of those in `cancelled` and `deleted` we wanted no video, whether or not the
    request to do so was answered."""

    up: RunningUp
    random: random.Random
    dataset: dict[str, Any] = field(default_factory=dict)
    accepted: dict[str, Body] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)
    duplicates: list[str] = field(default_factory=list)

    def prepare(self) -> None:
        self.dataset = make_dataset(self.up.client, FRAMES)

    def submit(self) -> None:
        """One more render, unless enough are under way. What is answered 202 or 200 is accepted."""
        with suppress(httpx.HTTPError, ValueError, KeyError):
            if len(self.list_unfinished()) < MAX_UNFINISHED:
                self.send(self.make_body())

    def make_body(self) -> Body:
        body = {"experiment_id": self.dataset["experiment_id"], "decimation_factor": self.random.randint(1, 3)}
        return body | {"fps": self.random.randint(5, 60), "width": self.random.choice((160, 320, 480)) * 2}

    def send(self, body: Body, key: str | None = None) -> str | None:
        """The job if it is accepted."""
        headers = {"Idempotency-Key": key} if key else {}
        answer = self.up.client.post("/api/videos/generate", json=body, headers=headers)
        if answer.status_code >= 400:
            self.refused[str(answer.status_code)] += 1
            return None
        job = str(answer.json()["job_id"])
        self.accepted.setdefault(job, body)
        return job

    def list_unfinished(self) -> list[str]:
        return self._list(("queued", "running"))

    def list_finished(self) -> list[str]:
        """Those that we want."""
        return [job for job in self._list(("succeeded",)) if job not in self.cancelled | self.deleted]

    def _list(self, states: Sequence[str]) -> list[str]:
        rows = self.up.client.get("/api/videos", params={"limit": 100}).raise_for_status().json()
        return [row["job_id"] for row in rows if row["status"] in states and row["job_id"] in self.accepted]

    def cancel(self) -> None:
        job = self.random.choice(self.list_unfinished())
        self.cancelled.add(job)
        self.up.client.post(f"/api/videos/{job}/cancel").raise_for_status()

    def cancel_at_once(self) -> None:
        """Before anything of it has begun, or just as it begins."""
        job = self.send(self.make_body())
        if job is None:
            raise IndexError
        self.cancelled.add(job)
        self.up.client.post(f"/api/videos/{job}/cancel").raise_for_status()

    def cancel_and_retry(self) -> None:
        job = self.random.choice(self.list_unfinished())
        self.up.client.post(f"/api/videos/{job}/cancel")
        with suppress(TimeoutError):  # it had been done before
            self.up.wait(lambda: self.up.client.post(f"/api/videos/{job}/retry"), lambda answer: "status" in answer, 20)
            return
        if self.up.client.get(f"/api/videos/{job}").raise_for_status().json()["status"] == "cancelled":
            raise AssertionError(f"{job} is cancelled, and cannot be retried")

    def change_priority(self) -> None:
        job = self.random.choice(self.list_unfinished())
        self.up.client.patch(f"/api/videos/{job}", json={"priority": self.random.randint(0, 9)})

    def delete_and_submit_again(self) -> None:
        job = self.random.choice(self.list_finished())
        self._delete(job, {})

    def delete_while_it_runs(self) -> None:
        job = self.random.choice(self.list_unfinished())
        self._delete(job, {"force": "true"})

    def _delete(self, job: str, how: dict[str, str]) -> None:
        self.deleted.add(job)
        self.up.client.delete(f"/api/videos/{job}", params=how).raise_for_status()
        again = self.send(self.accepted[job])
        if again == job:
            self.duplicates.append(f"{job} was deleted, and given out again")

    def submit_many_times(self) -> None:
        """The same request at the same moment is one render."""
        body, key = self.make_body(), f"key-{self.random.random()}"

        def send(number: int) -> str | None:
            with suppress(httpx.HTTPError, ValueError, KeyError):
                return self.send(body, key if number % 2 else None)
            return None

        with ThreadPoolExecutor(DUPLICATE_SUBMITS) as pool:
            jobs = set(pool.map(send, range(DUPLICATE_SUBMITS))) - {None}
        if len(jobs) > 1:
            self.duplicates.append(f"one request became {sorted(map(str, jobs))}")
        if not jobs:
            raise IndexError

    def wait_for_all(self) -> dict[str, dict[str, Any]]:
        """Job -> its last status, of those that were accepted and not deleted; `unfinished` if it does not end."""
        return {job: self._last_status(job) for job in self.accepted if job not in self.deleted}

    def _last_status(self, job: str) -> dict[str, Any]:
        try:
            return self._end_of(job)
        except TimeoutError:
            return {"status": "unfinished", "error": f"not after {END_TIMEOUT_S:.0f} s"}

    def _end_of(self, job: str) -> dict[str, Any]:
        return self.up.wait(
            lambda: self.up.client.get(f"/api/videos/{job}"),
            lambda answer: answer.get("status") in ENDED,
            END_TIMEOUT_S,
        )

    def read_videos(self, ended: dict[str, dict[str, Any]]) -> dict[str, str]:
        """SHA-256 of the videos of those that have succeeded."""
        return {job: self.video_sha256(job) for job, status in ended.items() if status["status"] == "succeeded"}

    def make_undisturbed(self, body: Body) -> tuple[str, str]:
        """The job, and the SHA-256 of its video."""
        job = self.send(body | {"experiment_id": self.dataset["experiment_id"]})
        assert job is not None, self.refused
        return job, self.video_sha256(job)

    def video_sha256(self, job: str) -> str:
        """Of the bytes that are served; a video that was lost is made again first."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            status = self._end_of(job)
            with suppress(httpx.HTTPError):
                answer = self.up.client.get(f"/api/videos/{job}/video", follow_redirects=True)
                if answer.status_code == 200:
                    digest = hashlib.sha256(answer.content).hexdigest()
                    assert digest == self._end_of(job)["video_sha256"], "what is served is what is told"
                    return digest
            time.sleep(0.5)
        raise TimeoutError(status)


def find_wrong(renders: Renders, videos: dict[str, str], folder: Path) -> dict[str, str]:
    """Those of `videos` (job -> SHA-256) that differ from what another service makes of the same frames in `folder`,
    while nothing happens to it, and where: job -> the first frame of the receipt that had another fate."""
    bodies = {str(renders.accepted[job]): renders.accepted[job] for job in videos}
    folder.mkdir()
    with running_up(folder, slots=2) as up:
        calm = Renders(up, random.Random(0))
        calm.prepare()
        right = {name: calm.make_undisturbed(body) for name, body in bodies.items()}
        wrong = {job: right[str(renders.accepted[job])] for job in videos}
        wrong = {job: calm_job for job, (calm_job, digest) in wrong.items() if digest != videos[job]}
        return {job: _differing_fate(renders.up, job, up, calm_job) for job, calm_job in wrong.items()}


def _differing_fate(up: RunningUp, job: str, calm: RunningUp, calm_job: str) -> str:
    for line, right in zip(receipt_lines(up.client, job), receipt_lines(calm.client, calm_job), strict=True):
        if (line["outcome"], line["decoder"]) != (right["outcome"], right["decoder"]):
            return json.dumps(line)
    return "every frame is said to be shown as it should"
