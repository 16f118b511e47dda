"""`python -m benchmarks fairness`: a light caller beside a heavy one, and ten callers with 1 to 100 renders each."""

import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from rich.console import Console

from benchmarks import footage, machine, record
from benchmarks.reelmill import Reelmill, isolated_environment, running_service
from service.client.requests import json_or_raise
from service.commands.tokens import LOCAL_SCOPES, mint_local_token

FRAME_SIZE, DISTINCT_FRAMES = (640, 360), 60
# From the issue: a light render takes at most so many times what it takes alone; nobody has less of its fair share.
MAX_RATIO, MIN_SHARE = 5.0, 0.8
HEAVY_RENDERS, LIGHT_FRAMES, SMALL_FRAMES = 30, 5, 10
RENDERS_OF_CALLERS = (1, 2, 3, 5, 8, 13, 21, 34, 60, 100)
# All are submitted before the first is taken, so that everybody has something queued from the beginning.
HOLD_TASKS = """
    CREATE FUNCTION bench_hold() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.due_at = now() + interval '1 day'; RETURN NEW; END $$;
    CREATE TRIGGER bench_hold BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION bench_hold()
"""
LET_TASKS_GO = "DROP FUNCTION bench_hold CASCADE; UPDATE tasks SET due_at = now()"
SELECT_SEGMENTS = """
    SELECT r.owner, t.progress AS frames, t.finished_at FROM tasks t JOIN renders r ON r.id = t.render_id
    WHERE t.kind = 'segment' AND t.state = 'succeeded' ORDER BY t.finished_at
"""


class Callers:
    """Clients of the service, one for each caller; no two of their renders share a segment."""

    def __init__(self, reelmill: Reelmill) -> None:
        self._reelmill = reelmill
        self._clients: dict[str, httpx.Client] = {}
        self._numbers = count(1)
        experiment = f"/api/experiments/{reelmill.dataset['experiment_id']}"
        reelmill.client.patch(experiment, json={"visibility": "public"}).raise_for_status()

    def submit(self, who: str, frames: int) -> str:
        body = {
            "experiment_id": self._reelmill.dataset["experiment_id"],
            "decimation_factor": 1,
            "fps": round(20 + next(self._numbers) / 100, 2),
            "frames": {"start": 0, "stop": frames},
        }
        return str(json_or_raise(self._client(who).post("/api/videos/generate", json=body))["job_id"])

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def _client(self, who: str) -> httpx.Client:
        if who not in self._clients:
            token = mint_local_token(self._reelmill.settings, who, LOCAL_SCOPES, timedelta(hours=1))
            headers = {"Authorization": f"Bearer {token}"}
            self._clients[who] = httpx.Client(base_url=self._reelmill.url, headers=headers, timeout=60, trust_env=False)
        return self._clients[who]


@contextmanager
def callers_of(reelmill: Reelmill) -> Iterator[Callers]:
    callers = Callers(reelmill)
    try:
        yield callers
    finally:
        callers.close()


def measure(frames: int, repetitions: int, results: Path) -> int:
    """Run the command; the exit code is 1 if a light render waits for too long, or a share is too small."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="reelmill-bench-", dir=footage.cache_folder().parent) as scratch:
        source = footage.load_or_create(DISTINCT_FRAMES, FRAME_SIZE, footage.cache_folder())
        footage.repeat_frames(source, frames, Path(scratch) / "frames")
        with (
            isolated_environment(Path(scratch) / "home", REELMILL_MAX_QUEUED="200") as settings,
            running_service(settings, Path(scratch) / "frames") as reelmill,
            callers_of(reelmill) as callers,
        ):
            alone, beside = time_light_renders(reelmill, callers, frames, repetitions)
            shares = measure_shares(reelmill, callers)
    ratio = median(beside) / median(alone)
    row = {"alone": alone, "beside": beside, "ratio": ratio, "shares": shares, "heavy_renders": HEAVY_RENDERS}
    facts = machine.facts()
    path = record.write_rows(results, machine.label(facts["machine"]), [{"benchmark": "fairness"} | row], facts)
    console.print(f"a light render takes {median(alone):.2f} s alone, {median(beside):.2f} s beside a heavy caller's")
    console.print(f"that is {ratio:.1f} times as long (at most {MAX_RATIO:g})")
    console.print(f"the smallest share is {min(shares.values()):.2f} of what is fair (at least {MIN_SHARE:g}); {path}")
    return int(ratio > MAX_RATIO or min(shares.values()) < MIN_SHARE)


def time_light_renders(
    reelmill: Reelmill, callers: Callers, frames: int, repetitions: int
) -> "tuple[list[float], list[float]]":
    """Seconds of light renders alone, and of those beside a heavy caller's, which began some seconds before."""
    _time(reelmill, callers)  # slots and caches are warm then
    alone = [_time(reelmill, callers) for _ in range(repetitions)]
    heavy = [callers.submit("heavy", frames) for _ in range(HEAVY_RENDERS)]
    time.sleep(3)
    beside = [_time(reelmill, callers) for _ in range(repetitions)]
    for job in heavy:
        reelmill.client.post(f"/api/videos/{job}/cancel", params={"for_all": True})
    _wait_until_idle(reelmill)
    return alone, beside


def _time(reelmill: Reelmill, callers: Callers) -> float:
    start = time.perf_counter()
    reelmill.wait_for_end(callers.submit("light", LIGHT_FRAMES))
    return round(time.perf_counter() - start, 3)


def measure_shares(reelmill: Reelmill, callers: Callers) -> dict[str, float]:
    """Caller -> what was rendered for it, to an equal part of all that was rendered while it waited."""
    reelmill.delete_renders()
    reelmill.runner.run(reelmill.connection.execute(HOLD_TASKS))
    for number, renders in enumerate(RENDERS_OF_CALLERS):
        for _ in range(renders):
            callers.submit(f"caller {number}", SMALL_FRAMES)
    reelmill.runner.run(reelmill.connection.execute(LET_TASKS_GO))
    _wait_until_idle(reelmill)
    rows = [dict(row) for row in reelmill.runner.run(reelmill.connection.fetch(SELECT_SEGMENTS))]
    return {owner: round(share, 3) for owner, share in shares_of(rows).items()}


def shares_of(segments: list[dict[str, Any]]) -> dict[str, float]:
    """From segments in the order in which they were finished: `owner` and `frames`."""
    last = {segment["owner"]: number for number, segment in enumerate(segments)}
    done: Counter[str] = Counter()
    fair: defaultdict[str, float] = defaultdict(float)
    for number, segment in enumerate(segments):
        waiting = [owner for owner, end in last.items() if end >= number]
        done[segment["owner"]] += segment["frames"]
        for owner in waiting:
            fair[owner] += segment["frames"] / len(waiting)
    return {owner: done[owner] / fair[owner] for owner in done}


def _wait_until_idle(reelmill: Reelmill) -> None:
    while reelmill.count_unfinished_tasks():
        time.sleep(0.2)
