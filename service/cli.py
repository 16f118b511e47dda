"""The `reelmill` command line: options of each command, and errors turned into exit codes."""

import asyncio
import io
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import httpx
import typer

from service import __version__, config
from service.errors import StartupError
from service.private_files import PRIVATE_UMASK

app = typer.Typer(
    name="reelmill",
    help="Render camera frames and source videos in S3/MinIO into videos, as fast as the machine allows.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 65 done but some files were left out, 75 service unavailable, "
    "77 not permitted, 78 configuration, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

FAILED, USAGE, LEFT_OUT, UNAVAILABLE, NOT_PERMITTED, CONFIGURATION = 1, 2, 65, 75, 77, StartupError.exit_code
# Exit codes for HTTP statuses of the service; any other error is FAILED.
EXIT_CODE_BY_STATUS = {401: NOT_PERMITTED, 403: NOT_PERMITTED, 429: UNAVAILABLE, 503: UNAVAILABLE}


@contextmanager
def startup_errors_to_exit_codes() -> Iterator[None]:
    """As `errors_to_exit_codes`, for processes that serve: they raise no other."""
    try:
        yield
    except StartupError as error:
        _exit_with(str(error), CONFIGURATION)


@contextmanager
def errors_to_exit_codes() -> Iterator[None]:
    """Print errors the user can fix as one line on stderr and exit with the documented code."""
    from service.commands.api_client import ApiError
    from service.commands.ingest import FolderError
    from service.commands.render import RenderError
    from service.commands.supervision import ChildExitError

    try:
        with startup_errors_to_exit_codes():
            yield
    except ApiError as error:
        _exit_with(str(error), USAGE if error.refuses_fields else EXIT_CODE_BY_STATUS.get(error.status, FAILED))
    except (FolderError, RenderError) as error:
        _exit_with(str(error), FAILED)
    except ChildExitError as error:
        _exit_with(str(error), error.code)
    except httpx.RequestError as error:
        reason = f"the service cannot be reached ({type(error).__name__}): is it running, is REELMILL_URL correct?"
        _exit_with(reason, UNAVAILABLE)


@contextmanager
def client_errors_to_exit_codes() -> Iterator[None]:
    """Also the errors of local files, and of options that are not text. A closed pipe is left to `main`."""
    with errors_to_exit_codes():
        try:
            yield
        except UnicodeEncodeError:
            _exit_with("an option is not in UTF-8", USAGE)
        except BrokenPipeError:
            raise
        except OSError as error:
            place = f"{os.fsdecode(error.filename)}: " if error.filename else ""
            _exit_with(f"{place}{error.strerror or error}", FAILED)


def _exit_with(message: str, code: int) -> None:
    _print_error(message)
    raise typer.Exit(code)


def _print_error(message: str) -> None:
    typer.secho(f"reelmill: {message}", fg="red", err=True)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def up() -> None:
    """Run the API and a worker on this machine; services without a setting are embedded."""
    from service.commands.up import run_up

    with errors_to_exit_codes():
        run_up(config.load())


@app.command()
def api() -> None:
    """Run only the HTTP API."""
    from service.processes.api import run_api

    _serve(run_api)


@app.command()
def worker() -> None:
    """Run only a worker: a supervisor and its slots."""
    from service.processes.worker import run_worker

    _serve(run_worker)


def _serve(run: Callable[[config.Settings], Coroutine[Any, Any, None]]) -> None:
    from service.telemetry import logging

    with startup_errors_to_exit_codes():
        os.umask(PRIVATE_UMASK)
        settings = config.load()
        logging.configure(settings.logging.level)
        config.warn_of_outdated_variables()
        _run_async(run(settings))


@app.command()
def migrate() -> None:
    """Migrate the database to the current schema."""
    from service.processes.startup import open_database

    with errors_to_exit_codes():
        embedded, _ = _run_async(open_database(config.load()))
        if embedded is not None:
            embedded.stop()
        print("the database has the current schema")


@app.command()
def fsck(
    fix: Annotated[bool, typer.Option("--fix", help="repair what differs")] = False,
    sample: Annotated[int, typer.Option(help="cached segments that are read and compared", min=0)] = 50,
    max_share: Annotated[
        float, typer.Option(help="the largest share of all objects that a repair may delete", min=0, max=1)
    ] = 0.2,
) -> None:
    """Compare the bucket with the database: orphans, lost files, digests by sample. Exit code 1 if they differ."""
    from service.commands.fsck import TooMuchToDelete, run_fsck
    from service.store.objects.object_store import ObjectStoreError

    with errors_to_exit_codes():
        try:
            clean = _run_async(run_fsck(config.load(), fix=fix, sample=sample, max_share=max_share))
        except (TooMuchToDelete, ObjectStoreError) as error:
            _exit_with(str(error), FAILED)
        if not clean:
            raise typer.Exit(FAILED)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="the file to write, which does not exist yet", dir_okay=False)],
    objects: Annotated[
        Literal["own", "all", "none"],
        typer.Option(
            help="own: uploads and files of renders; all: cached segments and previews, too; none: only a list"
        ),
    ] = "own",
) -> None:
    """Write the database and its objects into one file. The service may run meanwhile.

    The exit code is 65 if objects that the database names could not be read.
    """
    from service.commands.backup import run_backup

    with backup_errors_to_exit_codes():
        if not _run_async(run_backup(config.load(), file, objects)):
            raise typer.Exit(LEFT_OUT)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="a file that `reelmill backup` wrote", exists=True, dir_okay=False)],
) -> None:
    """Restore a backup into an empty database and an empty bucket. Nothing is changed if that is not possible.

    The exit code is 65 if objects of a backup without bytes are not in the bucket.
    """
    from service.commands.backup import run_restore

    with backup_errors_to_exit_codes():
        if not _run_async(run_restore(config.load(), file)):
            raise typer.Exit(LEFT_OUT)


