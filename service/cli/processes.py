"""Commands that run the service or parts of it on this machine."""

import os
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from service import config
from service.cli.app import app, run_async
from service.cli.exit_codes import client_errors_to_exit_codes, errors_to_exit_codes, startup_errors_to_exit_codes
from service.private_files import PRIVATE_UMASK


@app.command()
def up(
    log: Annotated[
        Literal["json", "text"] | None,
        typer.Option(help="form of the log; default: text for people on a terminal, JSON lines elsewhere"),
    ] = None,
) -> None:
    """Run the API and a worker on this machine; services without a setting are embedded."""
    from service.commands.up import run_up

    with errors_to_exit_codes():
        run_up(config.load(), log)


@app.command()
def api() -> None:
    """Run only the HTTP API."""
    from service.processes.api import run_api

    _serve(run_api)


@app.command()
def worker(
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="end when there has been nothing to do for ten seconds")
    ] = False,
) -> None:
    """Run only a worker: a supervisor and its slots."""
    from service.processes.worker import run_worker

    _serve(partial(run_worker, until_idle=until_idle))


def _serve(run: Callable[[config.Settings], Coroutine[Any, Any, None]]) -> None:
    from service.telemetry import logging

    with startup_errors_to_exit_codes():
        os.umask(PRIVATE_UMASK)
        settings = config.load()
        logging.configure(settings.logging.level)
        config.warn_of_outdated_variables()
        run_async(run(settings))


@app.command()
def migrate() -> None:
    """Migrate the database to the current schema."""
    from service.processes.startup import open_database

    with errors_to_exit_codes():
        embedded, _ = run_async(open_database(config.load()))
        if embedded is not None:
            embedded.stop()
        print("the database has the current schema")


@app.command()
def demo(output: Annotated[Path, typer.Option(help="folder for the MP4")] = Path("demo")) -> None:
    """Render a small generated camera sequence with the whole service, on free ports and in a temporary home."""
    from service.commands.demo import run_demo

    with client_errors_to_exit_codes():
        run_demo(output)


@app.command()
def doctor() -> None:
    """Check what works on this machine with these settings, and how to fix what does not."""
    from service.commands.doctor import run_checks

    raise typer.Exit(run_async(run_checks()))


@app.command()
def token(
    sub: Annotated[str, typer.Option(help="subject of the token")],
    scope: Annotated[str, typer.Option(help="space-separated scopes")] = "catalog:read videos:read",
    ttl: Annotated[str, typer.Option(help="lifetime: 30m, 12h, 7d")] = "1h",
) -> None:
    """Sign a token with JWT_SECRET or the local secret and print it as the last line."""
    from service.commands.tokens import mint_local_token, parse_duration

    with client_errors_to_exit_codes():
        print(mint_local_token(config.load(), sub, tuple(scope.split()), parse_duration(ttl)))
