"""The common questions, answered without any model: a document of ours, and words made from its rows."""

from service.agent.desk import QuerySession, TextAnswer
from service.agent.lookup import NameReference, Row, find_by_name
from service.agent.renders import unknown_name_answer

DEFAULT_LATEST_COUNT = 10


async def count_frames(session: QuerySession, name: NameReference) -> TextAnswer:
    """How many frames has this?"""
    found = await find_by_name(session, name)
    if found.experiments:
        return TextAnswer(f"The experiment {found.experiments[0]['name']} has no datasets, so it has no frames.")
    if not found.datasets:
        return unknown_name_answer(name)
    parts = [f"dataset {_dataset_label(row)}: {row['frame_count']:,}{_state_suffix(row)}" for row in found.datasets]
    total = sum(row["frame_count"] for row in found.datasets)
    experiments = sorted({str(row["experiment_name"]) for row in found.datasets})
    return TextAnswer(f"{', '.join(experiments)}: {total:,}{_truncation_suffix(session)} frames ({'; '.join(parts)}).")


async def list_datasets(session: QuerySession, name: NameReference) -> TextAnswer:
    """Which datasets has this experiment?"""
    found = await find_by_name(session, name)
    if found.experiments:
        return TextAnswer(f"The experiment {found.experiments[0]['name']} has no datasets.")
    if not found.datasets:
        return unknown_name_answer(name)
    parts = [f"{_dataset_label(row)} ({row['frame_count']:,} frames, {row['state']})" for row in found.datasets]
    return TextAnswer(f"{_format_count(len(parts), 'dataset', _truncation_suffix(session))}: {', '.join(parts)}.")


async def latest_experiments(session: QuerySession, count: int, mine: bool) -> TextAnswer:
    """Which experiments are the newest?"""
    filters = {"owner": session.caller.subject} if mine else ()
    columns = ["id", "name", "owner", "visibility", "created_at"]
    rows = await session.fetch_rows(
        table="experiments", columns=columns, filters=filters, order_by=["-created_at"], limit=max(1, count)
    )
    if not rows:
        return TextAnswer("There are no experiments that you may see." if not mine else "You have no experiments.")
    parts = [f"{row['name']} ({row['created_at'][:10]})" for row in rows]
    return TextAnswer(f"The latest {_format_count(len(rows), 'experiment')}: {', '.join(parts)}.")


async def count_experiments(session: QuerySession, mine: bool) -> TextAnswer:
    """How many experiments are there?"""
    filters = {"owner": session.caller.subject} if mine else ()
    rows = await session.fetch_rows(table="experiments", filters=filters, aggregates=[{"function": "count"}])
    whose = "that you own" if mine else "that you may see"
    count = rows[0]["count"]
    return TextAnswer(f"There {'is' if count == 1 else 'are'} {_format_count(count, 'experiment')} {whose}.")


def _dataset_label(row: Row) -> str:
    return f"{row['name']} of {row['experiment_name']}" if row["experiment_name"] else str(row["name"])


def _state_suffix(row: Row) -> str:
    return "" if row["state"] == "ready" else f", {row['state']}"


def _format_count(count: int, noun: str, more: str = "") -> str:
    return f"{count:,}{more} {noun}{'' if count == 1 else 's'}"


def _truncation_suffix(session: QuerySession) -> str:
    return " or more" if session.result is not None and session.result.truncated else ""
