"""`python -m benchmarks studio`: the figures of the page, each against its goal."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import footage, machine, record
from benchmarks.cases import CASES
from benchmarks.footage import FootageShape
from benchmarks.reelmill import SERVICE_ERRORS, Reelmill, isolated_environment, running_service
from benchmarks.studio import scrubbing, views, watchers
from benchmarks.studio.browser import BrowserError, Page, open_browser
from benchmarks.studio.rows import add_long_dataset, add_renders

FIGURES = ("first", "list", "scrubbing", "pages")
SOURCE = FootageShape(frames=20, width=1920, height=1080)


@dataclass(frozen=True, slots=True)
class StudioRequest:
    """The options of the command, and what it is about: renders in the list, pages that are open, seconds for each
    p99, and the files that the long dataset repeats."""

    only: tuple[str, ...]
    frames: int
    repetitions: int
    minutes: float
    results: Path
    renders: int = 10_000
    pages: int = 50
    seconds: float = 30
    source: FootageShape = SOURCE


def measure(request: StudioRequest) -> int:
    """Run the command; the exit code is 1 if a goal is missed or nothing could be measured."""
    console = Console(soft_wrap=True)
    if unknown := set(request.only) - set(FIGURES):
        console.print(
            f"--only: {', '.join(sorted(unknown))} is none of {', '.join(FIGURES)}", style="red", markup=False
        )
        return 2
    rows: list[dict[str, Any]] = []
    try:
        with _prepared_service(request) as reelmill:
            for row in _measure_each(request, reelmill):
                rows.append({"benchmark": "studio", **row, "load": round(os.getloadavg()[0], 1)})
                console.print(json.dumps(rows[-1]), markup=False)
    except (*SERVICE_ERRORS, BrowserError) as error:
        console.print(f"not measured: {error}", style="red", markup=False)
    if rows:
        facts = machine.facts()
        console.print(f"rows: {record.write_rows(request.results, machine.label(facts['machine']), rows, facts)}")
    for goal in (missed := missed_goals(rows)):
        console.print(f"missed: {goal}", style="red", markup=False)
    return int(bool(missed) or {row["figure"] for row in rows} < _expected_figures(request))


def _expected_figures(request: StudioRequest) -> set[str]:
    names = {"first": {"first view"}, "scrubbing": {"scrubbing", "memory"}}
    return {name for each in request.only or FIGURES for name in names.get(each, {each})}


@contextmanager
def _prepared_service(request: StudioRequest) -> Iterator[Reelmill]:
    """The service with 16-bit frames, which no browser shows: workers make all pictures of them."""
    size = (request.source.width, request.source.height)
    source = footage.load_or_create(request.source.frames, size, footage.cache_folder())
    with ExitStack() as stack:
        name = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="reelmill-bench-", dir="/var/tmp", ignore_cleanup_errors=True)
        )
        scratch = Path(name)
        footage.convert_to_deep_tiffs(source, scratch / "frames")
        home = scratch / "home"
        variables = {"MINIO_ENDPOINT": "", "REELMILL_RATE_LIMIT": "none"}  # frames are hard links: they must be files
        settings = stack.enter_context(isolated_environment(home, **variables))
        log = stack.enter_context((scratch / "service.log").open("wb"))
        yield stack.enter_context(running_service(settings, scratch / "frames", log))


def _measure_each(request: StudioRequest, reelmill: Reelmill) -> Iterator[dict[str, Any]]:
    chosen = request.only or FIGURES
    job = reelmill.submit(CASES[0])
    reelmill.wait_for_end(job)
    browser = partial(open_browser, reelmill.url)
    if "first" in chosen:
        yield views.measure_first_view(browser, reelmill.token, request.repetitions)
    if "list" in chosen:
        add_renders(reelmill, job, request.renders)
        with _signed_in(reelmill) as page:
            yield views.measure_list(page, request.renders, request.repetitions)
    if "scrubbing" in chosen or "pages" in chosen:
        dataset = add_long_dataset(reelmill, request.frames)
    if "scrubbing" in chosen:
        with _signed_in(reelmill) as page:
            for row in scrubbing.measure(page, dataset, 3 * request.repetitions, request.minutes):
                yield row | {"frames": request.frames}
    if "pages" in chosen:
        yield from watchers.measure(reelmill, dataset, request.pages, request.seconds)


@contextmanager
def _signed_in(reelmill: Reelmill) -> Iterator[Page]:
    with open_browser(reelmill.url) as page:
        page.sign_in(reelmill.token)
        yield page


def missed_goals(rows: list[dict[str, Any]]) -> list[str]:
    """Each figure that is not what it should be, in words."""
    pages = {(row["state"], row["pages"] > 0): row for row in rows if row["figure"] == "pages"}
    missed = [text for row in rows for text, is_missed in _goals(row) if is_missed]
    if idle := pages.get(("idle", False)):
        for row in pages.values():
            ratio = row["p99_ms"] / idle["p99_ms"]
            if row["pages"] and ratio > watchers.GOAL_RATIO:
                missed.append(f"p99 with {row['pages']} pages and a render is {ratio:.1f} times the idle one")
    return missed


def _goals(row: dict[str, Any]) -> list[tuple[str, bool]]:
    match row["figure"]:
        case "first view":
            return [
                (f"{row['page_bytes']:,} bytes are sent for the page", row["page_bytes"] > views.GOAL_BYTES),
                (f"the first view takes {row['seconds']} s", row["seconds"] > views.GOAL_FIRST_S),
            ]
        case "scrubbing":
            cached, new = row["cached_ms"], row["not_cached_ms"]
            return [
                (f"{row['shown_per_s']} pictures a second", row["shown_per_s"] < scrubbing.GOAL_SHOWN),
                (f"sharp after {cached} ms, cached", cached is None or cached > scrubbing.GOAL_CACHED_MS),
                (f"sharp after {new} ms, not cached", new is None or new > scrubbing.GOAL_NEW_MS),
                (f"{row['never_sharp']} pictures were never sharp", row["never_sharp"] > 0),
            ]
        case "memory":
            heap = row["heap_mb"]
            return [(f"the heap grew from {heap[1]} to {heap[-1]} MB", heap[-1] > heap[1] + scrubbing.GOAL_GROWTH_MB)]
        case "list":
            return [(f"{row['frames_per_s']} frames a second in the list", row["frames_per_s"] < views.GOAL_FRAMES)]
    return [(fault, True) for fault in row.get("faults", ())]
