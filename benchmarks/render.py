"""`python -m benchmarks render`: measure, check, and only then compare."""

import functools
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from benchmarks import chart, footage, machine, parity, record, reelmill, report
from benchmarks.cases import CASES, Case, Source
from benchmarks.ffmpeg import FfmpegError
from benchmarks.footage import Footage, UnusableFolder
from benchmarks.record import RenderRun
from benchmarks.run import Measurement

MEASUREMENT_ERRORS = (UnusableFolder, FfmpegError, *reelmill.SERVICE_ERRORS)
FRAME_SIZE = (1920, 1080)
MAX_DEEP_FRAMES = 300
"""At most: a 16-bit frame of that size takes 4 MB, and the script holds all of them twice."""
CONSOLE_WIDTH = 110
"""Columns of output; a pipe has 80, too few for the tables."""


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


Shape = tuple[int, int, int]
"""(frames, width, height) of the footage."""


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
    chart.draw_chart(rows.with_suffix(".png"), found, result.title)
    console.print(f"rows and chart: {rows} and .png", markup=False, soft_wrap=True)
    return 0
