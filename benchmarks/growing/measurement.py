"""`python -m benchmarks growing`: a followed dataset grows, and each new version is compared with a fresh render."""

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from benchmarks import footage, machine, record
from benchmarks.footage import Footage
from benchmarks.growing.reader import Reader, Version
from benchmarks.process_stats import tree_cpu_seconds
from benchmarks.reelmill import SERVICE_ERRORS, Reelmill, RenderError, isolated_environment, running_service
from service.client.requests import json_or_raise

# Frames that are repeated, as hard links: each is another object to the service.
DISTINCT_FRAMES = 300
# Most that a version may cost, as a part of a fresh render: CPU of the workers, and time.
GOAL = 0.10
# A machine that does other work, too, takes long.
FOLLOW_TIMEOUT_S, RENDER_TIMEOUT_S = 300.0, 1800.0
OPTIONS = {"decimation_factor": 1, "fps": 30, "codec": "h264"}
Cpu = dict[str, float]


@dataclass(frozen=True, slots=True)
class GrowingRequest:
    """The options of the command."""

    frames: int
    growth: int
    versions: int
    height: int
    results: Path

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.height * 16 // 9, self.height


@dataclass(frozen=True, slots=True)
class Work:
    """What a step took: seconds, and CPU seconds by process: `worker`, `api`, `database`."""

    seconds: float
    cpu: Cpu


@dataclass(frozen=True, slots=True)
class MeasuredRender:
    """A finished render, and what it took from the request on."""

    work: Work
    status: dict[str, Any]

    @property
    def new_segments(self) -> int:
        return self._segments - self.reused_segments

    @property
    def reused_segments(self) -> int:
        return int(self.status["summary"]["segments_reused"])

    @property
    def _segments(self) -> int:
        return int(self.status["summary"]["segments"])


class OutputsDiffer(Exception):
    """A version is another file than the fresh render of the same frames; the text says which."""


def measure(request: GrowingRequest) -> int:
    """Run the command; the exit code is 1 if a version costs too much, or an answer was no whole video of a version."""
    console = Console(soft_wrap=True, highlight=False)
    facts, rows = machine.facts(), list[dict[str, Any]]()
    try:
        with tempfile.TemporaryDirectory(prefix="reelmill-bench-", dir=footage.cache_folder().parent) as scratch:
            for row in _measure_versions(request, Path(scratch)):
                rows.append({"benchmark": "growing", **row, "load": round(os.getloadavg()[0], 1)})
                console.print(json.dumps(rows[-1]), markup=False)
    except (*SERVICE_ERRORS, OutputsDiffer) as error:
        console.print(f"not measured: {error}", style="red", markup=False)
        return 1
    console.print(f"rows: {record.write_rows(request.results, machine.label(facts['machine']), rows, facts)}")
    return report(rows, console)


def report(rows: list[dict[str, Any]], console: Console) -> int:
    """Print the ratios and what is wrong; 1 if the goal is missed or the reader got anything else than whole videos."""
    grown = [row for row in rows if row["figure"] == "version"]
    (read,) = (row for row in rows if row["figure"] == "reader")
    for name, what in (("worker_part", "CPU of the workers"), ("seconds_part", "time from the request")):
        parts = [row[name] for row in grown]
        console.print(f"{what}: {median(parts):.1%} of a fresh render, {max(parts):.1%} at most (goal: {GOAL:.0%})")
    console.print(f"the newest video: {read['answers']} answers, {read['videos']} videos")
    for fault in read["faults"]:
        console.print(f"the newest video: {fault}", style="red", markup=False)
    return int(bool(read["faults"]) or any(max(row["worker_part"], row["seconds_part"]) > GOAL for row in grown))


def _measure_versions(request: GrowingRequest, scratch: Path) -> Iterator[dict[str, Any]]:
    source = footage.load_or_create(DISTINCT_FRAMES, request.size, footage.cache_folder())
    for name in ("frames", "answers"):
        (scratch / name).mkdir()
    footage.repeat_frames(source, request.frames, scratch / "frames")
    with ExitStack() as stack:
        growing, fresh = (stack.enter_context(_service(scratch, name)) for name in ("growing", "fresh"))
        json_or_raise(growing.client.put(f"/api/datasets/{growing.dataset['id']}/follow"))
        schedule = _make_schedule(growing)
        reader, experiment = Reader(scratch / "answers"), growing.dataset["experiment_id"]
        made = _run(growing, schedule)
        versions = [_version(0, made)]
        yield _row(request, 0, made) | {"figure": "first"}
        for number in range(1, request.versions + 1):
            count = request.frames + number * request.growth
            footage.repeat_frames(source, count, scratch / "frames")
            fresh.ingest_again(scratch / "frames")
            # Nobody reads while the last version is made: what API and database use is for the render alone.
            reads = reader.reading(growing.client, experiment) if number < request.versions else nullcontext()
            with reads:
                noticed = _append(growing, source, count - request.growth, count)
                made = _run(growing, schedule)
                versions.append(_version(number, made))
                again = _render_fresh(fresh)
            if (digest := again.status["video_sha256"]) != versions[-1].sha256:
                raise OutputsDiffer(f"version {number} is {versions[-1].sha256}, a fresh render {digest}")
            row = _row(request, number, made) | _comparison(noticed, made, again)
            yield {"figure": "version", **row, "reader": number < request.versions}
        reader.read(growing.client, experiment)
    yield {
        "figure": "reader",
        "answers": len(reader.answers),
        "videos": len({digest for digest, _ in reader.answers}),
        "faults": reader.faults(versions),
    }


