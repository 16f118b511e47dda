"""`reelmill presets` and `schedules`: options that have a name, and renders that are asked for again and again."""

from collections.abc import Mapping
from typing import Any

from service.client.automation.schedules import AsyncSchedule
from service.client.datasets import AsyncDataset
from service.commands.remote.connection import address_id, find_in_catalogue, open_mill
from service.commands.remote.output import print_json, print_rows
from service.config import Settings

PRESET_COLUMNS = ("name", "options", "owner", "visibility", "id")
SCHEDULE_COLUMNS = ("name", "cron", "zone", "window", "next_run_at", "last_run_at", "last_run", "owner", "id")
RUN_COLUMNS = ("number", "planned_at", "began_at", "missed", "state", "job_id", "retry_at", "reason")


async def list_presets(settings: Settings, *, mine: bool, as_json: bool) -> None:
    """Newest first."""
    async with open_mill(settings) as mill:
        rows = [each.fields async for each in mill.presets.list(mine=mine)]
    print_rows(rows, PRESET_COLUMNS, as_json=as_json, none="there are no such presets")


async def list_schedules(settings: Settings, experiment: str | None, *, as_json: bool) -> None:
    """Newest first; with `experiment`, those that render it or one of its datasets."""
    async with open_mill(settings) as mill:
        wanted = None
        if experiment is not None:
            found = await find_in_catalogue(mill, experiment)
            wanted = found.experiment_id if isinstance(found, AsyncDataset) else found.id
        schedules = [each.fields async for each in mill.schedules.list(experiment_id=wanted)]
    rows = schedules if as_json else [schedule | _times(schedule) for schedule in schedules]
    print_rows(rows, SCHEDULE_COLUMNS, as_json=as_json, none="there are no such schedules")


async def list_runs(settings: Settings, name: str, limit: int, *, as_json: bool) -> None:
    """The latest first, at most `limit`."""
    async with open_mill(settings) as mill:
        schedule = await mill.schedules.get(address_id(name) or name)
        runs = await _first_runs(schedule, limit)
    rows = runs if as_json else [run | {"state": _outcome(run), "reason": _reason(run)} for run in runs]
    print_rows(rows, RUN_COLUMNS, as_json=as_json, none=f"{schedule.name} has not run yet")


async def _first_runs(schedule: AsyncSchedule, limit: int) -> list[dict[str, Any]]:
    runs = list[dict[str, Any]]()
    async for run in schedule.runs():
        runs.append(run.fields)
        if len(runs) == limit:
            break
    return runs


async def run_schedule(settings: Settings, name: str, *, as_json: bool) -> None:
    """Ask for its render now. Raises Refused as a render does."""
    async with open_mill(settings) as mill:
        schedule = await mill.schedules.get(address_id(name) or name)
        run = await schedule.run()
    if as_json:
        print_json(run.fields)
    else:
        print(f"run {run.number} of {schedule.name}: {_outcome(run.fields)} {run.job_id or ''}".rstrip())


async def switch_schedule(settings: Settings, name: str, *, on: bool, as_json: bool) -> None:
    async with open_mill(settings) as mill:
        schedule = await mill.schedules.get(address_id(name) or name)
        await schedule.change(enabled=on)
    if as_json:
        print_json(schedule.fields)
    else:
        print(f"{schedule.name} is {'on' if schedule.enabled else 'off'}")


def _times(schedule: Mapping[str, Any]) -> dict[str, Any]:
    """When it runs next, when it ran last, and what became of that, for a table."""
    last = schedule["last_run"]
    return {
        "next_run_at": schedule["next_run_at"] if schedule["enabled"] else "off",
        "last_run_at": last and last["planned_at"],
        "last_run": last and _outcome(last),
    }


def _outcome(run: Mapping[str, Any]) -> str:
    return "joined" if run["joined"] else str(run["state"])


def _reason(run: Mapping[str, Any]) -> str | None:
    return run["problem"] and str(run["problem"]["detail"])
