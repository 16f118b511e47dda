"""`python -m benchmarks planning`: time and memory to plan renders of different lengths. Nothing is rendered."""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
from rich.console import Console
from rich.table import Table

from benchmarks import machine, record
from benchmarks.reelmill import SERVICE_ERRORS, isolated_environment
from service.client.requests import json_or_raise
from service.commands.tokens import LOCAL_SCOPES, mint_local_token
from service.commands.up import LocalService
from service.config import Settings
from service.embedded.cluster import find_free_port
from service.embedded.postgres import EmbeddedPostgres

# Target: planning LIMIT_FRAMES takes less than LIMIT_S.
LIMIT_S, LIMIT_FRAMES = 2.0, 100_000
OWNER = "benchmark"
FRAME_COLUMNS = ("dataset_id", "index", "number", "key", "size", "etag", "format", "width", "height", "gray", "form")


def measure(counts: Sequence[int], repetitions: int, results: Path) -> int:
    """Run the command; the exit code is 1 if the limit is missed or nothing could be measured."""
    try:
        rows = measure_counts(counts, repetitions)
    except SERVICE_ERRORS as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 1
    facts = machine.facts()
    path = record.write_rows(results, machine.label(facts["machine"]), rows, facts)
    print_table(Console(), rows)
    print(f"rows: {path}")
    return int(any(row["generate_s"] >= LIMIT_S for row in rows if row["frames"] <= LIMIT_FRAMES))


def measure_counts(counts: Sequence[int], repetitions: int) -> list[dict[str, Any]]:
    with (
        tempfile.TemporaryDirectory(prefix="reelmill-bench-") as scratch,
        isolated_environment(Path(scratch)) as settings,
    ):
        database = EmbeddedPostgres(settings.process.home)
        try:
            with running_planner(settings, database.start()) as api:
                return [api.measure(count, repetitions) for count in counts]
        finally:
            database.stop()


def print_table(console: Console, rows: Sequence[dict[str, Any]]) -> None:
    table = Table("frames", "dry_run", "generate", "generate, us per frame", "API memory peak")
    for row in rows:
        each = row["generate_s"] / row["frames"] * 1e6
        seconds = (f"{row[name] * 1000:.0f} ms" for name in ("dry_run_s", "generate_s"))
        table.add_row(f"{row['frames']:,}", *seconds, f"{each:.1f}", f"+{row['grown_mb']:.1f} MB")
    console.print(table)


@contextmanager
def running_planner(settings: Settings, url: str) -> Iterator["PlannerApi"]:
    """Run an API without a worker, so that queued tasks stay queued."""
    port = find_free_port()
    running = LocalService(f"http://127.0.0.1:{port}", os.environ | {"PORT": str(port)})
    headers = {"Authorization": f"Bearer {mint_local_token(settings, OWNER, LOCAL_SCOPES, timedelta(hours=2))}"}
    try:
        running.start("api")
        running.wait_ready()
        with httpx.Client(base_url=running.url, headers=headers, timeout=300, trust_env=False) as client:
            yield PlannerApi(client, running.children["api"].pid, url, settings.objects.bucket)
    finally:
        running.stop()


@dataclass(frozen=True, slots=True)
class PlannerApi:
    """The running API and the database behind it."""

    client: httpx.Client
    pid: int
    url: str
    bucket: str

    def measure(self, count: int, repetitions: int) -> dict[str, Any]:
        """A row with median seconds, and the megabytes by which the API's memory peak exceeds its level before."""
        body = asyncio.run(insert_dataset(self.url, self.bucket, count))
        self._time_request(body | {"dry_run": True})
        before = self._reset_peak()
        dry = [self._time_request(body | {"dry_run": True}) for _ in range(repetitions)]
        written = [self._time_submit(body) for _ in range(repetitions)]
        return {
            "benchmark": "planning",
            "frames": count,
            "repetitions": repetitions,
            "dry_run_s": round(median(dry), 4),
            "generate_s": round(median(written), 4),
            "grown_mb": round(self._memory_mb("VmHWM") - before, 1),
        }

    def _time_submit(self, body: dict[str, Any]) -> float:
        seconds = self._time_request(body)
        asyncio.run(delete_renders(self.url))
        return seconds

    def _time_request(self, body: dict[str, Any]) -> float:
        start = time.perf_counter()
        json_or_raise(self.client.post("/api/videos/generate", json=body))
        return time.perf_counter() - start

    def _reset_peak(self) -> float:
        """Reset the memory peak to the current level (proc(5), clear_refs); returns it in MB."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        return self._memory_mb("VmRSS")

    def _memory_mb(self, name: str) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split(f"{name}:")[1].split()[0]) * 1024 / 1e6


async def insert_dataset(url: str, bucket: str, count: int) -> dict[str, Any]:
    """Insert the rows of a scanned dataset of `count` tiny frames, without files; returns a request for all of them."""
    experiment, dataset = uuid4(), uuid4()
    prefix = f"frames/{experiment}/{dataset}/"
    connection = await asyncpg.connect(url)
    await connection.execute("INSERT INTO experiments (id, name, owner) VALUES ($1, $2, $3)", experiment, prefix, OWNER)
    await connection.execute(
        """INSERT INTO datasets (id, experiment_id, name, kind, bucket, prefix, state, frame_count, width, height,
            digest, forms) VALUES ($1, $2, 'frames', 'frames', $6, $3, 'ready', $4, 32, 32, $3, $5)""",
        dataset,
        experiment,
        prefix,
        count,
        json.dumps({"yuvj420p": count}),
        bucket,
    )
    rows = (
        (dataset, n, n, f"{prefix}f{n:07d}.jpg", 900, f"{n:016x}-384", "jpeg", 32, 32, False, "yuvj420p")
        for n in range(count)
    )
    await connection.copy_records_to_table("frames", records=rows, columns=FRAME_COLUMNS)
    await connection.execute("ANALYZE frames")
    await connection.close()
    return {"experiment_id": str(experiment), "decimation_factor": 1, "fps": 30}


async def delete_renders(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("DELETE FROM renders")
    await connection.close()
