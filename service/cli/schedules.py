"""Commands for presets and schedules."""

from typing import Annotated, Literal

import typer

from service import config
from service.cli.app import app, run_async
from service.cli.exit_codes import client_errors_to_exit_codes
from service.cli.options import AsJson


@app.command()
def presets(
    mine: Annotated[bool, typer.Option("--mine", help="only those that you have made")] = False,
    as_json: AsJson = False,
) -> None:
    """List presets with their options, newest first."""
    from service.commands.remote.schedules import list_presets

    with client_errors_to_exit_codes():
        run_async(list_presets(config.load(), mine=mine, as_json=as_json))


@app.command()
def schedules(
    action: Annotated[Literal["list", "run", "runs", "on", "off"], typer.Argument(help="what to do")] = "list",
    schedule: Annotated[str | None, typer.Argument(help="name, id or address; not for list")] = None,
    experiment: Annotated[
        str | None, typer.Option(help="list those that render this experiment: name, id or address")
    ] = None,
    limit: Annotated[int, typer.Option(help="at most so many runs", min=1)] = 50,
    as_json: AsJson = False,
) -> None:
    """List schedules with their next and last run, run one now, list its runs, or switch it on or off."""
    from service.commands.remote import schedules as remote

    if (action == "list") != (schedule is None):
        raise typer.BadParameter("run, runs, on and off need a schedule, list takes none", param_hint="SCHEDULE")
    with client_errors_to_exit_codes():
        settings = config.load()
        if action == "list" or schedule is None:
            run_async(remote.list_schedules(settings, experiment, as_json=as_json))
        elif action == "run":
            run_async(remote.run_schedule(settings, schedule, as_json=as_json))
        elif action == "runs":
            run_async(remote.list_runs(settings, schedule, limit, as_json=as_json))
        else:
            run_async(remote.switch_schedule(settings, schedule, on=action == "on", as_json=as_json))
