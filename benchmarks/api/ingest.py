"""`python -m benchmarks ingest`: `reelmill ingest` of many small JPEGs, beside a request for each file."""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import footage, machine, record
from benchmarks.reelmill import SERVICE_ERRORS, Reelmill, RenderError, isolated_environment, running_service
from service.client.files import bundles
from service.commands.remote.connection import open_mill

SIZE, DISTINCT = (320, 240), 200
# So many files are enough to see the rate of single uploads: the service's limit of requests holds it.
ALONE_FILES = 3_000
GOAL = 3.0


@dataclass(frozen=True, slots=True)
class Ingest:
    """What one way of uploading took: seconds until all was stored and scanned, requests, and memory at its peak."""

    way: str
    files: int
    upload_seconds: float
    seconds: float
    requests: int
    client_mb: float
    api_mb: float

    @property
    def rate(self) -> float:
        return self.files / self.upload_seconds

    def to_row(self) -> dict[str, Any]:
        return (
            {"benchmark": "ingest", "way": self.way, "files": self.files, "rate": round(self.rate, 1)}
            | {name: round(getattr(self, name), 1) for name in ("upload_seconds", "seconds", "client_mb", "api_mb")}
            | {"requests": self.requests}
        )


def measure(files: int, results: Path) -> int:
    """Run the command; the exit code is 1 if something failed or the ratio is below the goal."""
    console = Console(soft_wrap=True, highlight=False)
    try:
        with tempfile.TemporaryDirectory(prefix="reelmill-bench-", dir=footage.cache_folder().parent) as name:
            runs = _measure(files, Path(name), console)
    except SERVICE_ERRORS as error:
        console.print(str(error), style="red", markup=False)
        return 1
    together, alone = runs
    ratio = together.rate / alone.rate
    console.print(f"files a second, together: {ratio:.1f} times as many as alone (goal: {GOAL:g})")
    facts = machine.facts()
    rows = [run.to_row() for run in runs]
    console.print(f"rows: {record.write_rows(results, machine.label(facts['machine']), rows, facts)}", markup=False)
    return int(ratio < GOAL)


def _measure(files: int, scratch: Path, console: Console) -> tuple[Ingest, Ingest]:
    folders = {count: _write_folder(scratch / f"{count}", count) for count in (files, ALONE_FILES, 2)}
    with (
        isolated_environment(scratch / "home") as settings,
        (scratch / "log").open("wb") as log,
        running_service(settings, folders[2], log) as reelmill,
    ):
        together = _ingest_by_command(reelmill, folders[files], files)
        console.print(str(together.to_row()), markup=False)
        with _each_alone():
            alone = _ingest_here(reelmill, folders[ALONE_FILES])
        console.print(str(alone.to_row()), markup=False)
    return together, alone


def _write_folder(folder: Path, count: int) -> Path:
    """`count` names of some distinct JPEGs."""
    folder.mkdir(parents=True)
    frames = footage.load_or_create(min(count, DISTINCT), SIZE, footage.cache_folder()).frames
    for number in range(count):
        os.link(_local_copy(frames[number % len(frames)], folder.parent), folder / f"f{number:06d}.jpg")
    return folder


def _local_copy(frame: Path, folder: Path) -> Path:
    """On the same file system, so that it can be linked; a file has at most so many names."""
    copy = folder / f"source-{frame.name}"
    if not copy.exists() or copy.stat().st_nlink > 900:
        copy.unlink(missing_ok=True)
        copy.write_bytes(frame.read_bytes())
    return copy


def _ingest_by_command(reelmill: Reelmill, folder: Path, count: int) -> Ingest:
    """The command in a process of its own, as a user runs it."""
    environment = os.environ | {"REELMILL_URL": reelmill.url, "REELMILL_TOKEN": str(reelmill.settings.client.token)}
    words = [sys.executable, "-m", "service", "ingest", str(folder), "--experiment", "together"]
    before, started = _requests(reelmill), time.monotonic()
    pid = os.posix_spawn(
        words[0], words, environment, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    )
    stored_after = 0.0
    while (done := os.wait4(pid, os.WNOHANG))[0] == 0:
        time.sleep(0.2)
        if not stored_after and _is_scanning(reelmill, "together"):
            stored_after = time.monotonic() - started
    seconds = time.monotonic() - started
    if os.waitstatus_to_exitcode(done[1]):
        raise RenderError(f"reelmill ingest ended with {os.waitstatus_to_exitcode(done[1])}")
    own = _requests(reelmill) - before
    return Ingest("together", count, stored_after or seconds, seconds, own, done[2].ru_maxrss / 1024, _api_mb(reelmill))


def _ingest_here(reelmill: Reelmill, folder: Path) -> Ingest:
    before, started = _requests(reelmill), time.monotonic()
    stored_after = reelmill.runner.run(_upload(reelmill, folder, started))
    own = _requests(reelmill) - before
    return Ingest("alone", ALONE_FILES, stored_after, time.monotonic() - started, own, 0.0, _api_mb(reelmill))


async def _upload(reelmill: Reelmill, folder: Path, started: float) -> float:
    stored_after = 0.0

    def note(phase: str, done: int, total: int | None) -> None:
        nonlocal stored_after
        if phase == "upload" and done == total:
            stored_after = time.monotonic() - started

    async with open_mill(reelmill.settings) as mill:
        dataset = await (await mill.experiments.get_or_create("alone")).datasets.get_or_create("frames")
        await dataset.upload(folder, note)
    await asyncio.sleep(0)
    return stored_after


@contextmanager
def _each_alone() -> Iterator[None]:
    """A request for each file."""
    before, bundles.MAX_FILES = bundles.MAX_FILES, 1
    try:
        yield
    finally:
        bundles.MAX_FILES = before


def _is_scanning(reelmill: Reelmill, experiment: str) -> bool:
    found = reelmill.client.get("/api/experiments", params={"q": experiment}).json()
    rows = reelmill.client.get(f"/api/experiments/{found[0]['id']}/datasets").json() if found else []
    return any(row["state"] in ("scanning", "ready") for row in rows)


def _requests(reelmill: Reelmill) -> int:
    """Requests that concern objects, as far as the API has answered them."""
    lines = reelmill.client.get("/metrics").text.splitlines()
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in lines
        if line.startswith("reelmill_http_requests_total{") and "/objects" in line
    )


def _api_mb(reelmill: Reelmill) -> float:
    pid = reelmill.service.children["api"].pid
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
