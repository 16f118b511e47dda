"""`python -m benchmarks api`: API latency with idle and with busy slots, and the cost of the middleware."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from benchmarks import footage, machine, record
from benchmarks.api import h2load, middleware
from benchmarks.api.h2load import LoadError, MeasuredRow, Sample, Target
from benchmarks.cases import CASES
from benchmarks.reelmill import SERVICE_ERRORS, Reelmill, RenderError, isolated_environment, running_service
from service.client.requests import json_or_raise

MEASURED_PATHS = ("/api/experiments", "/health")
FRAME_SIZE, DISTINCT_FRAMES = (1920, 1080), 60
# More than one page of the list.
EXPERIMENT_COUNT = 60
SLOT_TIMEOUT_S = 30.0
# Targets: busy / idle p99, and the fraction of a bare server's throughput that three middlewares cost.
RENDER_LIMIT, MIDDLEWARE_LIMIT = 2.0, 0.30
Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class LatencyRequest:
    """The options of the command."""

    rate: int
    seconds: int
    frames: int
    repetitions: int
    results: Path


@dataclass(slots=True)
class Measurements:
    """The rows so far, and why they must not be recorded; each row is printed as it is added."""

    console: Console
    rows: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, benchmark: str, repetition: int, measured: MeasuredRow) -> None:
        row = {"benchmark": benchmark, "repetition": repetition} | measured.row
        self.rows.append(row)
        self.faults += measured.faults
        self.console.print(_format_row(row), markup=False, highlight=False, style="dim")


def measure(request: LatencyRequest) -> int:
    """Run the command; the exit code is 1 if a request failed or a limit is missed."""
    console = Console(soft_wrap=True)
    measurements = Measurements(console)
    try:
        with tempfile.TemporaryDirectory(prefix="reelmill-bench-", dir=footage.cache_folder().parent) as name:
            h2load.h2load_path()
            _measure_middleware(request, Path(name), measurements)
            _measure_latencies(request, Path(name), measurements)
    except (LoadError, *SERVICE_ERRORS) as error:
        measurements.faults.append(str(error))
    return report_results(console, measurements, request)


def _format_row(row: dict[str, Any]) -> str:
    what = f"{row['layers']} middleware" if "layers" in row else f"{row['path']} {row['state']}"
    rate = f", {row['requests_per_s']:.0f} requests/s" if "layers" in row else ""
    return f"{row['repetition'] + 1}: {what}: p50 {row['p50_ms']} ms, p99 {row['p99_ms']} ms{rate}"


def _measure_middleware(request: LatencyRequest, scratch: Path, measurements: Measurements) -> None:
    with middleware.baseline_servers(scratch) as servers:
        for repetition in range(request.repetitions):
            for variant, server in servers.items():
                measurements.add("layers", repetition, server.measure(variant, request.seconds, scratch))


def _measure_latencies(request: LatencyRequest, scratch: Path, measurements: Measurements) -> None:
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
                endpoint = _Endpoint(reelmill, path, request, scratch)
                measurements.add("api", repetition, endpoint.measure_idle())
                measurements.add("api", repetition, endpoint.measure_busy())


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """One path of the running service."""

    reelmill: Reelmill
    path: str
    request: LatencyRequest
    scratch: Path

    def measure_idle(self) -> MeasuredRow:
        return self._to_row("idle", self._take_sample(), [])

    def measure_busy(self) -> MeasuredRow:
        """Measure while a render keeps every slot busy, from the first request to the last."""
        with busy_slots(self.reelmill):
            sample = self._take_sample()
            left = self.reelmill.count_unfinished_tasks()
        too_short = f"the render had only {left} segments left for {self.reelmill.slots} slots: use more --frames"
        return self._to_row("busy", sample, [] if left >= self.reelmill.slots else [too_short])

    def _take_sample(self) -> Sample:
        target = Target(self.reelmill.url + self.path, self.reelmill.token)
        return h2load.run_at_rate(target, self.request.rate, self.request.seconds, self.scratch)

    def _to_row(self, state: str, sample: Sample, faults: list[str]) -> MeasuredRow:
        row = {"path": self.path, "state": state, "rate": self.request.rate, "slots": self.reelmill.slots}
        return MeasuredRow(
            row | sample.to_row(), [f"{self.path} {state}: {fault}" for fault in sample.faults() + faults]
        )


@contextmanager
def busy_slots(reelmill: Reelmill) -> Iterator[None]:
    """Keep every slot busy with one render until the end of the block. Raises RenderError."""
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
            raise RenderError(f"the slots did not start or stop within {SLOT_TIMEOUT_S:.0f} s: use more --frames")
        time.sleep(0.05)


def report_results(console: Console, measurements: Measurements, request: LatencyRequest) -> int:
    """Write the rows and print the ratios unless there are faults; returns the exit code."""
    if measurements.faults:
        for fault in measurements.faults:
            console.print(f"not measured: {fault}", style="red", markup=False)
        return 1
    facts = machine.facts() | {"load_generator": h2load.h2load_version()}
    rows = sorted(measurements.rows, key=lambda row: row["benchmark"])  # the file is named after the first row
    path = record.write_rows(request.results, machine.label(facts["machine"]), rows, facts)
    ratios = [*render_load_ratios(measurements.rows), *middleware_cost_ratios(measurements.rows)]
    for ratio in ratios:
        console.print(str(ratio), markup=False)
    console.print(f"rows: {path}", markup=False)
    return int(any(ratio.is_missed for ratio in ratios))


@dataclass(frozen=True, slots=True)
class GoalRatio:
    """One value per repetition; without a limit it is only printed."""

    label: str
    values: tuple[float, ...]
    limit: float | None = None

    @property
    def is_missed(self) -> bool:
        return self.limit is not None and median(self.values) > self.limit

    def __str__(self) -> str:
        least, most = min(self.values), max(self.values)
        goal = "" if self.limit is None else f", {'MISSES' if self.is_missed else 'within'} {self.limit:g}"
        return f"{self.label}: {median(self.values):.2f} ({least:.2f} to {most:.2f}{goal})"


def render_load_ratios(rows: Rows) -> Iterator[GoalRatio]:
    """p99 with busy slots / p99 with idle slots, per path."""
    for path in dict.fromkeys(row["path"] for row in rows if row["benchmark"] == "api"):
        idle, busy = (_values(rows, "p99_ms", path=path, state=state) for state in ("idle", "busy"))
        label = f"p99 of {path}, {median(idle):.1f} ms idle and {median(busy):.1f} ms during a render"
        yield GoalRatio(label, tuple(b / a for a, b in zip(idle, busy, strict=True)), RENDER_LIMIT)


def middleware_cost_ratios(rows: Rows) -> Iterator[GoalRatio]:
    """The fraction of a bare server's throughput that middleware costs, and the fraction of the CPU time that it
    takes, which other load on the machine disturbs less."""
    for name, limit in (("three", MIDDLEWARE_LIMIT), ("all", None)):
        bare, rates = (_values(rows, "requests_per_s", layers=layers) for layers in ("bare", name))
        cheap, times = (_values(rows, "cpu_us", layers=layers) for layers in ("bare", name))
        label = f"cost of {name} middlewares, {median(bare):.0f} requests/s without and {median(rates):.0f} with"
        yield GoalRatio(label, tuple(1 - b / a for a, b in zip(bare, rates, strict=True)), limit)
        label = f"in CPU time, {median(cheap):.0f} us without and {median(times):.0f} us with {name}"
        yield GoalRatio(label, tuple(1 - a / b for a, b in zip(cheap, times, strict=True)))


def _values(rows: Rows, name: str, **wanted: str) -> list[float]:
    return [row[name] for row in rows if wanted.items() <= row.items()]
