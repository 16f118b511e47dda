"""Commands for work that does itself: presets, schedules, datasets that are followed."""

from typing import Annotated, Literal

import typer

from service import config
from service.cli.app import app, run_async
from service.cli.exit_codes import client_errors_to_exit_codes
from service.cli.options import AsJson, Dataset


@app.command()
def presets(
    mine: Annotated[bool, typer.Option("--mine", help="only those that you have made")] = False,
    as_json: AsJson = False,
) -> None:
    """List presets with their options, newest first."""
    from service.commands.remote.automation import list_presets

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
    from service.commands.remote import automation

    if (action == "list") != (schedule is None):
        raise typer.BadParameter("run, runs, on and off need a schedule, list takes none", param_hint="SCHEDULE")
    with client_errors_to_exit_codes():
        settings = config.load()
        if action == "list" or schedule is None:
            run_async(automation.list_schedules(settings, experiment, as_json=as_json))
        elif action == "run":
            run_async(automation.run_schedule(settings, schedule, as_json=as_json))
        elif action == "runs":
            run_async(automation.list_runs(settings, schedule, limit, as_json=as_json))
        else:
            run_async(automation.switch_schedule(settings, schedule, on=action == "on", as_json=as_json))


@app.command()
def follow(
    dataset: Dataset,
    off: Annotated[bool, typer.Option("--off", help="do not follow it any more; its frames stay")] = False,
    as_json: AsJson = False,
) -> None:
    """Have the service follow a dataset: what appears under its prefix becomes frames by itself."""
    from service.commands.remote.automation import follow as run

    with client_errors_to_exit_codes():
        run_async(run(config.load(), dataset, off=off, as_json=as_json))
