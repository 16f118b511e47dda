"""`python -m benchmarks api`: how long the API's answers take beside a render that has all slots, and what its
middlewares cost."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import footage, layers, load, machine, ratios, record
from benchmarks.cases import CASES
from benchmarks.load import LoadFailed, Sample, Target
from benchmarks.reelmill import FAILED, Reelmill, RenderFailed, own_environment, started
from service.http_client import answered

PATHS = ("/api/experiments", "/health")
SIZE, DISTINCT = (1920, 1080), 60
EXPERIMENTS = 60
"""More than a page of the list."""
WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked for."""

    rate: int
    seconds: int
    frames: int
    repetitions: int
    results: Path


@dataclass(slots=True)
class Findings:
    """Rows, and why they may not be kept; each is told as it comes."""

    console: Console
    rows: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, benchmark: str, row: dict[str, Any], faults: list[str]) -> None:
        self.rows.append({"benchmark": benchmark} | row)
        self.faults += faults
        self.console.print(_line(row), markup=False, highlight=False, style="dim")


def measure(request: Request) -> int:
    """The whole command; 1 when a gate or a limit is missed."""
    console = Console(soft_wrap=True)
    findings = Findings(console)
    try:
        with tempfile.TemporaryDirectory(prefix="reelmill-bench-", dir=footage.cache_folder().parent) as name:
            load.generator()
            _layers(request, Path(name), findings)
            _latencies(request, Path(name), findings)
    except (LoadFailed, *FAILED) as error:
        findings.faults.append(str(error))
    return conclude(console, findings, request)


def _line(row: dict[str, Any]) -> str:
    what = f"hello within {row['layers']}" if "layers" in row else f"{row['path']} {row['state']}"
    rate = f", {row['requests_per_s']:.0f} requests/s" if "layers" in row else ""
    return f"{row['repetition'] + 1}: {what}: p50 {row['p50_ms']} ms, p99 {row['p99_ms']} ms{rate}"


def _layers(request: Request, scratch: Path, findings: Findings) -> None:
    with layers.hellos(scratch) as hellos:
        for repetition in range(request.repetitions):
            for name, hello in hellos.items():
                row, faults = hello.figure(name, request.seconds, scratch)
                findings.add("layers", {"repetition": repetition} | row, faults)


def _latencies(request: Request, scratch: Path, findings: Findings) -> None:
    footage.repeated(footage.made(DISTINCT, SIZE, footage.cache_folder()), request.frames, scratch / "frames")
    own = own_environment(scratch / "home", REELMILL_LOG_LEVEL="INFO", REELMILL_RATE_LIMIT="1000000/second")
    with (
        own as settings,
        (scratch / "service.log").open("wb") as log,
        started(settings, scratch / "frames", log) as reelmill,
    ):
        for number in range(EXPERIMENTS):
            answered(reelmill.client.post("/api/experiments", json={"name": f"camera {number}"}))
        for repetition in range(request.repetitions):
            for path in PATHS:
                asked = _Asked(reelmill, path, request, scratch)
                findings.add("api", *asked.idle(repetition))
                findings.add("api", *asked.busy(repetition))


@dataclass(frozen=True, slots=True)
class _Asked:
    """One path of the running service."""

    reelmill: Reelmill
    path: str
    request: Request
    scratch: Path

    def idle(self, repetition: int) -> tuple[dict[str, Any], list[str]]:
        return self._told("idle", repetition, self._sample(), [])

    def busy(self, repetition: int) -> tuple[dict[str, Any], list[str]]:
        """While a render has every slot, from the first request to the last."""
        with rendering(self.reelmill):
            sample = self._sample()
            left = self.reelmill.unfinished_tasks()
        short = f"the render had only {left} segments left for {self.reelmill.slots} slots: ask for more frames"
        return self._told("busy", repetition, sample, [] if left >= self.reelmill.slots else [short])

    def _sample(self) -> Sample:
        target = Target(self.reelmill.url + self.path, self.reelmill.token)
        return load.steady(target, self.request.rate, self.request.seconds, self.scratch)

    def _told(self, state: str, repetition: int, sample: Sample, faults: list[str]) -> tuple[dict[str, Any], list[str]]:
        told = {"path": self.path, "state": state, "repetition": repetition, "rate": self.request.rate}
        named = [f"{self.path} {state}: {fault}" for fault in sample.faults() + faults]
        return told | {"slots": self.reelmill.slots} | sample.figure(), named


@contextmanager
def rendering(reelmill: Reelmill) -> Iterator[None]:
    """Begins when every slot works on one render; ends when none does. Raises RenderFailed."""
    reelmill.forget()
    job = reelmill.submitted(CASES[0])
    _until(reelmill, lambda running: running >= reelmill.slots)
    yield
    reelmill.client.post(f"/api/videos/{job}/cancel")
    _until(reelmill, lambda running: running == 0)


def _until(reelmill: Reelmill, good: Callable[[int], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not good(reelmill.running_tasks()):
        if time.monotonic() > deadline:
            raise RenderFailed(f"the slots did not begin or end within {WAIT_S:.0f} s: ask for more frames")
        time.sleep(0.05)


def conclude(console: Console, findings: Findings, request: Request) -> int:
    """The gate; past it rows and ratios. The exit code."""
    if findings.faults:
        for fault in findings.faults:
            console.print(f"not measured: {fault}", style="red", markup=False)
        return 1
    facts = machine.facts() | {"load_generator": load.version()}
    rows = sorted(findings.rows, key=lambda row: row["benchmark"])  # the first one names the file
    path = record.write_figures(request.results, machine.label(facts["machine"]), rows, facts)
    told = [*ratios.beside_renders(findings.rows), *ratios.of_layers(findings.rows)]
    for ratio in told:
        console.print(str(ratio), markup=False)
    console.print(f"rows: {path}", markup=False)
    return int(any(ratio.missed for ratio in told))
