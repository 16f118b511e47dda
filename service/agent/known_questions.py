"""The common questions, answered without any model: a document of ours, and words made from its rows."""

from service.agent.desk import Desk, Told
from service.agent.lookup import Named, Row, find
from service.agent.renders import unknown

LATEST = 10


async def count_frames(desk: Desk, name: Named) -> Told:
    """How many frames has this?"""
    found = await find(desk, name)
    if found.experiments:
        return Told(f"The experiment {found.experiments[0]['name']} has no datasets, so it has no frames.")
    if not found.datasets:
        return unknown(name)
    parts = [f"dataset {_named(row)}: {row['frame_count']:,}{_unless_ready(row)}" for row in found.datasets]
    total = sum(row["frame_count"] for row in found.datasets)
    experiments = sorted({str(row["experiment_name"]) for row in found.datasets})
    return Told(f"{', '.join(experiments)}: {total:,}{_or_more(desk)} frames ({'; '.join(parts)}).")


async def list_datasets(desk: Desk, name: Named) -> Told:
    """Which datasets has this experiment?"""
    found = await find(desk, name)
    if found.experiments:
        return Told(f"The experiment {found.experiments[0]['name']} has no datasets.")
    if not found.datasets:
        return unknown(name)
    parts = [f"{_named(row)} ({row['frame_count']:,} frames, {row['state']})" for row in found.datasets]
    return Told(f"{_counted(len(parts), 'dataset', _or_more(desk))}: {', '.join(parts)}.")


async def latest_experiments(desk: Desk, count: int, mine: bool) -> Told:
    """Which experiments are the newest?"""
    filters = {"owner": desk.caller.subject} if mine else ()
    columns = ["id", "name", "owner", "visibility", "created_at"]
    rows = await desk.rows(
        table="experiments", columns=columns, filters=filters, order_by=["-created_at"], limit=max(1, count)
    )
    if not rows:
        return Told("There are no experiments that you may see." if not mine else "You have no experiments.")
    parts = [f"{row['name']} ({row['created_at'][:10]})" for row in rows]
    return Told(f"The latest {_counted(len(rows), 'experiment')}: {', '.join(parts)}.")


async def count_experiments(desk: Desk, mine: bool) -> Told:
    """How many experiments are there?"""
    filters = {"owner": desk.caller.subject} if mine else ()
    rows = await desk.rows(table="experiments", filters=filters, aggregates=[{"function": "count"}])
    whose = "that you own" if mine else "that you may see"
    count = rows[0]["count"]
    return Told(f"There {'is' if count == 1 else 'are'} {_counted(count, 'experiment')} {whose}.")


def _named(row: Row) -> str:
    return f"{row['name']} of {row['experiment_name']}" if row["experiment_name"] else str(row["name"])


def _unless_ready(row: Row) -> str:
    return "" if row["state"] == "ready" else f", {row['state']}"


def _counted(count: int, noun: str, more: str = "") -> str:
    return f"{count:,}{more} {noun}{'' if count == 1 else 's'}"


def _or_more(desk: Desk) -> str:
    return " or more" if desk.answer is not None and desk.answer.truncated else ""
