"""`python -m benchmarks soak`: many concurrent clients read, query, render and watch; nothing may fail or leak."""

import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import footage, machine, record
from benchmarks.api.load_clients import LoadClients, LoadStats
from benchmarks.process_stats import count_open_sockets, private_memory_mb
from benchmarks.reelmill import SERVICE_ERRORS, Reelmill, isolated_environment, running_service
from service.client.requests import json_or_raise
from service.commands.tokens import mint_local_token
from service.config import Settings

FRAME_SIZE, FRAME_COUNT = (320, 180), 60
SUBJECT_COUNT = 20
SCOPES = ("catalog:read", "videos:read", "videos:render", "query:run")
# Memory growth allowed per process after the warm-up: freed blocks that malloc keeps.
MEMORY_MARGIN_MB = 16.0
# Time for sockets to close and memory to return after the last client has left.
IDLE_TIMEOUT_S = 20.0
DRAIN_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """Resources of the two idle processes."""

    api_mb: float
    worker_mb: float
    # Of the API, without its database pools, which keep their connections.
    sockets: int
    # Database connections that are active or idle in a transaction.
    busy_connections: int

    def increases_over(self, before: "ResourceUsage") -> list[str]:
        """Readings that did not return to their level."""
        found = [
            f"the {name} process holds {now:.0f} MB, {was:.0f} before"
            for name, now, was in (
                ("api", self.api_mb, before.api_mb),
                ("worker", self.worker_mb, before.worker_mb),
            )
            if now > was + MEMORY_MARGIN_MB
        ]
        if self.sockets > before.sockets:
            found.append(f"{self.sockets} sockets are open, {before.sockets} were before")
        if self.busy_connections:
            found.append(f"{self.busy_connections} database connections are in a transaction")
        return found


def measure(clients: int, seconds: float, results: Path) -> int:
    """Run the command; the exit code is 1 if something failed or leaked."""
    console = Console(soft_wrap=True)
    try:
        with tempfile.TemporaryDirectory(prefix="reelmill-bench-", dir=footage.cache_folder().parent) as name:
            row, faults = _run_soak(clients, seconds, Path(name))
    except SERVICE_ERRORS as error:
        console.print(f"benchmarks: {error}", style="red", markup=False)
        return 1
    return _report(console, row, faults, results)


def _run_soak(clients: int, seconds: float, scratch: Path) -> tuple[dict[str, Any], list[str]]:
    frames = footage.load_or_create(FRAME_COUNT, FRAME_SIZE, footage.cache_folder()).frames[0].parent
    own = isolated_environment(scratch / "home", REELMILL_LOG_LEVEL="INFO", REELMILL_RATE_LIMIT="none")
    with (
        own as settings,
        (scratch / "service.log").open("wb") as log,
        running_service(settings, frames, log) as reelmill,
    ):
        tokens = _visitor_tokens(settings, reelmill)
        _run_clients(reelmill, tokens, clients, max(seconds / 4, 2))
        before = _wait_until_idle(reelmill, lambda usage: usage.busy_connections == 0)
        stats = _run_clients(reelmill, tokens, clients, seconds)
        after = _wait_until_idle(reelmill, lambda usage: not usage.increases_over(before))
    faults = [f"{what} ({count} times)" for what, count in stats.faults.items()]
    faults += after.increases_over(before) + _logged_errors(scratch / "service.log") + missing_activity(stats)
    return {"benchmark": "soak", "clients": clients, "seconds": seconds} | _to_row(stats, before, after), faults


def _visitor_tokens(settings: Settings, reelmill: Reelmill) -> list[str]:
    """Make the experiment public; returns tokens of subjects that do not own it."""
    path = f"/api/experiments/{reelmill.dataset['experiment_id']}"
    etag = reelmill.client.get(path).raise_for_status().headers["ETag"]
    json_or_raise(reelmill.client.patch(path, json={"visibility": "public"}, headers={"If-Match": etag}))
    return [
        mint_local_token(settings, f"visitor-{number}", SCOPES, timedelta(hours=12)) for number in range(SUBJECT_COUNT)
    ]


def _run_clients(reelmill: Reelmill, tokens: list[str], clients: int, seconds: float) -> LoadStats:
    return asyncio.run(LoadClients(reelmill.url, tokens, reelmill.dataset).run(clients, seconds))


def _wait_until_idle(reelmill: Reelmill, condition: Callable[[ResourceUsage], bool]) -> ResourceUsage:
    """The usage after the last render has ended, once `condition` holds or IDLE_TIMEOUT_S have passed."""
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    while reelmill.count_unfinished_tasks() and time.monotonic() < deadline:
        time.sleep(0.2)
    deadline = time.monotonic() + IDLE_TIMEOUT_S
    time.sleep(2)
    while not condition(usage := _read_usage(reelmill)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return usage


def _read_usage(reelmill: Reelmill) -> ResourceUsage:
    api, worker = reelmill.pid("api"), reelmill.pid("worker")
    return ResourceUsage(
        private_memory_mb(api),
        private_memory_mb(worker),
        count_open_sockets(api, reelmill.database_port()),
        reelmill.count_busy_connections(),
    )


def _logged_errors(log: Path) -> list[str]:
    """The distinct errors that the service logged."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    wrong = [line for line in lines if line["level"] in ("error", "critical")]
    return sorted({f"the service logged: {line['logger']}: {line['event']}"[:200] for line in wrong})


def missing_activity(stats: LoadStats) -> list[str]:
    """Activities without which the soak proves nothing, and renders that failed."""
    done = {"events": stats.events, "renders": stats.renders["succeeded"]} | {
        role: len(stats.seconds.get(role, ())) for role in ("reader", "asker", "renderer")
    }
    failed = [f"{count} renders {how}" for how, count in stats.renders.items() if how != "succeeded"]
    return [f"no {what}: no client of this kind was active" for what, count in done.items() if not count] + failed


def _to_row(stats: LoadStats, before: ResourceUsage, after: ResourceUsage) -> dict[str, Any]:
    figures: dict[str, Any] = {"answers": stats.statuses, "events": stats.events, "renders": stats.renders}
    for role, seconds in sorted(stats.seconds.items()):
        ordered = sorted(seconds)
        figures |= {f"{role}_p50_ms": _percentile_ms(ordered, 0.5), f"{role}_p99_ms": _percentile_ms(ordered, 0.99)}
    figures |= {"api_mb": [before.api_mb, after.api_mb], "worker_mb": [before.worker_mb, after.worker_mb]}
    return figures | {"sockets": [before.sockets, after.sockets]}


def _percentile_ms(ordered: list[float], part: float) -> float:
    return round(ordered[min(int(part * len(ordered)), len(ordered) - 1)] * 1000, 1)


def _report(console: Console, row: dict[str, Any], faults: list[str], results: Path) -> int:
    for fault in faults:
        console.print(f"failed: {fault}", style="red", markup=False)
    console.print(f"{sum(row['answers'].values())} responses {dict(row['answers'])}, {row['events']} events")
    console.print(f"API {row['api_mb']} MB, worker {row['worker_mb']} MB, sockets {row['sockets']}", markup=False)
    if faults:
        return 1
    facts = machine.facts()
    path = record.write_rows(results, machine.label(facts["machine"]), [row], facts)
    console.print(f"rows: {path}", markup=False)
    return 0