@contextmanager
def backup_errors_to_exit_codes() -> Iterator[None]:
    """Also what a backup, its file, or the object store says."""
    from service.store.backup.archive import BackupError
    from service.store.objects.object_store import ObjectStoreError

    with errors_to_exit_codes():
        try:
            yield
        except (BackupError, ObjectStoreError) as error:
            _exit_with(str(error), FAILED)


@app.command()
def token(
    sub: Annotated[str, typer.Option(help="subject of the token")],
    scope: Annotated[str, typer.Option(help="space-separated scopes")] = "catalog:read videos:read",
    ttl: Annotated[str, typer.Option(help="lifetime: 30m, 12h, 7d")] = "1h",
) -> None:
    """Sign a token with JWT_SECRET or the local secret and print it as the last line."""
    from service.commands.api_client import mint_local_token, parse_duration

    with client_errors_to_exit_codes():
        print(mint_local_token(config.load(), sub, tuple(scope.split()), parse_duration(ttl)))


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
    from service.commands.ingest import IngestTarget, ingest_while_growing, ingest_with_progress

    with client_errors_to_exit_codes():
        target = IngestTarget(experiment, dataset, kind)
        if follow:
            _run_async(ingest_while_growing(config.load(), folder, target, checksum))
        if not _run_async(ingest_with_progress(config.load(), folder, target, checksum)):
            raise typer.Exit(LEFT_OUT)


@app.command()
def render(
    experiment: Annotated[str, typer.Option(help="experiment name or id")],
    decimation: Annotated[int, typer.Option(help="keep one frame in N", metavar="N", min=1, max=100_000)] = 1,
    fps: Annotated[float | None, typer.Option(help="output frames per second; default: 30", min=0.1, max=240)] = None,
    effort: Annotated[
        Literal["fast", "balanced", "small"] | None,
        typer.Option(help="at the same quality, fast takes less time, small gives fewer bytes; default: balanced"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="output file; default: out.mp4, or out.<container>"),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="any other request field, as name=value", metavar="NAME=VALUE")
    ] = None,
) -> None:
    """Render an experiment with live progress; download the video and its receipt, print a summary."""
    from service.commands.render import render_to_file, request_fields

    with client_errors_to_exit_codes():
        fields = request_fields(decimation, fps, option or []) | ({"effort": effort} if effort else {})
        _run_async(render_to_file(config.load(), experiment, fields, output))


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
            _print_error(line)
        raise typer.Exit(FAILED)
    print(*lines, sep="\n")


