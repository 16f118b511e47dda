"""`python -m benchmarks incremental`: the cost of a render after its experiment grew, and of a repeated request."""

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from benchmarks import footage, machine, record
from benchmarks.cases import CASES
from benchmarks.reelmill import Reelmill, isolated_environment, running_service
from service.client.requests import json_or_raise

FRAME_SIZE, DISTINCT_FRAMES = (1920, 1080), 60
GROWTH = 0.05
# Targets: the cost of the grown render as a fraction of a fresh one, and the seconds of a repeated request.
GROWN_COST_LIMIT, REPEAT_LIMIT_S = 0.10, 0.050


def measure(frames: int, repetitions: int, results: Path) -> int:
    """Run the command; the exit code is 1 if a limit is missed."""
    with tempfile.TemporaryDirectory(prefix="reelmill-bench-", dir=footage.cache_folder().parent) as scratch:
        source = footage.load_or_create(DISTINCT_FRAMES, FRAME_SIZE, footage.cache_folder())
        folder = Path(scratch) / "frames"
        footage.repeat_frames(source, frames, folder)
        with isolated_environment(Path(scratch) / "home") as settings, running_service(settings, folder) as reelmill:
            fresh = time_render(reelmill)
            footage.repeat_frames(source, round(frames * (1 + GROWTH)), folder)
            reelmill.ingest_again(folder)
            grown = time_render(reelmill)
            repeats = [time_repeat(reelmill) for _ in range(repetitions)]
            reelmill.delete_renders()
            grown_fresh = time_render(reelmill)
    row = {
        "benchmark": "incremental",
        "frames": frames,
        "growth": GROWTH,
        "fresh_s": round(fresh, 3),
        "grown_s": round(grown, 3),
        "grown_fresh_s": round(grown_fresh, 3),
        "grown_part": round(grown / grown_fresh, 4),
        "repeat_s": round(median(repeats), 5),
        "repetitions": repetitions,
    }
    return _report(row, results)


def _report(row: dict[str, Any], results: Path) -> int:
    facts = machine.facts()
    path = record.write_rows(results, machine.label(facts["machine"]), [row], facts)
    console = Console()
    console.print(f"grown by {GROWTH:.0%}: {row['grown_part']:.1%} of a fresh render (at most {GROWN_COST_LIMIT:.0%})")
    console.print(f"a repeated request takes {row['repeat_s'] * 1000:.1f} ms (below {REPEAT_LIMIT_S * 1000:.0f} ms)")
    console.print(f"rows: {path}", markup=False, soft_wrap=True)
    return int(row["grown_part"] > GROWN_COST_LIMIT or row["repeat_s"] >= REPEAT_LIMIT_S)


def time_render(reelmill: Reelmill) -> float:
    """Seconds from submit to `succeeded`."""
    start = time.perf_counter()
    reelmill.wait_for_end(reelmill.submit(CASES[0]))
    return time.perf_counter() - start


def time_repeat(reelmill: Reelmill) -> float:
    """Seconds until the same request returns the finished render."""
    start = time.perf_counter()
    answer = reelmill.client.post("/api/videos/generate", json=reelmill.request_body(CASES[0]))
    seconds = time.perf_counter() - start
    assert json_or_raise(answer)["status"] == "succeeded"
    return seconds
