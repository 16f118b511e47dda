"""Submits renders to `reelmill up`, injects faults meanwhile, and counts what became of both."""

import hashlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.data.footage import frame_jpeg
from tests.support.processes.api import make_dataset
from tests.support.processes.up import RunningUp

FRAMES = {f"f{number:03d}.jpg": frame_jpeg(number, (320, 240)) for number in range(90)}
MAX_UNFINISHED, RECOVERY_S, FREEZE_S = 6, 60.0, 3.0
PROCESSES = ("slot", "worker", "api", "launcher", "database", "backend")


@dataclass
class Storm:
    """`accepted`: job -> its request; `cancelled` are those of which we wanted no video."""

    up: RunningUp
    random: random.Random
    dataset: dict[str, Any] = field(default_factory=dict)
    accepted: dict[str, dict[str, Any]] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    injected: Counter[str] = field(default_factory=Counter)
    recovered_s: list[float] = field(default_factory=list)

    def run(self, seconds: float) -> dict[str, Any]:
        """What was injected and accepted, and how all of it ended."""
        self.dataset = make_dataset(self.up.client, FRAMES)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.submit()
            self.inject()
            time.sleep(self.random.uniform(0.2, 1.5))
        return self.settle()

    def submit(self) -> None:
        """One more render, unless enough are under way. What is answered 202 or 200 is accepted."""
        body = {"experiment_id": self.dataset["experiment_id"], "decimation_factor": self.random.randint(1, 3)}
        body |= {"fps": self.random.randint(5, 60), "width": self.random.choice((160, 320, 480)) * 2}
        with suppress(httpx.HTTPError, ValueError, KeyError):
            if len(self._list_unfinished()) < MAX_UNFINISHED:
                answer = self.up.client.post("/api/videos/generate", json=body)
                self.accepted.setdefault(answer.raise_for_status().json()["job_id"], body)

    def _list_unfinished(self) -> list[str]:
        rows = self.up.client.get("/api/videos", params={"limit": 100}).raise_for_status().json()
        return [row["job_id"] for row in rows if row["status"] in ("queued", "running")]

    def inject(self) -> None:
        """One fault, then wait until the service is whole again."""
        name, fault = self.random.choice(self.faults())
        with suppress(IndexError, OSError, httpx.HTTPError, ValueError):  # what it is about is away at this moment
            fault()
            self.injected[name] += 1
            started = time.monotonic()
            self.up.wait(lambda: self.up.client.get("/health"), _is_whole, RECOVERY_S)
            self.recovered_s.append(time.monotonic() - started)

    def faults(self) -> list[tuple[str, Callable[[], None]]]:
        kills = [(f"kill the {each}", lambda each=each: self._signal(each, signal.SIGKILL)) for each in PROCESSES]
        stops = [(f"freeze the {each}", lambda each=each: self._freeze(each)) for each in PROCESSES]
        return [
            *kills,
            *stops,
            ("stop the worker", lambda: self._signal("worker", signal.SIGTERM)),
            ("hang the worker", lambda: self._signal("worker", signal.SIGSTOP)),
            ("hang the api", lambda: self._signal("api", signal.SIGSTOP)),
            ("damage a segment", lambda: self._change_object("segments", _flip)),
            ("cut a segment", lambda: self._change_object("segments", lambda data: data[: len(data) // 2])),
            ("lose a segment", lambda: self._change_object("segments", None)),
            ("lose a video", lambda: self._change_object("renders", None)),
            ("cancel and retry", self._cancel_and_retry),
            ("cancel", self._cancel),
        ]

    def _signal(self, what: str, number: signal.Signals) -> None:
        os.kill(self.up.find(what), number)

    def _freeze(self, what: str) -> None:
        pid = self.up.find(what)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(FREEZE_S)
        os.kill(pid, signal.SIGCONT)

    def _change_object(self, kind: str, change: Callable[[bytes], bytes] | None) -> None:
        files = sorted((self.up.home / "objects" / "reelmill" / kind).rglob("*.mp4"))
        file = self.random.choice(files)
        file.write_bytes(change(file.read_bytes())) if change else file.unlink()

    def _cancel_and_retry(self) -> None:
        job = self.random.choice(self._list_unfinished())
        self.up.client.post(f"/api/videos/{job}/cancel")
        self.up.wait(lambda: self.up.client.post(f"/api/videos/{job}/retry"), lambda answer: "status" in answer, 20)

    def _cancel(self) -> None:
        job = self.random.choice(self._list_unfinished())
        self.up.client.post(f"/api/videos/{job}/cancel").raise_for_status()
        self.cancelled.add(job)

    def settle(self) -> dict[str, Any]:
        """Wait until everything has ended, and compare each video with one that nothing disturbed."""
        ended = {job: self._end_of(job) for job in self.accepted}
        right = wrong = 0
        references: dict[str, str] = {}
        calm = make_dataset(self.up.client, FRAMES)
        for job, status in ended.items():
            if status["status"] != "succeeded":
                continue
            body = self.accepted[job] | {"experiment_id": calm["experiment_id"]}
            if (key := str(body)) not in references:
                submitted = self.up.client.post("/api/videos/generate", json=body).raise_for_status().json()
                references[key] = self._video_sha256(submitted["job_id"])
            same = self._video_sha256(job) == references[key]
            right, wrong = right + same, wrong + (not same)
        lost = [job for job, status in ended.items() if status["status"] != "succeeded" and job not in self.cancelled]
        recovery = sorted(self.recovered_s) or [0.0]
        return {
            "kinds": len(self.injected),
            "injected": sum(self.injected.values()),
            "accepted": len(self.accepted),
            "right": right,
            "wrong": wrong,
            "cancelled": len([job for job in self.cancelled if ended[job]["status"] == "cancelled"]),
            "lost": {job: ended[job]["error"] for job in lost},
            "recovery_p50_s": round(recovery[len(recovery) // 2], 1),
            "recovery_p99_s": round(recovery[int(0.99 * (len(recovery) - 1))], 1),
            "by_kind": dict(self.injected),
        }

    def _end_of(self, job: str) -> dict[str, Any]:
        ended = ("succeeded", "failed", "cancelled")
        return self.up.wait(
            lambda: self.up.client.get(f"/api/videos/{job}"), lambda answer: answer.get("status") in ended, 240
        )

    def _video_sha256(self, job: str) -> str:
        """Of the bytes that are served; a video that was lost is made again first."""
        status = self._end_of(job)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                answer = self.up.client.get(f"/api/videos/{job}/video", follow_redirects=True)
                if answer.status_code == 200:
                    digest = hashlib.sha256(answer.content).hexdigest()
                    assert digest == self._end_of(job)["video_sha256"], "what is served is what is told"
                    return digest
            time.sleep(0.5)
            status = self._end_of(job)
        raise TimeoutError(status)


def _is_whole(health: dict[str, Any]) -> bool:
    checks = health.get("checks", {})
    return health.get("status") != "unhealthy" and checks.get("workers", {}).get("status") == "ok"


def _flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
