"""`python -m benchmarks render`: contenders render the same frames in turn (A B C A B C …). Ratios of a case are
printed only if its outputs are comparable.
"""

import itertools
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import typer
from rich.console import Console

from benchmarks import footage, machine, objects, record, reelmill
from benchmarks.cases import CASES, Case, Contender, Input
from benchmarks.footage import Footage, FootageShape, UnusableFolder
from benchmarks.process_stats import Timing
from benchmarks.record import RenderRun
from benchmarks.render import parity, report
from benchmarks.render.parity import VideoInspector
from benchmarks.render.rivals import Ffmpeg, FfmpegError, OpenCvBaseline, TiffScript


class Renderer(Protocol):
    """Renders the video of a case and measures the time."""

    def render(self, case: Case, output: Path) -> Timing: ...


@contextmanager
def open_contenders(footage: Footage, frames: Path, home: Path) -> Iterator[Mapping[Contender, Renderer]]:
    """The contenders that can render this footage. `frames` holds it as 00000.jpg, 00001.jpg, …"""
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
# A 16-bit frame of FRAME_SIZE takes 4 MB, and the script holds all frames twice.
MAX_DEEP_FRAMES = 300
# The tables need more than the 80 columns of a pipe.
CONSOLE_WIDTH = 110


@dataclass(frozen=True, slots=True)
class ComparisonRequest:
    """The options of the command; no `cases` means all."""

    folder: Path | None
    frames: int
    repetitions: int
    cases: tuple[str, ...]
    results: Path


def compare(request: ComparisonRequest) -> int:
    """Run the command; returns the exit code."""
    console, cases = Console(), _select_cases(request.cases, request.folder)
    console.width = max(console.width, CONSOLE_WIDTH)
    try:
        jpegs = _load_footage(request, console)
        facts = machine.facts() | {
            "store": "s3" if os.environ.get("MINIO_ENDPOINT") else "folder",
            "footage": "folder" if request.folder else "made",
            "source_bytes": jpegs.bytes,
        }
        shapes, runs = _measure(jpegs, cases, request, console)
    except MEASUREMENT_ERRORS as error:
        console.print(f"benchmarks: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    return report_result(console, ComparisonResult(cases, runs, facts, shapes), request.results)


def _measure(
    source_footage: Footage, cases: Sequence[Case], request: ComparisonRequest, console: Console
) -> "tuple[dict[Input, FootageShape], list[RenderRun]]":
    """The shape of each input, and all runs. Deep footage is converted from the JPEGs."""
    shapes: dict[Input, FootageShape] = {}
    runs: list[RenderRun] = []
    with tempfile.TemporaryDirectory(prefix="reelmill-bench-") as scratch:
        for source, kind in dict.fromkeys(case.input for case in cases):
            used = source_footage
            if kind != "street":
                used = footage.load_or_create(request.frames, FRAME_SIZE, footage.cache_folder(), kind)
            if source == "tiff":
                used = replace(used, frames=used.frames[:MAX_DEEP_FRAMES])
                used = footage.convert_to_deep_tiffs(used, Path(scratch) / "deep")
            shapes[source, kind] = used.shape
            cases_of_input = [case for case in cases if case.input == (source, kind)]
            for run in render_all(used, cases_of_input, request.repetitions):
                progress = (
                    f"{run.repetition}/{request.repetitions} {run.case:15} {run.contender:9} {run.seconds:6.2f} s"
                )
                console.print(progress, markup=False)
                runs.append(run)
    return shapes, runs


def render_all(used: Footage, cases: Sequence[Case], repetitions: int) -> Iterator[RenderRun]:
    """Each repetition of each case by each contender in turn; every output is inspected, then deleted."""
    with tempfile.TemporaryDirectory(prefix="reelmill-bench-") as name:
        folder, output = Path(name), Path(name) / "out.mp4"
        frames = folder / "frames"
        frames.mkdir()
        for number, path in enumerate(used.frames):
            (frames / f"{number:05d}{path.suffix.lower()}").symlink_to(path.resolve())
        inspector = VideoInspector(used.frames)
        with open_contenders(used, frames, folder / "home") as renderers:
            for repetition, case in itertools.product(range(1, repetitions + 1), cases):
                for contender in case.contenders:
                    timing = renderers[contender].render(case, output)
                    yield RenderRun(
                        case=case.name,
                        contender=contender,
                        repetition=repetition,
                        seconds=timing.wall,
                        cpu_seconds=timing.cpu,
                        stages=timing.stages,
                        **asdict(inspector.inspect(output)),
                    )
                    output.unlink(missing_ok=True)


def _select_cases(names: Sequence[str], folder: Path | None) -> list[Case]:
    """The cases of these names, or all; of a folder, only those that do not make their own footage."""
    known = {case.name: case for case in CASES if folder is None or case.footage == "street"}
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"{name}: the cases are {', '.join(known)}", param_hint="--case")
    return [known[name] for name in names] or list(known.values())


def _load_footage(request: ComparisonRequest, console: Console) -> Footage:
    if request.folder is not None:
        return footage.load_folder(request.folder)
    console.print(f"generating {request.frames} frames, unless they are cached", markup=False)
    return footage.load_or_create(request.frames, FRAME_SIZE, footage.cache_folder())


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """The runs of these cases, and the facts they share."""

    cases: Sequence[Case]
    runs: Sequence[RenderRun]
    facts: dict[str, Any]
    shapes: dict[Input, FootageShape]

    def find_faults(self) -> dict[str, list[str]]:
        """Why the runs of a case are not comparable, by its name; cases without faults are left out."""
        found = {}
        for case in self.cases:
            runs = [run for run in self.runs if run.case == case.name]
            if faults := parity.find_faults(case, self.shapes[case.input], runs):
                found[case.name] = faults
        return found

    def without(self, names: Collection[str]) -> "ComparisonResult":
        """The result of the other cases."""
        cases = [case for case in self.cases if case.name not in names]
        return replace(self, cases=cases, runs=[run for run in self.runs if run.case not in names])

    @property
    def title(self) -> str:
        cores, cpu = self.facts["machine"]["cores"], self.facts["machine"]["cpu"]
        return (
            f"{self.runs[0].frames} frames, Reelmill end to end: rival seconds / Reelmill seconds\n"
            f"{cores} cores, {cpu}, objects: {self.facts['store']}"
        )


def report_result(console: Console, result: ComparisonResult, results: Path) -> int:
    """Write rows, ratios and chart of the cases whose runs are comparable; returns the exit code."""
    faults = result.find_faults()
    for fault in itertools.chain(*faults.values()):
        console.print(f"not comparable: {fault}", style="red", markup=False, soft_wrap=True)
    good = result.without(faults)
    if good.cases:
        ratios = [ratio for case in good.cases for ratio in report.speed_ratios(case, good.runs)]
        rows = record.write_runs(results, machine.label(good.facts["machine"]), good.runs, good.facts)
        report.print_report(console, good.runs, ratios)
        report.print_worst(console, good.cases, ratios)
        report.draw_chart(rows.with_suffix(".png"), ratios, good.title)
        console.print(f"rows and chart: {rows} and .png", markup=False, soft_wrap=True)
    return 1 if faults else 0
