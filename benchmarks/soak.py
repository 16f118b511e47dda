"""`python -m benchmarks soak`: many clients at once who read, query, render and watch; nothing may break or stay."""

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
from benchmarks.crowd import Crowd, Tally
from benchmarks.processes import own_mb, sockets
from benchmarks.reelmill import FAILED, Reelmill, own_environment, started
from service.config import Settings
from service.http_client import answered
from service.local_token import local_token

SIZE, FRAMES = (320, 180), 60
SUBJECTS = 20
SCOPES = ("catalog:read", "videos:read", "videos:render", "query:run")
LEVEL_MB = 16.0
"""What a process may hold more than after the warm-up: freed blocks that malloc keeps."""
IDLE_S = 20.0
"""Within this after the last client left, sockets are closed and memory is back."""
DRAIN_S = 120.0


@dataclass(frozen=True, slots=True)
class Held:
    """What the two processes hold while nobody asks."""

    api_mb: float
    worker_mb: float
    sockets: int
    """Of the API, without its pools of database connections: they grow to their size and stay."""
    busy_connections: int
    """Database connections that are not idle, or idle within a transaction."""

    def above(self, before: "Held") -> list[str]:
        """What did not go back to its level."""
        found = [
            f"the {name} process holds {now:.0f} MB, {was:.0f} before"
            for name, now, was in (
                ("api", self.api_mb, before.api_mb),
                ("worker", self.worker_mb, before.worker_mb),
            )
            if now > was + LEVEL_MB
        ]
        if self.sockets > before.sockets:
            found.append(f"{self.sockets} sockets are open, {before.sockets} were before")
        if self.busy_connections:
            found.append(f"{self.busy_connections} database connections are in a transaction")
        return found


def measure(clients: int, seconds: float, results: Path) -> int:
    """The whole command; 1 when something broke or stayed."""
    console = Console(soft_wrap=True)
    try:
        with tempfile.TemporaryDirectory(prefix="reelmill-bench-", dir=footage.cache_folder().parent) as name:
            figure, faults = _soaked(clients, seconds, Path(name))
    except FAILED as error:
        console.print(f"benchmarks: {error}", style="red", markup=False)
        return 1
    return _conclude(console, figure, faults, results)


def _soaked(clients: int, seconds: float, scratch: Path) -> tuple[dict[str, Any], list[str]]:
    frames = footage.made(FRAMES, SIZE, footage.cache_folder()).frames[0].parent
    own = own_environment(scratch / "home", REELMILL_LOG_LEVEL="INFO", REELMILL_RATE_LIMIT="none")
    with own as settings, (scratch / "service.log").open("wb") as log, started(settings, frames, log) as reelmill:
        tokens = _tokens(settings, reelmill)
        _visited(reelmill, tokens, clients, max(seconds / 4, 2))
        before = _at_rest(reelmill, lambda held: held.busy_connections == 0)
        tally = _visited(reelmill, tokens, clients, seconds)
        after = _at_rest(reelmill, lambda held: not held.above(before))
    faults = [f"{what} ({count} times)" for what, count in tally.faults.items()]
    faults += after.above(before) + _errors(scratch / "service.log") + unproven(tally)
    return {"benchmark": "soak", "clients": clients, "seconds": seconds} | _told(tally, before, after), faults


def _tokens(settings: Settings, reelmill: Reelmill) -> list[str]:
    """Of callers who are not the owner, after everybody may see the experiment."""
    path = f"/api/experiments/{reelmill.dataset['experiment_id']}"
    tag = reelmill.client.get(path).raise_for_status().headers["ETag"]
    answered(reelmill.client.patch(path, json={"visibility": "public"}, headers={"If-Match": tag}))
    return [local_token(settings, f"visitor-{number}", SCOPES, timedelta(hours=12)) for number in range(SUBJECTS)]


def _visited(reelmill: Reelmill, tokens: list[str], clients: int, seconds: float) -> Tally:
    return asyncio.run(Crowd(reelmill.url, tokens, reelmill.dataset).visit(clients, seconds))


def _at_rest(reelmill: Reelmill, good: Callable[[Held], bool]) -> Held:
    """After the last render has ended: as soon as it is good, at the latest when the time is up."""
    deadline = time.monotonic() + DRAIN_S
    while reelmill.unfinished_tasks() and time.monotonic() < deadline:
        time.sleep(0.2)
    deadline = time.monotonic() + IDLE_S
    time.sleep(2)
    while not good(held := _held(reelmill)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return held


def _held(reelmill: Reelmill) -> Held:
    api, worker = reelmill.pid("api"), reelmill.pid("worker")
    return Held(own_mb(api), own_mb(worker), sockets(api, reelmill.database_port()), reelmill.busy_connections())


def _errors(log: Path) -> list[str]:
    """Each kind of error that the service logged."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    wrong = [line for line in lines if line["level"] in ("error", "critical")]
    return sorted({f"the service logged: {line['logger']}: {line['event']}"[:200] for line in wrong})


def unproven(tally: Tally) -> list[str]:
    """What the crowd should have done and did not: then nothing is proven."""
    done = {"events": tally.events, "renders": tally.renders["succeeded"]} | {
        role: len(tally.seconds.get(role, ())) for role in ("reader", "asker", "renderer")
    }
    failed = [f"{count} renders {how}" for how, count in tally.renders.items() if how != "succeeded"]
    return [f"no {what}: the crowd did nothing of the kind" for what, count in done.items() if not count] + failed


def _told(tally: Tally, before: Held, after: Held) -> dict[str, Any]:
    figures: dict[str, Any] = {"answers": tally.statuses, "events": tally.events, "renders": tally.renders}
    for role, seconds in sorted(tally.seconds.items()):
        ordered = sorted(seconds)
        figures |= {f"{role}_p50_ms": _ms(ordered, 0.5), f"{role}_p99_ms": _ms(ordered, 0.99)}
    figures |= {"api_mb": [before.api_mb, after.api_mb], "worker_mb": [before.worker_mb, after.worker_mb]}
    return figures | {"sockets": [before.sockets, after.sockets]}


def _ms(ordered: list[float], part: float) -> float:
    return round(ordered[min(int(part * len(ordered)), len(ordered) - 1)] * 1000, 1)


def _conclude(console: Console, figure: dict[str, Any], faults: list[str], results: Path) -> int:
    for fault in faults:
        console.print(f"broken: {fault}", style="red", markup=False)
    console.print(f"{sum(figure['answers'].values())} answers {dict(figure['answers'])}, {figure['events']} events")
    console.print(
        f"API {figure['api_mb']} MB, worker {figure['worker_mb']} MB, sockets {figure['sockets']}", markup=False
    )
    if faults:
        return 1
    facts = machine.facts()
    path = record.write_figures(results, machine.label(facts["machine"]), [figure], facts)
    console.print(f"rows: {path}", markup=False)
    return 0
