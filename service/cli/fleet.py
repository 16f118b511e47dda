"""Commands for operators: devices, workers, and what has failed for good."""

from typing import Annotated, Literal
from uuid import UUID

import typer

from service import config
from service.cli.app import app, run_async
from service.cli.exit_codes import FAILED, client_errors_to_exit_codes
from service.cli.options import AsJson


@app.command()
def devices(
    here: Annotated[bool, typer.Option("--here", help="test this machine even if a service is running")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the tested capabilities and readings of each device of the workers or, without a service, of this machine.

    Without a service, each canary runs here once, which takes some seconds. The exit code is 1 if a device is degraded
    or quarantined.
    """
    from service.commands.devices import show_devices

    with client_errors_to_exit_codes():
        if not run_async(show_devices(config.load(), here=here, as_json=as_json)):
            raise typer.Exit(FAILED)


@app.command()
def workers(
    action: Annotated[Literal["list", "cordon", "uncordon", "drain"], typer.Argument(help="what to do")] = "list",
    worker: Annotated[str | None, typer.Argument(help="id, the beginning of it, or name; not for list")] = None,
    as_json: AsJson = False,
) -> None:
    """List the workers of the fleet, keep new tasks from one (cordon), or let it end when it is idle (drain)."""
    from service.commands.remote.workers import order_worker, show_workers

    if (action == "list") != (worker is None):
        raise typer.BadParameter("cordon, uncordon and drain need a worker, list takes none", param_hint="WORKER")
    with client_errors_to_exit_codes():
        if action == "list" or worker is None:
            run_async(show_workers(config.load(), as_json=as_json))
        else:
            run_async(order_worker(config.load(), worker, action, as_json=as_json))


@app.command("dead-letters")
def dead_letters(
    action: Annotated[Literal["list", "retry", "dismiss"], typer.Argument(help="what to do")] = "list",
    letter: Annotated[UUID | None, typer.Argument(help="id, for retry and dismiss", metavar="ID")] = None,
    of_all: Annotated[bool, typer.Option("--all", help="list those of all callers; needs the scope ops:read")] = False,
    as_json: AsJson = False,
) -> None:
    """List what has failed for good (renders, scans, previews, webhooks), queue it again, or take it off the list."""
    from service.commands.remote.dead_letters import act_on_dead_letter, show_dead_letters

    if (action == "list") != (letter is None):
        raise typer.BadParameter("retry and dismiss need the ID of a dead letter, list takes none", param_hint="ID")
    with client_errors_to_exit_codes():
        if action == "list" or letter is None:
            run_async(show_dead_letters(config.load(), of_all=of_all, as_json=as_json))
        else:
            run_async(act_on_dead_letter(config.load(), action, str(letter), as_json=as_json))
