"""The `reelmill` command line. Each command loads the settings, calls its implementation and turns errors into exit
codes.
"""

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console

from service import __version__, config
from service.errors import StartupError

app = typer.Typer(
    name="reelmill",
    help="Camera frames and source videos in S3/MinIO to videos, as fast as the machine allows.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 75 service unavailable, 77 not permitted, 78 configuration.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
error_console = Console(stderr=True)

FAILED, UNAVAILABLE, NOT_PERMITTED, CONFIGURATION = 1, 75, 77, StartupError.exit_code
# What an answer of the service means to a script: a refusal, a bad time, or (any other) a failure.
EXIT_CODE_BY_STATUS = {401: NOT_PERMITTED, 403: NOT_PERMITTED, 429: UNAVAILABLE, 503: UNAVAILABLE}


@contextmanager
def errors_to_exit_codes() -> Iterator[None]:
    """Errors that a user can mend end as one line on stderr and a documented exit code."""
    from service.commands.api_client import ApiError
    from service.commands.render import RenderError
    from service.commands.up import ChildExitError

    try:
        yield
    except StartupError as refusal:
        _exit_with(str(refusal), CONFIGURATION)
    except ApiError as refusal:
        _exit_with(str(refusal), EXIT_CODE_BY_STATUS.get(refusal.status, FAILED))
    except RenderError as ended:
        _exit_with(str(ended), FAILED)
    except ChildExitError as ended:
        _exit_with(str(ended), ended.code)
    except httpx.TransportError as error:
        _exit_with(
            f"the service cannot be reached ({type(error).__name__}): is it running, is REELMILL_URL right?",
            UNAVAILABLE,
        )


def _exit_with(message: str, code: int) -> None:
    error_console.print(f"reelmill: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def up() -> None:
    """Everything on one machine: API and worker, with whatever the environment does not name embedded."""
    from service.commands.api_client import mint_local_token
    from service.commands.up import run_local_service

    with errors_to_exit_codes():
        settings = config.load()
        with run_local_service(settings) as running:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: running.stopping.set())
            print(f"API     {running.url}\ndocs    {running.url}/docs", flush=True)
            print(f"token   {mint_local_token(settings, 'operator', ('admin',), timedelta(days=1))}", flush=True)
            running.supervise()


@app.command()
def api() -> None:
    """The HTTP API alone."""
    from service.processes.api import run_api
    from service.telemetry import logging

    with errors_to_exit_codes():
        settings = config.load()
        logging.configure(settings.logging.level)
        config.warn_of_outdated_variables()
        _run_async(run_api(settings))


@app.command()
def worker() -> None:
    """A worker: a supervisor and its slot processes."""
    from service.processes.worker import run_worker
    from service.telemetry import logging

    with errors_to_exit_codes():
        settings = config.load()
        logging.configure(settings.logging.level)
        config.warn_of_outdated_variables()
        _run_async(run_worker(settings))


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    from service.processes.startup import open_database

    with errors_to_exit_codes():
        embedded, _ = _run_async(open_database(config.load()))
        if embedded is not None:
            embedded.stop()
        print("the database has the newest schema")


@app.command()
def token(
    sub: Annotated[str, typer.Option(help="who the token is for")],
    scope: Annotated[str, typer.Option(help="space-separated scopes")] = "catalog:read videos:read",
    ttl: Annotated[str, typer.Option(help="life time: 30m, 12h, 7d")] = "1h",
) -> None:
    """Mint a token with JWT_SECRET or the local secret; it is printed alone on the last line."""
    from service.commands.api_client import mint_local_token, parse_duration

    with errors_to_exit_codes():
        print(mint_local_token(config.load(), sub, tuple(scope.split()), parse_duration(ttl)))


@app.command()
def ingest(
    folder: Annotated[
        Path, typer.Argument(help="folder with the frames or source videos", exists=True, file_okay=False)
    ],
    experiment: Annotated[str, typer.Option(help="experiment name; made when missing")],
    dataset: Annotated[str, typer.Option(help="dataset name; made when missing")] = "frames",
    kind: Annotated[str, typer.Option(help="frames or video")] = "frames",
) -> None:
    """Upload a folder and register it; run again after an interruption, it goes on where it stopped."""
    from service.commands.ingest import ingest_with_progress

    with errors_to_exit_codes():
        _run_async(ingest_with_progress(config.load(), folder, (experiment, dataset), kind))


@app.command()
def render(
    experiment: Annotated[str, typer.Option(help="experiment name or id")],
    decimation: Annotated[int, typer.Option(help="keep one frame in N", metavar="N")] = 1,
    fps: Annotated[float | None, typer.Option(help="output frames per second; 30 where nothing else sets it")] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="where to write the video; unset: out.mp4, or as the container"),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="any other request field, as name=value", metavar="NAME=VALUE")
    ] = None,
) -> None:
    """Render an experiment with live progress, fetch the video and its receipt, print its summary."""
    from service.commands.render import parse_request_fields, render_to_file

    with errors_to_exit_codes():
        fields: dict[str, Any] = {"decimation_factor": decimation} | parse_request_fields(option or [])
        if fps is not None or not fields.keys() & {"fps", "duration_seconds"}:
            fields["fps"] = fps or 30
        _run_async(render_to_file(config.load(), experiment, fields, output))


@app.command()
def verify(
    video: Annotated[Path, typer.Argument(help="the video", exists=True, dir_okay=False)],
    receipt: Annotated[Path, typer.Argument(help="its receipt, NDJSON", exists=True, dir_okay=False)],
) -> None:
    """Check a video against its receipt: digest, frames by decoding, every line. Exit code 1 when they differ."""
    from service.commands.verify import verify_video

    fits, lines = verify_video(video, receipt)
    if not fits:
        for line in lines:
            error_console.print(f"reelmill: {line}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(FAILED)
    print(*lines, sep="\n")


@app.command()
def demo(output: Annotated[Path, typer.Option(help="folder for the MP4")] = Path("demo")) -> None:
    """A small camera sequence through the whole service, on free ports, in a home of its own."""
    from service.commands.demo import run_demo

    with errors_to_exit_codes():
        run_demo(output)


@app.command()
def devices(
    here: Annotated[bool, typer.Option("--here", help="probe this machine, whatever service is running")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print what GET /api/devices answers")] = False,
) -> None:
    """What each device can do, proven, and its figures: of a service's workers or, where none runs, of this machine.

    Without a service the canaries are run here, each once, in processes of their own; that takes some seconds. The exit
    code is 1 when a device is degraded or quarantined.
    """
    from service.commands.devices import show_devices

    with errors_to_exit_codes():
        if not _run_async(show_devices(config.load(), here=here, as_json=as_json)):
            raise typer.Exit(FAILED)


@app.command()
def doctor() -> None:
    """Check what this machine and environment can do, and say what to mend."""
    from service.commands.doctor import run_checks

    raise typer.Exit(_run_async(run_checks()))


def _run_async(coroutine: Any) -> Any:
    """asyncio.run on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(coroutine)
    return uvloop.run(coroutine)


def main() -> None:
    app(prog_name="reelmill" if not sys.argv[0].endswith("__main__.py") else "python -m service")