@app.command()
def demo(output: Annotated[Path, typer.Option(help="folder for the MP4")] = Path("demo")) -> None:
    """Render a small generated camera sequence with the whole service, on free ports and in a temporary home."""
    from service.commands.demo import run_demo

    with client_errors_to_exit_codes():
        run_demo(output)


@app.command()
def devices(
    here: Annotated[bool, typer.Option("--here", help="test this machine even if a service is running")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the response of GET /api/devices")] = False,
) -> None:
    """Show the tested capabilities and readings of each device of the workers or, without a service, of this machine.

    Without a service, each canary runs here once, which takes some seconds. The exit code is 1 if a device is degraded
    or quarantined.
    """
    from service.commands.devices import show_devices

    with client_errors_to_exit_codes():
        if not _run_async(show_devices(config.load(), here=here, as_json=as_json)):
            raise typer.Exit(FAILED)


@app.command()
def workers(
    action: Annotated[Literal["list", "cordon", "uncordon", "drain"], typer.Argument(help="what to do")] = "list",
    worker: Annotated[str | None, typer.Argument(help="id, the beginning of it, or name; not for list")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the response of GET /api/workers")] = False,
) -> None:
    """List the workers of the fleet, keep new tasks from one (cordon), or let it end when it is idle (drain)."""
    from service.commands.workers import order_worker, show_workers

    if (action == "list") != (worker is None):
        raise typer.BadParameter("cordon, uncordon and drain need a worker, list takes none", param_hint="WORKER")
    with client_errors_to_exit_codes():
        if action == "list" or worker is None:
            _run_async(show_workers(config.load(), as_json=as_json))
        else:
            _run_async(order_worker(config.load(), worker, action))


@app.command("dead-letters")
def dead_letters(
    action: Annotated[Literal["list", "retry", "dismiss"], typer.Argument(help="what to do")] = "list",
    letter: Annotated[UUID | None, typer.Argument(help="id, for retry and dismiss", metavar="ID")] = None,
    of_all: Annotated[bool, typer.Option("--all", help="list those of all callers; needs the scope ops:read")] = False,
) -> None:
    """List what has failed for good (renders, scans, previews, webhooks), queue it again, or take it off the list."""
    from service.commands.dead_letters import act_on_dead_letter, show_dead_letters

    if (action == "list") != (letter is None):
        raise typer.BadParameter("retry and dismiss need the ID of a dead letter, list takes none", param_hint="ID")
    with client_errors_to_exit_codes():
        if action == "list" or letter is None:
            _run_async(show_dead_letters(config.load(), of_all=of_all))
        else:
            _run_async(act_on_dead_letter(config.load(), action, str(letter)))


@app.command()
def doctor() -> None:
    """Check what works on this machine with these settings, and how to fix what does not."""
    from service.commands.doctor import run_checks

    raise typer.Exit(_run_async(run_checks()))


def _run_async(coroutine: Any) -> Any:
    """asyncio.run, on uvloop if it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(coroutine)
    return uvloop.run(coroutine)


def main() -> None:
    """Run a command. Errors in its words are one line, and a reader that closes our output ends it quietly."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may have any bytes
    name = "reelmill" if not sys.argv[0].endswith("__main__.py") else "python -m service"
    try:
        code = app(prog_name=name, standalone_mode=len(sys.argv) == 1)  # alone, it prints the help
        sys.stdout.flush()
    except typer.TyperException as error:
        _print_error(error.format_message())
        code = USAGE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still buffered goes nowhere
        code = FAILED
    sys.exit(code)
