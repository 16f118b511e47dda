"""Many pages that show the list of renders, without their browsers: each asks what the page asks, as often.

They are in a process of their own: what they do with the answers is no latency of the service.
"""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import httpx

from benchmarks.api.h2load import Sample
from benchmarks.reelmill import Reelmill

PATH = "/api/experiments"
# As `service/studio/views/renders.js`: about every ten seconds whether another render is the first of the list, the
# whole page of it after six looks, and one stream for all that are not done.
LIST_PATH, LOOK_PATH, LOOK_AGAIN_S, LOOKS = "/api/videos?limit=50&count=exact", "/api/videos?limit=1", 10.0, 6
RATE, GOAL_RATIO = 20, 2.0


def measure(reelmill: Reelmill, dataset: str, pages: int, seconds: float) -> list[dict[str, Any]]:
    """Latency of a list at RATE requests a second: idle, while a render runs, and with the pages beside it."""
    sample, events = asyncio.run(_measure(reelmill, None, 0, seconds))
    rows = [_row("idle", 0, sample, events)]
    for number, open_pages in enumerate((0, pages)):
        job = _submit(reelmill, dataset, number)
        sample, events = asyncio.run(_measure(reelmill, job, open_pages, seconds))
        rows.append(_row("rendering", open_pages, sample, events))
        reelmill.client.post(f"/api/videos/{job}/cancel")
        reelmill.wait_for_end(job)
    return rows


def _submit(reelmill: Reelmill, dataset: str, number: int) -> str:
    """A render that is long enough, and shares no segment with those before."""
    body = {
        "experiment_id": reelmill.dataset["experiment_id"],
        "dataset_id": dataset,
        "decimation_factor": 1,
        "fps": 20 + number,
    }
    return str(reelmill.client.post("/api/videos/generate", json=body).raise_for_status().json()["job_id"])


def _row(state: str, pages: int, sample: Sample, events: int) -> dict[str, Any]:
    return {
        "figure": "pages",
        "state": state,
        "pages": pages,
        "events": events,
        "faults": sample.faults(),
    } | sample.to_row()


async def _measure(reelmill: Reelmill, job: str | None, pages: int, seconds: float) -> tuple[Sample, int]:
    with _open_pages(reelmill, job, pages) as connection:
        async with _client(reelmill.url, reelmill.token) as client:
            sample = await _ask(client, seconds)
        connection.send("close")
        return sample, await asyncio.to_thread(connection.recv)


def _client(url: str, token: str) -> httpx.AsyncClient:
    headers, limits = {"Authorization": f"Bearer {token}"}, httpx.Limits(max_connections=None)
    return httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=60, trust_env=False)


@contextmanager
def _open_pages(reelmill: Reelmill, job: str | None, count: int) -> Iterator[Connection]:
    """A process with the pages, when all are open. Send it anything, and it answers with the number of its events."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_show_pages, args=(theirs, reelmill.url, reelmill.token, job, count))
    process.start()
    try:
        ours.recv()
        yield ours
    finally:
        process.kill()
        process.join()


def _show_pages(connection: Connection, url: str, token: str, job: str | None, count: int) -> None:
    asyncio.run(_show(connection, url, token, job, count))


async def _show(connection: Connection, url: str, token: str, job: str | None, count: int) -> None:
    events: Counter[str] = Counter()
    async with _client(url, token) as client:
        shown = [(_list(client), _follow(client, job, events)) for _ in range(count)]
        tasks = [asyncio.create_task(work) for page in shown for work in page]
        await asyncio.sleep(min(count, 2))  # all are connected
        connection.send("open")
        await asyncio.to_thread(connection.recv)
        connection.send(events["status"])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _list(client: httpx.AsyncClient) -> None:
    await asyncio.sleep(LOOK_AGAIN_S * random.random())  # they were not opened at the same moment
    for look in itertools.count(random.randrange(LOOKS)):
        with suppress(httpx.HTTPError):
            await client.get(LOOK_PATH if look % (LOOKS + 1) else LIST_PATH)
        await asyncio.sleep(LOOK_AGAIN_S * random.uniform(0.8, 1.2))


async def _follow(client: httpx.AsyncClient, job: str | None, events: Counter[str]) -> None:
    while True:
        with suppress(httpx.HTTPError):
            async with client.stream("GET", f"/api/videos/events?job={job}") as answer:
                async for line in answer.aiter_lines():
                    events["status"] += line.startswith("event: status")
        await asyncio.sleep(1)


async def _ask(client: httpx.AsyncClient, seconds: float) -> Sample:
    """Requests begin in time whether others were answered or not."""
    statuses: Counter[int] = Counter()
    latencies: list[int] = []

    async def ask() -> None:
        begun = time.perf_counter()
        statuses[(await client.get(PATH)).status_code] += 1
        latencies.append(round((time.perf_counter() - begun) * 1e6))

    start, total = time.perf_counter(), round(RATE * seconds)
    async with asyncio.TaskGroup() as group:
        for number in range(total):
            await asyncio.sleep(max(start + number / RATE - time.perf_counter(), 0))
            group.create_task(ask())
    return Sample(total, statuses, latencies)
