"""`python -m benchmarks door`: the p99 of a list for honest clients while hostile connections hold what they can."""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from benchmarks import footage, machine, record
from benchmarks.api.h2load import MeasuredRow, Sample
from benchmarks.api.hostile_crowd import KINDS, Attack, hostile_crowd
from benchmarks.api.latency import GoalRatio
from benchmarks.cases import CASES
from benchmarks.process_stats import measure_time, private_memory_mb, tree_cpu_seconds
from benchmarks.reelmill import SERVICE_ERRORS, Reelmill, isolated_environment, running_service
from service.telemetry.metrics import CONNECTIONS, CONNECTIONS_CLOSED

FRAME_SIZE, FRAME_COUNT = (320, 180), 60
PATH = "/api/experiments"
RATIO_LIMIT = 5.0


@dataclass(frozen=True, slots=True)
class DoorRequest:
    """The options of the command."""

    connections: int
    seconds: int
    rate: int
    results: Path


def measure(request: DoorRequest) -> int:
    """Run the command; the exit code is 1 if an honest request failed or the limit is missed."""
    console = Console(soft_wrap=True)
    try:
        with tempfile.TemporaryDirectory(prefix="reelmill-bench-", dir=footage.cache_folder().parent) as name:
            rows, faults = _measure_in(request, Path(name))
    except SERVICE_ERRORS as error:
        console.print(f"not measured: {error}", style="red", markup=False)
        return 1
    for row in rows:
        console.print(str(row), markup=False, style="dim")
    for fault in faults:
        console.print(f"failed: {fault}", style="red", markup=False)
    label = f"p99 of {PATH} with {request.connections} hostile connections of {len(KINDS)} kinds, relative to idle"
    ratio = GoalRatio(label, (rows[1]["p99_ms"] / rows[0]["p99_ms"],), RATIO_LIMIT)
    console.print(str(ratio), markup=False)
    if faults:
        return 1
    facts = machine.facts()
    console.print(f"rows: {record.write_rows(request.results, machine.label(facts['machine']), rows, facts)}")
    return int(ratio.is_missed)


def _measure_in(request: DoorRequest, scratch: Path) -> tuple[list[dict[str, Any]], list[str]]:
    frames = footage.load_or_create(FRAME_COUNT, FRAME_SIZE, footage.cache_folder()).frames[0].parent
    own = isolated_environment(scratch / "home", REELMILL_LOG_LEVEL="WARNING", REELMILL_RATE_LIMIT="none")
    with (
        own as settings,
        (scratch / "service.log").open("wb") as log,
        running_service(settings, frames, log) as reelmill,
    ):
        job = reelmill.submit(CASES[0])
        reelmill.wait_for_end(job)
        reelmill.runner.run(reelmill.connection.execute("UPDATE renders SET status = 'queued'"))  # events do not end
        httpx.get(f"{reelmill.url}/openapi.json", timeout=60, trust_env=False)  # it is made once

        def sample(state: str) -> MeasuredRow:
            with measure_time(lambda: tree_cpu_seconds([reelmill.pid("api")])) as timing:
                measured = asyncio.run(_measure_honest(request, reelmill))
            row = _to_row(request, reelmill, state) | {"api_cpu_s": round(timing.cpu, 2)}
            return MeasuredRow(row | measured.to_row(), measured.faults())

        return _compare(request, reelmill, job, sample)


def _compare(
    request: DoorRequest, reelmill: Reelmill, job: str, sample: Callable[[str], MeasuredRow]
) -> tuple[list[dict[str, Any]], list[str]]:
    idle = sample("idle")
    port = int(reelmill.url.rpartition(":")[2])
    with hostile_crowd(Attack(port, reelmill.token, job, request.connections)):
        attacked = sample("attacked")
    return [idle.row, attacked.row], idle.faults + attacked.faults


async def _measure_honest(request: DoorRequest, reelmill: Reelmill) -> Sample:
    """`rate` requests a second for `seconds`, each begun in time whether others were answered or not.

    The client connects again if the server has closed an idle connection, as clients do: that is part of the latency.
    """
    statuses, latencies = Counter[int](), list[int]()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=10)
    transport = httpx.AsyncHTTPTransport(retries=2, limits=limits)
    headers = {"Authorization": f"Bearer {reelmill.token}"}
    async with (
        httpx.AsyncClient(base_url=reelmill.url, headers=headers, transport=transport, timeout=30) as client,
        asyncio.TaskGroup() as group,
    ):

        async def ask() -> None:
            began = time.perf_counter()
            statuses[await _status(client)] += 1
            latencies.append(round((time.perf_counter() - began) * 1e6))

        start = time.perf_counter()
        for number in range(request.rate * request.seconds):
            await asyncio.sleep(max(start + number / request.rate - time.perf_counter(), 0))
            group.create_task(ask())
    return Sample(request.rate * request.seconds, statuses, latencies)


async def _status(client: httpx.AsyncClient) -> int:
    """The status of one list; 0 if it was not answered twice."""
    for _ in range(2):
        with suppress(httpx.HTTPError):
            return (await client.get(PATH)).status_code
    return 0


def _to_row(request: DoorRequest, reelmill: Reelmill, state: str) -> dict[str, Any]:
    """What the API says about its connections when the measurement ends."""
    metrics = reelmill.client.get("/metrics").raise_for_status().text.splitlines()
    closed = [line for line in metrics if line.startswith(f"{CONNECTIONS_CLOSED._name}_total{{")]
    open_now = [line for line in metrics if line.startswith(f"{CONNECTIONS._name} ")]
    return {
        "benchmark": "door",
        "path": PATH,
        "state": state,
        "hostile": request.connections if state == "attacked" else 0,
        "rate": request.rate,
        "seconds": request.seconds,
        "open": int(float(open_now[0].split()[1])),
        "closed": {line.split('"')[1]: int(float(line.rpartition(" ")[2])) for line in closed},
        "api_mb": round(private_memory_mb(reelmill.pid("api"))),
    }
