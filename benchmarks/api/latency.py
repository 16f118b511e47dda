"""`python -m benchmarks api`: API latency with idle and with busy slots, and the cost of the middleware."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import footage, machine, record
from benchmarks.api import h2load, middleware, ratios
from benchmarks.api.h2load import LoadError, Sample, Target
from benchmarks.cases import CASES
from benchmarks.reelmill import SERVICE_ERRORS, Reelmill, RenderError, isolated_environment, running_service
from service.commands.api_client import json_or_raise

MEASURED_PATHS = ("/api/experiments", "/health")
FRAME_SIZE, DISTINCT_FRAMES = (1920, 1080), 60
# More than a page of the list.
EXPERIMENT_COUNT = 60
SLOT_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class LatencyRequest:
    """What the user asked for."""

    rate: int
    seconds: int
    frames: int
    repetitions: int
    results: Path


@dataclass(slots=True)
class Measurements:
    """Rows, and why they may not be kept; each is told as it comes."""

    console: Console
    rows: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, benchmark: str, row: dict[str, Any], faults: list[str]) -> None:
        self.rows.append({"benchmark": benchmark} | row)
        self.faults += faults
        self.console.print(_format_row(row), markup=False, highlight=False, style="dim")


def measure(request: LatencyRequest) -> int:
    """The whole command; 1 when a gate or a limit is missed."""
    console = Console(soft_wrap=True)
    findings = Measurements(console)
    try:
        with tempfile.TemporaryDirectory(prefix="reelmill-bench-", dir=footage.cache_folder().parent) as name:
            h2load.h2load_path()
            _measure_middleware(request, Path(name), findings)
            _measure_latencies(request, Path(name), findings)
    except (LoadError, *SERVICE_ERRORS) as error:
        findings.faults.append(str(error))
    return report_results(console, findings, request)


def _format_row(row: dict[str, Any]) -> str:
    what = f"hello within {row['layers']}" if "layers" in row else f"{row['path']} {row['state']}"
    rate = f", {row['requests_per_s']:.0f} requests/s" if "layers" in row else ""
    return f"{row['repetition'] + 1}: {what}: p50 {row['p50_ms']} ms, p99 {row['p99_ms']} ms{rate}"


def _measure_middleware(request: LatencyRequest, scratch: Path, findings: Measurements) -> None:
    with middleware.baseline_servers(scratch) as hellos:
        for repetition in range(request.repetitions):
            for name, hello in hellos.items():
                row, faults = hello.measure(name, request.seconds, scratch)
                findings.add("layers", {"repetition": repetition} | row, faults)


def _measure_latencies(request: LatencyRequest, scratch: Path, findings: Measurements) -> None:
    footage.repeat_frames(
        footage.load_or_create(DISTINCT_FRAMES, FRAME_SIZE, footage.cache_folder()), request.frames, scratch / "frames"
    )
    own = isolated_environment(scratch / "home", REELMILL_LOG_LEVEL="INFO", REELMILL_RATE_LIMIT="1000000/second")
    with (
        own as settings,
        (scratch / "service.log").open("wb") as log,
        running_service(settings, scratch / "frames", log) as reelmill,
    ):
        for number in range(EXPERIMENT_COUNT):
            json_or_raise(reelmill.client.post("/api/experiments", json={"name": f"camera {number}"}))
        for repetition in range(request.repetitions):
            for path in MEASURED_PATHS:
                asked = _Endpoint(reelmill, path, request, scratch)
                findings.add("api", *asked.measure_idle(repetition))
                findings.add("api", *asked.measure_busy(repetition))


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """One path of the running service."""

    reelmill: Reelmill
    path: str
    request: LatencyRequest
    scratch: Path

    def measure_idle(self, repetition: int) -> tuple[dict[str, Any], list[str]]:
        return self._to_row("idle", repetition, self._take_sample(), [])

    def measure_busy(self, repetition: int) -> tuple[dict[str, Any], list[str]]:
        """While a render has every slot, from the first request to the last."""
        with busy_slots(self.reelmill):
            sample = self._take_sample()
            left = self.reelmill.count_unfinished_tasks()
        short = f"the render had only {left} segments left for {self.reelmill.slots} slots: ask for more frames"
        return self._to_row("busy", repetition, sample, [] if left >= self.reelmill.slots else [short])

    def _take_sample(self) -> Sample:
        target = Target(self.reelmill.url + self.path, self.reelmill.token)
        return h2load.run_at_rate(target, self.request.rate, self.request.seconds, self.scratch)

    def _to_row(
        self, state: str, repetition: int, sample: Sample, faults: list[str]
    ) -> tuple[dict[str, Any], list[str]]:
        told = {"path": self.path, "state": state, "repetition": repetition, "rate": self.request.rate}
        named = [f"{self.path} {state}: {fault}" for fault in sample.faults() + faults]
        return told | {"slots": self.reelmill.slots} | sample.to_row(), named


@contextmanager
def busy_slots(reelmill: Reelmill) -> Iterator[None]:
    """Begins when every slot works on one render; ends when none does. Raises RenderFailed."""
    reelmill.delete_renders()
    job = reelmill.submit(CASES[0])
    _wait_until_running(reelmill, lambda running: running >= reelmill.slots)
    yield
    reelmill.client.post(f"/api/videos/{job}/cancel")
    _wait_until_running(reelmill, lambda running: running == 0)


def _wait_until_running(reelmill: Reelmill, condition: Callable[[int], bool]) -> None:
    deadline = time.monotonic() + SLOT_TIMEOUT_S
    while not condition(reelmill.count_running_tasks()):
        if time.monotonic() > deadline:
            raise RenderError(f"the slots did not begin or end within {SLOT_TIMEOUT_S:.0f} s: ask for more frames")
        time.sleep(0.05)


def report_results(console: Console, measurements: Measurements, request: LatencyRequest) -> int:
    """The gate; past it rows and ratios. The exit code."""
    if measurements.faults:
        for fault in measurements.faults:
            console.print(f"not measured: {fault}", style="red", markup=False)
        return 1
    facts = machine.facts() | {"load_generator": h2load.h2load_version()}
    rows = sorted(measurements.rows, key=lambda row: row["benchmark"])  # the first one names the file
    path = record.write_rows(request.results, machine.label(facts["machine"]), rows, facts)
    told = [*ratios.render_load_ratios(measurements.rows), *ratios.middleware_cost_ratios(measurements.rows)]
    for ratio in told:
        console.print(str(ratio), markup=False)
    console.print(f"rows: {path}", markup=False)
    return int(any(ratio.is_missed for ratio in told))
