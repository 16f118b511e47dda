"""Concurrent clients of the soak test, each with a role."""

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
PAUSE_S = (0.5, 2.0)
# Request timeout; slower responses count as faults.
TIMEOUT_S = 30.0
# 429 is expected under load: the queue is full, or too many queries run at once.
EXPECTED_STATUSES = {200, 202, 429}
TERMINAL_STATUSES = ("succeeded", "failed", "cancelled")
READ_PATHS = ("/api/experiments", "/api/experiments/{experiment_id}", "/api/datasets/{id}", "/api/videos", "/health")
FRAMES_PATH = "/api/datasets/{id}/frames?limit=20"
MAX_KNOWN_RENDERS = 20


@dataclass(slots=True)
class LoadStats:
    """Results of all clients."""

    # Response times, by role.
    seconds: dict[str, list[float]] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    events: int = 0
    # By final status, as seen by their client.
    renders: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class LoadClients:
    """`tokens` are distributed over the clients in turn; `dataset` is visible to all of them."""

    url: str
    tokens: Sequence[str]
    dataset: dict[str, Any]
    stats: LoadStats = field(default_factory=LoadStats)
    # Recent renders, for the watchers.
    jobs: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_KNOWN_RENDERS))

    async def run(self, clients: int, seconds: float) -> LoadStats:
        """Run the clients for `seconds` and wait until all have finished."""
        end = time.monotonic() + seconds
        tasks = [asyncio.create_task(LoadClient(self, number, end).run()) for number in range(clients)]
        _, stuck = await asyncio.wait(tasks, timeout=seconds + 2 * TIMEOUT_S)
        for task in stuck:
            task.cancel()
        if stuck:
            self.stats.faults["clients did not finish"] += len(stuck)
        for task in tasks:
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise error
        return self.stats


class LoadClient:
    """One client: a role, a subject, connections of its own."""

    def __init__(self, clients: LoadClients, number: int, end: float) -> None:
        self._clients, self._end = clients, end
        self._role = ROLES[number % len(ROLES)]
        self._random = random.Random(number)
        self._dataset = clients.dataset
        self._http = httpx.AsyncClient(
            base_url=clients.url,
            headers={"Authorization": f"Bearer {clients.tokens[number % len(clients.tokens)]}"},
            timeout=TIMEOUT_S,
            trust_env=False,
            verify=False,
        )

    async def run(self) -> None:
        acts: dict[str, Callable[[], Awaitable[None]]] = {
            "reader": self._read,
            "asker": self._query,
            "watcher": self._watch,
            "renderer": self._render,
        }
        async with self._http:
            await self._pause()
            while time.monotonic() < self._end:
                try:
                    await acts[self._role]()
                except httpx.HTTPError as error:
                    self._clients.stats.faults[f"{self._role}: {type(error).__name__}"] += 1
                await self._pause()

    async def _pause(self) -> None:
        await asyncio.sleep(self._random.uniform(*PAUSE_S))

    async def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        start = time.monotonic()
        response = await self._http.request(method, path, json=body)
        self._clients.stats.seconds.setdefault(self._role, []).append(time.monotonic() - start)
        self._record_response(response)
        return response

    def _record_response(self, response: httpx.Response) -> None:
        stats, status = self._clients.stats, response.status_code
        stats.statuses[str(status)] += 1
        if status not in EXPECTED_STATUSES and not is_statement_timeout(response):
            stats.faults[f"{self._role}: {status} {failure_reason(response)}"] += 1

    async def _read(self) -> None:
        await self._request("GET", self._random.choice((*READ_PATHS, FRAMES_PATH)).format(**self._dataset))

    async def _query(self) -> None:
        filters = [
            {"column": "dataset_id", "op": "eq", "value": self._dataset["id"]},
            {"column": "index", "op": "ge", "value": self._random.randrange(50)},
        ]
        counted = {"aggregates": [{"function": "count"}]} if self._random.random() < 0.5 else {"limit": 20}
        await self._request("POST", "/api/database/query", {"table": "frames", "filters": filters} | counted)

    async def _render(self) -> None:
        body = {
            "experiment_id": self._dataset["experiment_id"],
            "decimation_factor": self._random.randint(1, 20),
            "fps": self._random.randint(5, 60),
        }
        answer = await self._request("POST", "/api/videos/generate", body)
        if answer.status_code in (200, 202):
            job = answer.json()["job_id"]
            self._clients.jobs.append(job)
            await self._wait_for_render(job)

    async def _wait_for_render(self, job: str) -> None:
        while time.monotonic() < self._end:
            answer = await self._request("GET", f"/api/videos/{job}")
            if answer.status_code == 200 and (status := answer.json())["status"] in TERMINAL_STATUSES:
                self._clients.stats.renders[status["status"]] += 1
                if status["status"] == "succeeded":
                    await self._request("GET", f"/api/videos/{job}/video")
                return
            await self._pause()

    async def _watch(self) -> None:
        """Follow a render's events to the end or, half of the time, leave after half a second."""
        if not self._clients.jobs:
            return
        job, stay_s = self._random.choice(self._clients.jobs), self._random.choice((0.5, TIMEOUT_S))
        leave = min(time.monotonic() + stay_s, self._end)
        async with self._http.stream("GET", f"/api/videos/{job}/events") as stream:
            self._record_response(stream)
            async for line in stream.aiter_lines():
                self._clients.stats.events += line.startswith("event: ")
                if time.monotonic() > leave:
                    return


def failure_reason(response: httpx.Response) -> str:
    """The reason in the response, or else the request."""
    with suppress(ValueError, httpx.ResponseNotRead):
        body = response.json()
        failed = [
            f"{name}: {check['detail']}"
            for name, check in body.get("checks", {}).items()
            if check["status"] not in ("ok", "absent")
        ]
        return "; ".join(failed) or str(body.get("detail", body))
    return f"to {response.request.method} {response.url.path}"


def is_statement_timeout(response: httpx.Response) -> bool:
    """Whether a query was stopped at its time limit, which is expected under load."""
    return response.status_code == 422 and "statement_ms" in response.text
