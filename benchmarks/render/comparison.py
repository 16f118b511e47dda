"""`python -m benchmarks render`: contenders render the same frames in turn (A B C A B C ...); outputs are checked
before ratios are printed.
"""

import functools
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import typer
from rich.console import Console

from benchmarks import footage, machine, objects, record, reelmill
from benchmarks.cases import CASES, Case, Contender, Source
from benchmarks.footage import Footage, UnusableFolder
from benchmarks.process_stats import Timing
from benchmarks.record import RenderRun
from benchmarks.render import parity, report
from benchmarks.render.ffmpeg import Ffmpeg, FfmpegError
from benchmarks.render.opencv import OpenCvBaseline, TiffScript
from benchmarks.render.parity import VideoInspector

ProgressCallback = Callable[[str], None]


class Renderer(Protocol):
    """Makes the video of a case and says how long it took."""

    def render(self, case: Case, output: Path) -> Timing: ...


@dataclass(frozen=True, slots=True)
class Measurement:
    """What to run, and who hears how it goes."""

    footage: Footage
    cases: Sequence[Case]
    repetitions: int
    on_progress: ProgressCallback

    def runs(self) -> list[RenderRun]:
        """All runs, each output examined, in the order they were made."""
        with tempfile.TemporaryDirectory(prefix="reelmill-bench-") as name:
            folder = Path(name)
            frames = link_numbered(self.footage, folder / "frames")
            self.on_progress("reading sample frames; starting the service; ingesting")
            examiner = VideoInspector(self.footage.frames)
            with contenders(self.footage, frames, folder / "home") as known:
                return list(self._run_all(known, examiner, folder / "out.mp4"))

    def _run_all(
        self, known: Mapping[Contender, Renderer], examiner: VideoInspector, output: Path
    ) -> Iterator[RenderRun]:
        for repetition in range(1, self.repetitions + 1):
            for case in self.cases:
                for name in case.contenders:
                    timing = known[name].render(case, output)
                    seen = asdict(examiner.inspect(output))
                    told = (timing.wall, timing.cpu)
                    run = RenderRun(case.name, name, repetition, *told, **seen, stages=timing.stages)
                    self.on_progress(f"{repetition}/{self.repetitions} {case.name:8} {name:9} {run.seconds:6.2f} s")
                    yield run
                    output.unlink(missing_ok=True)


def link_numbered(footage: Footage, folder: Path) -> Path:
    """A folder where the frames are called 00000.jpg, 00001.jpg, …, as ffmpeg wants them."""
    folder.mkdir()
    for number, path in enumerate(footage.frames):
        (folder / f"{number:05d}{path.suffix.lower()}").symlink_to(path.resolve())
    return folder


@contextmanager
def contenders(footage: Footage, frames: Path, home: Path) -> Iterator[Mapping[Contender, Renderer]]:
    """All that know what to do with such frames, ready to render them."""
    size = (footage.width, footage.height)
    with reelmill.isolated_environment(home) as settings, reelmill.running_service(settings, frames) as ours:
        if footage.frames[0].suffix == ".tif":
            yield {"reelmill": ours, "script": TiffScript(footage.frames)}
            return
        keys = ours.object_keys([path.name for path in sorted(frames.iterdir())])
        yield {
            "reelmill": ours,
            "ffmpeg": Ffmpeg(frames, size),
            "old way": OpenCvBaseline(objects.object_reader(settings), keys, size),
        }


MEASUREMENT_ERRORS = (UnusableFolder, FfmpegError, *reelmill.SERVICE_ERRORS)
FRAME_SIZE = (1920, 1080)
# At most: a 16-bit frame of that size takes 4 MB, and the script holds all of them twice.
MAX_DEEP_FRAMES = 300
# Columns of output; a pipe has 80, too few for the tables.
CONSOLE_WIDTH = 110


@dataclass(frozen=True, slots=True)
class ComparisonRequest:
    """What the user asked for; `cases` empty means all."""

    folder: Path | None
    frames: int
    repetitions: int
    cases: tuple[str, ...]
    results: Path


