"""`python -m benchmarks playable`: seconds from submit until the first HLS segment has been fetched."""

import tempfile
import time
from pathlib import Path
from statistics import median

from rich.console import Console

from benchmarks import footage, machine, record
from benchmarks.cases import CASES
from benchmarks.reelmill import Reelmill, isolated_environment, running_service
from service.client.requests import json_or_raise

FRAME_SIZE, DISTINCT_FRAMES = (1920, 1080), 60
# From the issue: a 3,000-frame 1080p render on two cores.
LIMIT_S = 1.5


def measure(frames: int, repetitions: int, results: Path) -> int:
    """Run the command; the exit code is 1 if the median exceeds the limit."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="reelmill-bench-", dir=footage.cache_folder().parent) as scratch:
        source = footage.load_or_create(DISTINCT_FRAMES, FRAME_SIZE, footage.cache_folder())
        shape = footage.repeat_frames(source, frames, Path(scratch) / "frames").shape
        with (
            isolated_environment(Path(scratch) / "home") as settings,
            running_service(settings, Path(scratch) / "frames") as reelmill,
        ):
            seconds = [time_first_segment(reelmill) for _ in range(repetitions)]
    rows = [
        {"benchmark": "playable", "repetition": number} | shape._asdict() | {"seconds": round(value, 4)}
        for number, value in enumerate(seconds)
    ]
    facts = machine.facts()
    path = record.write_rows(results, machine.label(facts["machine"]), rows, facts)
    middle = median(seconds)
    console.print(f"playable after {middle:.2f} s (median of {repetitions}, at most {LIMIT_S} s); rows: {path}")
    return int(middle > LIMIT_S)


def time_first_segment(reelmill: Reelmill) -> float:
    """Seconds from submit until playlist, init section and first segment have been fetched. Cancels the render."""
    reelmill.delete_renders()
    start = time.perf_counter()
    job = reelmill.submit(CASES[0])
    base = f"/api/videos/{job}"
    playlist = reelmill.client.get(f"{base}/stream.m3u8").raise_for_status().text
    first = next(line for line in playlist.splitlines() if line.endswith(".m4s"))
    for name in ("stream/init.mp4", first):
        reelmill.client.get(f"{base}/{name}").raise_for_status()
    seconds = time.perf_counter() - start
    json_or_raise(reelmill.client.post(f"{base}/cancel"))
    deadline = time.monotonic() + 30  # for the slots to drop the cancelled segments
    while reelmill.count_running_tasks() and time.monotonic() < deadline:
        time.sleep(0.1)
    return seconds