@contextmanager
def _service(scratch: Path, name: str) -> Iterator[Reelmill]:
    """A service with its own database, objects and cache, and the frames so far."""
    with (
        isolated_environment(scratch / name, REELMILL_RATE_LIMIT="none") as settings,
        (scratch / f"{name}.log").open("wb") as log,
        running_service(settings, scratch / "frames", log) as reelmill,
    ):
        yield reelmill


def _make_schedule(reelmill: Reelmill) -> str:
    """A schedule that runs when it is asked to."""
    request = OPTIONS | {"experiment_id": reelmill.dataset["experiment_id"]}
    body = {"name": "growing", "cron": "0 0 1 1 *", "request": request}
    return str(json_or_raise(reelmill.client.post("/api/schedules", json=body))["id"])


def _append(reelmill: Reelmill, source: Footage, begin: int, end: int) -> Work:
    """Upload frames, one after the other as a camera does, and wait until the workers have seen them all."""
    address, before = f"/api/datasets/{reelmill.dataset['id']}", _Clock(reelmill)
    for number in range(begin, end):
        data = source.frames[number % len(source.frames)].read_bytes()
        reelmill.client.put(f"{address}/objects/{number:06d}.jpg", content=data).raise_for_status()
    deadline = time.monotonic() + FOLLOW_TIMEOUT_S
    while (found := json_or_raise(reelmill.client.get(address)))["frame_count"] != end or found["state"] != "ready":
        if time.monotonic() > deadline:
            raise RenderError(
                f"after {FOLLOW_TIMEOUT_S:.0f} s the dataset has {found['frame_count']} frames, not {end}"
            )
        time.sleep(0.1)
    return before.work()


def _run(reelmill: Reelmill, schedule: str) -> MeasuredRender:
    """Have the schedule run now."""
    return _wait(reelmill, lambda: reelmill.client.post(f"/api/schedules/{schedule}/run"))


def _render_fresh(reelmill: Reelmill) -> MeasuredRender:
    reelmill.delete_renders()
    body = OPTIONS | {"experiment_id": reelmill.dataset["experiment_id"]}
    return _wait(reelmill, lambda: reelmill.client.post("/api/videos/generate", json=body))


def _wait(reelmill: Reelmill, ask: Any) -> MeasuredRender:
    before = _Clock(reelmill)
    job = json_or_raise(ask())["job_id"]
    if job is None:
        raise RenderError("the schedule was refused")
    reelmill.wait_for_end(job, RENDER_TIMEOUT_S)
    work = before.work()
    status = json_or_raise(reelmill.client.get(f"/api/videos/{job}"))
    if status["status"] != "succeeded":
        raise RenderError(f"the render {status['status']}: {(status['error'] or {}).get('reason', '')}")
    return MeasuredRender(work, status)


class _Clock:
    """Time and CPU of a service from now on."""

    def __init__(self, reelmill: Reelmill) -> None:
        self._processes = {"worker": reelmill.pid("worker"), "api": reelmill.pid("api")}
        self._processes["database"] = reelmill.database_pid()
        self._cpu, self._start = self._read(), time.perf_counter()

    def _read(self) -> Cpu:
        return {name: tree_cpu_seconds([pid]) for name, pid in self._processes.items()}

    def work(self) -> Work:
        seconds, now = time.perf_counter() - self._start, self._read()
        return Work(seconds, {name: now[name] - before for name, before in self._cpu.items()})


def _version(number: int, made: MeasuredRender) -> Version:
    return Version(number, made.status["frames_total"], made.status["video_sha256"])


def _row(request: GrowingRequest, number: int, made: MeasuredRender) -> dict[str, Any]:
    size = dict(zip(("width", "height"), request.size, strict=True))
    facts = {"version": number, "frames": made.status["frames_total"], **size, "bytes": made.status["video_bytes"]}
    return facts | {"anew": made.new_segments, "reused": made.reused_segments} | _figures("", made.work)


def _comparison(noticed: Work, made: MeasuredRender, fresh: MeasuredRender) -> dict[str, Any]:
    """The parts count what was done to notice the new frames, too, as far as it is CPU of the workers."""
    worker = (noticed.cpu["worker"] + made.work.cpu["worker"]) / fresh.work.cpu["worker"]
    parts = {"worker_part": round(worker, 4), "seconds_part": round(made.work.seconds / fresh.work.seconds, 4)}
    return _figures("follow_", noticed) | _figures("fresh_", fresh.work) | {"fresh_anew": fresh.new_segments} | parts


def _figures(prefix: str, work: Work) -> dict[str, float]:
    cpu = {f"{prefix}{name}_cpu_s": round(seconds, 2) for name, seconds in work.cpu.items()}
    return {f"{prefix}seconds": round(work.seconds, 3)} | cpu