def compare(request: ComparisonRequest) -> int:
    """The whole command; its exit code."""
    console, cases = Console(), _select_cases(request.cases)
    console.width = max(console.width, CONSOLE_WIDTH)
    try:
        taken = _load_footage(request, console)
        facts = machine.facts() | _input_facts(taken, request)
        shapes, runs = _measure(taken, cases, request, console)
    except MEASUREMENT_ERRORS as error:
        console.print(f"benchmarks: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    return report_result(console, ComparisonResult(cases, runs, facts, shapes), request.results)


def _measure(
    original: Footage, cases: Sequence[Case], request: ComparisonRequest, console: Console
) -> "tuple[dict[Source, Shape], list[RenderRun]]":
    """The shape of each kind of footage, and all runs. Deep footage is made of the other for the while."""
    shapes: dict[Source, Shape] = {}
    runs: list[RenderRun] = []
    with tempfile.TemporaryDirectory(prefix="reelmill-bench-") as scratch:
        for source in dict.fromkeys(case.source for case in cases):
            of = replace(original, frames=original.frames[:MAX_DEEP_FRAMES])
            used = footage.convert_to_deep_tiffs(of, Path(scratch) / "deep") if source == "tiff" else original
            shapes[source] = used.shape
            own = [case for case in cases if case.source == source]
            told = functools.partial(console.print, markup=False)
            runs += Measurement(used, own, request.repetitions, told).runs()
    return shapes, runs


def _select_cases(names: Sequence[str]) -> list[Case]:
    known = {case.name: case for case in CASES}
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"{name}: the cases are {', '.join(known)}", param_hint="--case")
    return [known[name] for name in names] or list(CASES)


def _load_footage(request: ComparisonRequest, console: Console) -> Footage:
    if request.folder is not None:
        return footage.load_folder(request.folder)
    console.print(f"making {request.frames} frames, unless they are there from before", markup=False)
    return footage.load_or_create(request.frames, FRAME_SIZE, footage.cache_folder())


def _input_facts(source: Footage, request: ComparisonRequest) -> dict[str, Any]:
    return {
        "store": "s3" if os.environ.get("MINIO_ENDPOINT") else "folder",
        "footage": "folder" if request.folder else "made",
        "source_bytes": source.bytes,
    }


# (frames, width, height) of the footage.
Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """Runs of these cases, and the facts they share."""

    cases: Sequence[Case]
    runs: Sequence[RenderRun]
    facts: dict[str, Any]
    shapes: dict[Source, Shape]

    def find_faults(self) -> list[str]:
        """Why there is nothing to compare; empty when there is."""
        of = {case.name: [run for run in self.runs if run.case == case.name] for case in self.cases}
        each = (parity.find_faults(case, self.shapes[case.source], of[case.name]) for case in self.cases)
        return [fault for faults in each for fault in faults]

    @property
    def title(self) -> str:
        where = "{cores} cores, {cpu}, objects: {store}".format(**self.facts["machine"], store=self.facts["store"])
        return f"{self.runs[0].frames} frames, Reelmill end to end: rival seconds / Reelmill seconds\n{where}"


def report_result(console: Console, result: ComparisonResult, results: Path) -> int:
    """The gate; past it rows, ratios and chart. The exit code."""
    cases, runs, facts = result.cases, result.runs, result.facts
    faults = result.find_faults()
    if faults:
        for fault in faults:
            console.print(f"not comparable: {fault}", style="red", markup=False, soft_wrap=True)
        return 1
    found = [ratio for case in cases for ratio in report.speed_ratios(case, runs)]
    rows = record.write_runs(results, machine.label(facts["machine"]), runs, facts)
    report.print_report(console, runs, found)
    report.draw_chart(rows.with_suffix(".png"), found, result.title)
    console.print(f"rows and chart: {rows} and .png", markup=False, soft_wrap=True)
    return 0
