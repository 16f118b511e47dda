"""Commands for the catalogue: experiments, datasets, frames."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from service import config
from service.cli.app import app, run_async
from service.cli.exit_codes import FAILED, LEFT_OUT, client_errors_to_exit_codes, exit_with
from service.cli.options import AsJson, Dataset, Force, What


@app.command()
def ingest(
    folder: Annotated[
        Path, typer.Argument(help="folder with the frames or source videos", exists=True, file_okay=False)
    ],
    experiment: Annotated[str, typer.Option(help="experiment name; created if missing")],
    dataset: Annotated[str, typer.Option(help="dataset name; created if missing")] = "frames",
    kind: Annotated[Literal["frames", "video"], typer.Option(help="what the files are")] = "frames",
    checksum: Annotated[
        bool, typer.Option("--checksum", help="compare contents, not times; where the store has no MD5, send all again")
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", help="go on with what appears, until interrupted")] = False,
) -> None:
    """Upload the new and changed files of a folder into a dataset; run it again after an interruption to resume.

    What is left out is named. The exit code is 65 if frames or source videos are among it.
    """
    from service.commands.remote.ingest import ingest as run
    from service.commands.remote.ingest import ingest_while_growing

    with client_errors_to_exit_codes():
        if follow:
            run_async(ingest_while_growing(config.load(), folder, (experiment, dataset), kind, checksum=checksum))
        if not run_async(run(config.load(), folder, (experiment, dataset), kind, checksum=checksum)):
            raise typer.Exit(LEFT_OUT)


@app.command()
def register(
    address: Annotated[str, typer.Argument(help="where the frames are: s3://bucket/prefix/")],
    experiment: Annotated[str, typer.Option(help="experiment name; created if missing")],
    dataset: Annotated[str, typer.Option(help="dataset name")] = "frames",
    kind: Annotated[Literal["frames", "video"], typer.Option(help="what the objects are")] = "frames",
    as_json: AsJson = False,
) -> None:
    """Make a dataset of frames or source videos that are in a bucket already, and scan it. Nothing is copied."""
    from service.commands.remote.catalogue import register as run

    with client_errors_to_exit_codes():
        run_async(run(config.load(), address, (experiment, dataset), kind, as_json=as_json))


@app.command()
def ls(
    path: Annotated[
        str | None, typer.Argument(help="an experiment, or one of its datasets", metavar="EXPERIMENT[/DATASET]")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="at most so many frames; default: 100 in a table", min=1)] = None,
    as_json: AsJson = False,
) -> None:
    """List experiments, the datasets of one, or the first frames of a dataset."""
    from service.commands.remote.listing import list_catalogue

    with client_errors_to_exit_codes():
        run_async(list_catalogue(config.load(), path, limit, as_json=as_json))


@app.command()
def frames(
    dataset: Dataset,
    start: Annotated[int, typer.Option(help="first place in the sequence", min=0)] = 0,
    limit: Annotated[int | None, typer.Option(help="at most so many", min=1)] = None,
    unreadable: Annotated[bool, typer.Option("--unreadable", help="only frames that cannot be read")] = False,
    odd_size: Annotated[bool, typer.Option("--odd-size", help="only frames of another size than most")] = False,
    as_json: AsJson = False,
) -> None:
    """List the frames of a dataset, with sizes, capture times and problems."""
    from service.commands.remote.listing import list_frames

    filters = {"start": start, "unreadable": unreadable or None, "odd_size": odd_size or None}
    with client_errors_to_exit_codes():
        run_async(list_frames(config.load(), dataset, filters, limit, as_json=as_json))


@app.command()
def follow(
    dataset: Dataset,
    off: Annotated[bool, typer.Option("--off", help="do not follow it any more; its frames stay")] = False,
    as_json: AsJson = False,
) -> None:
    """Have the service follow a dataset: what appears under its prefix becomes frames by itself."""
    from service.commands.remote.catalogue import follow as run

    with client_errors_to_exit_codes():
        run_async(run(config.load(), dataset, off=off, as_json=as_json))


@app.command()
def show(
    what: What,
    as_json: AsJson = False,
) -> None:
    """Show all that is known of an experiment, a dataset, a render, a preset or a schedule."""
    from service.commands.remote.listing import show as run

    with client_errors_to_exit_codes():
        run_async(run(config.load(), what, as_json=as_json))


@app.command()
def rm(
    what: What,
    force: Force = False,
    frames: Annotated[bool, typer.Option("--frames", help="also uploaded frames and source videos")] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="do not ask")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete an experiment with its datasets, a dataset with its renders, a render, a preset or a schedule."""
    from service.commands.remote.removal import describe, remove

    with client_errors_to_exit_codes():
        if not yes:
            what, question = run_async(describe(config.load(), what, frames=frames))
            require_yes(question)
        run_async(remove(config.load(), what, force=force, frames=frames, as_json=as_json))


def require_yes(question: str) -> None:
    """Ask on stderr; without a yes, say that nothing was deleted, and exit."""
    print(f"{question} [y/N]: ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline() if sys.stdin else ""
    if not answer.endswith("\n"):
        print(file=sys.stderr)
    if not answer.strip():
        exit_with("nothing was deleted: there was no answer (-y deletes without asking)", FAILED)
    if answer.strip().lower() not in ("y", "yes"):
        exit_with("nothing was deleted", FAILED)


@app.command("open")
def open_() -> None:
    """Open the page of the service in this machine's browser."""
    from service.commands.remote.catalogue import open_page

    with client_errors_to_exit_codes():
        open_page(config.load())
