"""`python -m benchmarks`: each subcommand runs one benchmark and appends its rows to results/."""

from pathlib import Path
from typing import Annotated, Literal

import typer

VTEST = Path("/usr/share/doc/opencv-doc/examples/data/vtest.avi")
RESULTS = Path(__file__).parent / "results"
app = typer.Typer(
    help="Benchmarks of Reelmill. Exit codes: 0 measured, 1 outputs are not comparable or a run failed, 2 usage.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.command()
def render(
    folder: Annotated[Path | None, typer.Option(help="camera JPEGs of one size; default: generated and cached")] = None,
    frames: Annotated[int, typer.Option(min=2, help="1080p frames to generate")] = 300,
    repetitions: Annotated[int, typer.Option(min=1, help="renders per contender and case")] = 5,
    case: Annotated[
        list[str] | None, typer.Option(help="case to run (repeatable); see README.md; default: all")
    ] = None,
    results: Annotated[Path, typer.Option(help="folder for the rows and the chart")] = RESULTS,
) -> None:
    """Compare Reelmill, end to end, with the ffmpeg command line and OpenCV scripts on the same frames."""
    from benchmarks.render.comparison import ComparisonRequest, compare

    raise typer.Exit(compare(ComparisonRequest(folder, frames, repetitions, tuple(case or ()), results)))


@app.command()
def agent(
    host: Annotated[str | None, typer.Option(help="URL of an Ollama server; default: ask no model")] = None,
    model: Annotated[str, typer.Option(help="the model for all roles")] = "llama3.2:3b",
    seeds: Annotated[int, typer.Option(min=1, help="how often all is asked")] = 1,
    held_out: Annotated[bool, typer.Option(help="the questions that were written without knowing the agent")] = False,
    results: Annotated[Path, typer.Option(help="folder for the rows")] = RESULTS,
) -> None:
    """Ask 134 questions over a seeded catalogue: legal documents, right rows, refusals, seconds and tokens."""
    from benchmarks.agent.measurement import AgentRequest, measure

    raise typer.Exit(measure(AgentRequest(host, model, seeds, held_out, results)))


@app.command()
def quality(
    hall: Annotated[Path, typer.Option(help="vtest.avi of Debian's opencv-doc")] = VTEST,
    effort: Annotated[Literal["fast", "balanced", "small"] | None, typer.Option(help="only this one")] = None,
    results: Annotated[Path, typer.Option(help="folder for the rows")] = RESULTS,
) -> None:
    """Find the rate at which each encoder reaches x264's SSIM on a mixed corpus: the table of docs/quality.md."""
    from benchmarks.quality.calibration import calibrate

    raise typer.Exit(calibrate(hall, [effort] if effort else ["fast", "balanced", "small"], results))


@app.command()
def efforts(
    frames: Annotated[int, typer.Option(min=2, help="1080p frames of each kind of footage")] = 30,
    repetitions: Annotated[int, typer.Option(min=1)] = 2,
    results: Annotated[Path, typer.Option(help="folder for the rows")] = RESULTS,
) -> None:
    """Measure CPU, bytes and SSIM of each effort on four kinds of footage: the second table of docs/quality.md."""
    from benchmarks.quality.efforts import measure

    raise typer.Exit(measure(frames, repetitions, results))


@app.command()
def playable(
    frames: Annotated[int, typer.Option(min=100, help="1080p frames of the render")] = 3000,
    repetitions: Annotated[int, typer.Option(min=1)] = 5,
    results: Annotated[Path, typer.Option(help="folder for the rows")] = RESULTS,
) -> None:
    """Measure the seconds from submit until the first HLS segment can be played."""
    from benchmarks.render.playable import measure

    raise typer.Exit(measure(frames, repetitions, results))


@app.command()
def incremental(
    frames: Annotated[int, typer.Option(min=100, help="1080p frames before the experiment grows")] = 3000,
    repetitions: Annotated[int, typer.Option(min=1, help="requests for the finished render")] = 20,
    results: Annotated[Path, typer.Option(help="folder for the rows")] = RESULTS,
) -> None:
    """Measure a render after its experiment has grown by 5 %, and a repeated request."""
    from benchmarks.render.incremental import measure

    raise typer.Exit(measure(frames, repetitions, results))


@app.command()
def growing(
    frames: Annotated[int, typer.Option(min=100, help="frames of the first version")] = 3000,
    growth: Annotated[int, typer.Option(min=1, help="frames that each version has more")] = 30,
    versions: Annotated[int, typer.Option(min=1, help="versions after the first")] = 5,
    height: Annotated[int, typer.Option(min=36, help="of the frames, which are 16:9: a multiple of 36")] = 720,
    results: Annotated[Path, typer.Option(help="folder for the rows")] = RESULTS,
) -> None:
    """Measure each version of a video that grows, beside a fresh render, while a reader asks for the newest one."""
    from benchmarks.growing.measurement import GrowingRequest, measure

    raise typer.Exit(measure(GrowingRequest(frames, growth, versions, height, results)))


@app.command()
def planning(
    frames: Annotated[
        list[int] | None,
        typer.Option(min=1, help="frames of the render (repeatable)"),
    ] = None,
    repetitions: Annotated[int, typer.Option(min=1)] = 5,
    results: Annotated[Path, typer.Option(help="folder for the rows")] = RESULTS,
) -> None:
    """Measure the seconds and memory to plan renders of 1,000, 10,000 and 100,000 frames."""
    from benchmarks.render.planning import measure

    raise typer.Exit(measure(frames or (1_000, 10_000, 100_000), repetitions, results))


@app.command()
def api(
    rate: Annotated[int, typer.Option(min=1, max=1000, help="requests per second")] = 50,
    seconds: Annotated[int, typer.Option(min=1, help="seconds per measurement")] = 20,
    frames: Annotated[int, typer.Option(min=100, help="1080p frames of the render that keeps the slots busy")] = 6000,
    repetitions: Annotated[int, typer.Option(min=1)] = 5,
    results: Annotated[Path, typer.Option(help="folder for the rows")] = RESULTS,
) -> None:
    """Measure the API's p99 with idle and with busy slots, and the cost of its middleware. Needs h2load."""
    from benchmarks.api.latency import LatencyRequest, measure

    raise typer.Exit(measure(LatencyRequest(rate, seconds, frames, repetitions, results)))


@app.command()
def ingest(
    files: Annotated[int, typer.Option(min=1000, help="small JPEGs")] = 100_000,
    results: Annotated[Path, typer.Option(help="folder for the rows")] = RESULTS,
) -> None:
    """Measure `reelmill ingest` of many small JPEGs, beside a request for each file."""
    from benchmarks.api.ingest import measure

    raise typer.Exit(measure(files, results))


@app.command()
def soak(
    clients: Annotated[int, typer.Option(min=1, help="concurrent clients")] = 200,
    seconds: Annotated[float, typer.Option(min=1)] = 60,
    results: Annotated[Path, typer.Option(help="folder for the row")] = RESULTS,
) -> None:
    """Run readers, queries, renders and event streams at once; fail on a 5xx, a stuck client or a leak."""
    from benchmarks.api.soak import measure

    raise typer.Exit(measure(clients, seconds, results))


@app.command()
def door(
    connections: Annotated[int, typer.Option(min=1, help="hostile connections")] = 5000,
    seconds: Annotated[int, typer.Option(min=1, help="seconds per measurement")] = 60,
    rate: Annotated[int, typer.Option(min=1, max=1000, help="honest requests per second")] = 20,
    results: Annotated[Path, typer.Option(help="folder for the rows")] = RESULTS,
) -> None:
    """Measure the p99 of a list, idle and while hostile connections hold what they can."""
    from benchmarks.api.door import DoorRequest, measure

    raise typer.Exit(measure(DoorRequest(connections, seconds, rate, results)))


@app.command()
def fairness(
    frames: Annotated[int, typer.Option(min=100, help="frames of each render of the heavy caller")] = 300,
    repetitions: Annotated[int, typer.Option(min=1, help="light renders, alone and beside the heavy ones")] = 7,
    results: Annotated[Path, typer.Option(help="folder for the row")] = RESULTS,
) -> None:
    """Measure a light caller's render beside a heavy one's 30, and the shares of ten callers with 1 to 100 renders."""
    from benchmarks.api.fairness import measure

    raise typer.Exit(measure(frames, repetitions, results))


@app.command()
def queue(
    tasks: Annotated[int, typer.Option(min=100, help="tasks that wait")] = 1_000_000,
    workers: Annotated[int, typer.Option(min=1, help="simulated workers of 8 slots")] = 200,
    sample: Annotated[int, typer.Option(min=100, help="tasks that are taken and finished for each row")] = 20_000,
    results: Annotated[Path, typer.Option(help="folder for the rows")] = RESULTS,
) -> None:
    """Measure the queue under a large backlog: pick-up, PostgreSQL's CPU, rows and WAL a task, an old transaction."""
    from benchmarks.queue.measurement import QueueRequest, measure

    raise typer.Exit(measure(QueueRequest(tasks, workers, sample, results)))


@app.command()
def studio(
    only: Annotated[list[str] | None, typer.Option(help="first, list, scrubbing or pages (repeatable)")] = None,
    frames: Annotated[int, typer.Option(min=100, help="frames of the dataset that is scrubbed")] = 100_000,
    repetitions: Annotated[int, typer.Option(min=1, help="first views and lists; three times as many rests")] = 7,
    minutes: Annotated[float, typer.Option(min=0, help="of scrubbing, for the memory")] = 10,
    results: Annotated[Path, typer.Option(help="folder for the rows")] = RESULTS,
) -> None:
    """Measure the page in Chromium: first view, scrubbing, a long list, and the API with many pages open."""
    from benchmarks.studio.measurement import StudioRequest, measure

    raise typer.Exit(measure(StudioRequest(tuple(only or ()), frames, repetitions, minutes, results)))


@app.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
def devices(words: Annotated[list[str] | None, typer.Argument(help="see --help")] = None) -> None:
    """Compare CPU, GPU and mixed paths of this machine: stages and renders. Also `python -m benchmarks.devices`."""
    from benchmarks.devices.__main__ import main

    raise typer.Exit(main(words or []))


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
