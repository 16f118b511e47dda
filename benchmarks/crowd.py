"""Clients that use the service at the same time, each in its own way, until the time is up."""

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

ROLES = ("reader", "reader", "reader", "asker", "asker", "watcher", "watcher", "renderer")
PAUSE_S = (0.2, 1.0)
TIMEOUT_S = 30.0
"""No answer takes longer on any machine that can carry the crowd; one that does is a fault."""
GOOD = {200, 202, 429}
"""A full queue and too many queries at once are told as 429, which is right under such load."""
ENDED = ("succeeded", "failed", "cancelled")
PATHS = ("/api/experiments", "/api/experiments/{experiment_id}", "/api/datasets/{id}", "/api/videos", "/health")
FRAMES = "/api/datasets/{id}/frames?limit=20"
RENDERS_KNOWN = 20


@dataclass(slots=True)
class Tally:
    """What the crowd was told."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    """Of the answers to each role."""
    statuses: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    events: int = 0
    renders: Counter[str] = field(default_factory=Counter)
    """By how they ended while their client watched."""


@dataclass(slots=True)
class Crowd:
    """`tokens` of the subjects that the clients act for, in turn; `dataset` is one that all of them may see."""

    url: str
    tokens: Sequence[str]
    dataset: dict[str, Any]
    tally: Tally = field(default_factory=Tally)
    jobs: deque[str] = field(default_factory=lambda: deque(maxlen=RENDERS_KNOWN))
    """Renders asked for lately, for those who watch."""

    async def visit(self, clients: int, seconds: float) -> Tally:
        """Let them in, and wait until all have left."""
        end = time.monotonic() + seconds
        visits = [asyncio.create_task(Client(self, number, end).stay()) for number in range(clients)]
        _, stuck = await asyncio.wait(visits, timeout=seconds + 2 * TIMEOUT_S)
        for visit in stuck:
            visit.cancel()
        if stuck:
            self.tally.faults["clients did not get away"] += len(stuck)
        for visit in visits:
            if visit.done() and not visit.cancelled() and (error := visit.exception()):
                raise error
        return self.tally


class Client:
    """One visitor: a role, a subject, connections of its own."""

    def __init__(self, crowd: Crowd, number: int, end: float) -> None:
        self._crowd, self._end = crowd, end
        self._role = ROLES[number % len(ROLES)]
        self._random = random.Random(number)
        self._known = crowd.dataset
        self._http = httpx.AsyncClient(
            base_url=crowd.url,
            headers={"Authorization": f"Bearer {crowd.tokens[number % len(crowd.tokens)]}"},
            timeout=TIMEOUT_S,
            trust_env=False,
            verify=False,
        )

    async def stay(self) -> None:
        acts: dict[str, Callable[[], Awaitable[None]]] = {
            "reader": self._read,
            "asker": self._ask,
            "watcher": self._watch,
            "renderer": self._render,
        }
        async with self._http:
            await self._pause()
            while time.monotonic() < self._end:
                try:
                    await acts[self._role]()
                except httpx.HTTPError as error:
                    self._crowd.tally.faults[f"{self._role}: {type(error).__name__}"] += 1
                await self._pause()

    async def _pause(self) -> None:
        await asyncio.sleep(self._random.uniform(*PAUSE_S))

    async def _told(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        began = time.monotonic()
        answer = await self._http.request(method, path, json=body)
        self._crowd.tally.seconds.setdefault(self._role, []).append(time.monotonic() - began)
        self._judge(answer)
        return answer

    def _judge(self, answer: httpx.Response) -> None:
        tally, status = self._crowd.tally, answer.status_code
        tally.statuses[str(status)] += 1
        if status not in GOOD:
            tally.faults[f"{self._role}: {status} {reason(answer)}"] += 1

    async def _read(self) -> None:
        await self._told("GET", self._random.choice((*PATHS, FRAMES)).format(**self._known))

    async def _ask(self) -> None:
        filters = [
            {"column": "dataset_id", "op": "eq", "value": self._known["id"]},
            {"column": "index", "op": "ge", "value": self._random.randrange(50)},
        ]
        counted = {"aggregates": [{"function": "count"}]} if self._random.random() < 0.5 else {"limit": 20}
        await self._told("POST", "/api/database/query", {"table": "frames", "filters": filters} | counted)

    async def _render(self) -> None:
        body = {
            "experiment_id": self._known["experiment_id"],
            "decimation_factor": self._random.randint(1, 20),
            "fps": self._random.randint(5, 60),
        }
        answer = await self._told("POST", "/api/videos/generate", body)
        if answer.status_code in (200, 202):
            job = answer.json()["job_id"]
            self._crowd.jobs.append(job)
            await self._wait(job)

    async def _wait(self, job: str) -> None:
        while time.monotonic() < self._end:
            answer = await self._told("GET", f"/api/videos/{job}")
            if answer.status_code == 200 and (status := answer.json())["status"] in ENDED:
                self._crowd.tally.renders[status["status"]] += 1
                if status["status"] == "succeeded":
                    await self._told("GET", f"/api/videos/{job}/video")
                return
            await self._pause()

    async def _watch(self) -> None:
        """The events of a render to their end, or, half of the time, until the watcher has seen enough."""
        if not self._crowd.jobs:
            return
        job, patience = self._random.choice(self._crowd.jobs), self._random.choice((0.5, TIMEOUT_S))
        leave = min(time.monotonic() + patience, self._end)
        async with self._http.stream("GET", f"/api/videos/{job}/events") as stream:
            self._judge(stream)
            async for line in stream.aiter_lines():
                self._crowd.tally.events += line.startswith("event: ")
                if time.monotonic() > leave:
                    return


def reason(answer: httpx.Response) -> str:
    """What the service said, or at least what was asked."""
    with suppress(ValueError, httpx.ResponseNotRead):
        told = answer.json()
        failed = [f"{name}: {check['detail']}" for name, check in told.get("checks", {}).items() if not_well(check)]
        return "; ".join(failed) or str(told.get("detail", told))
    return f"to {answer.request.method} {answer.url.path}"


def not_well(check: dict[str, Any]) -> bool:
    return check["status"] not in ("ok", "absent")
