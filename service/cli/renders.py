"""Commands for renders: make, follow, look at and download them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from service import config
from service.cli.app import app, run_async
from service.cli.exit_codes import FAILED, client_errors_to_exit_codes, print_error, refusals_to_exit_code
from service.cli.options import AsJson, Job, Jobs, Output


@app.command()
def render(
    experiment: Annotated[str, typer.Option(help="experiment, or EXPERIMENT/DATASET: name, id or address")],
    decimation: Annotated[
        int | None, typer.Option(help="keep one frame in N; default: all", metavar="N", min=1, max=100_000)
    ] = None,
    fps: Annotated[float | None, typer.Option(help="output frames per second; default: 30", min=0.1, max=240)] = None,
    preset: Annotated[
        str | None, typer.Option(help="preset with options, which the others override: name or id")
    ] = None,
    effort: Annotated[
        Literal["fast", "balanced", "small"] | None,
        typer.Option(help="at the same quality, fast takes less time, small gives fewer bytes; default: balanced"),
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(help="another dataset of the experiment, shown beside it in a grid; may be repeated"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="output file, - is stdout; default: out.mp4, or out.<container>"),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="any other request field, as name=value", metavar="NAME=VALUE")
    ] = None,
) -> None:
    """Render an experiment with live progress; download the video and its receipt, print a summary."""
    from service.commands.remote.render import render_to_file, request_fields

    with client_errors_to_exit_codes():
        named = {"decimation_factor": decimation, "fps": fps, "effort": effort, "preset": preset}
        fields = request_fields(named, option or [])
        run_async(render_to_file(config.load(), experiment, fields, output, beside or []))


@app.command()
def verify(
    video: Annotated[Path, typer.Argument(help="the video", exists=True, dir_okay=False)],
    receipt: Annotated[Path, typer.Argument(help="its receipt, NDJSON", exists=True, dir_okay=False)],
) -> None:
    """Check a video against its receipt: digest, decoded frames, every line. Exit code 1 if they differ."""
    from service.commands.verify import verify_video

    with client_errors_to_exit_codes():
        matches, lines = verify_video(video, receipt)
    if not matches:
        for line in lines:
            print_error(line)
        raise typer.Exit(FAILED)
    print(*lines, sep="\n")


@app.command()
def renders(
    status: Annotated[
        Literal["queued", "running", "succeeded", "failed", "cancelled"] | None, typer.Option(help="only these")
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(help="only of this experiment, or EXPERIMENT/DATASET: name, id or address")
    ] = None,
    mine: Annotated[bool, typer.Option("--mine", help="only those that you asked for")] = False,
    limit: Annotated[int, typer.Option(help="at most so many", min=1)] = 50,
    as_json: AsJson = False,
) -> None:
    """List renders, newest first."""
    from service.commands.remote.listing import list_renders

    filters = {"status": status, "experiment": experiment, "mine": mine or None}
    with client_errors_to_exit_codes():
        run_async(list_renders(config.load(), filters, limit, as_json=as_json))


@app.command()
def watch(job: Job, as_json: AsJson = False) -> None:
    """Follow a render to its end; exit code 1 if it does not succeed."""
    from service.commands.remote.jobs import watch as run

    with client_errors_to_exit_codes():
        run_async(run(config.load(), job, as_json=as_json))


@app.command()
def cancel(jobs: Jobs) -> None:
    """Cancel renders. What is done of them is kept for a later try."""
    from service.commands.remote.jobs import cancel as run

    with client_errors_to_exit_codes(), refusals_to_exit_code() as report_refusal:
        run_async(run(config.load(), jobs, report_refusal))


@app.command()
def retry(jobs: Jobs) -> None:
    """Queue renders again that have failed or were cancelled."""
    from service.commands.remote.jobs import retry as run

    with client_errors_to_exit_codes(), refusals_to_exit_code() as report_refusal:
        run_async(run(config.load(), jobs, report_refusal))


@app.command()
def get(
    job: Job,
    what: Annotated[str, typer.Argument(help="video, receipt, poster, or the number of an output frame")] = "video",
    output: Output = None,
) -> None:
    """Download what a render has made; a video is checked against its receipt."""
    from service.commands.remote.jobs import get as run

    if what not in ("video", "receipt", "poster") and not what.isdecimal():
        raise typer.BadParameter("video, receipt, poster, or the number of an output frame", param_hint="WHAT")
    with client_errors_to_exit_codes():
        run_async(run(config.load(), job, what, output))
