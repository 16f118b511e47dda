"""Rows of schedules: callers read their own under row-level security; the service writes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, Select, delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import Conflict
from service.ids import Subject, new_uuid
from service.schedules.timetable import Timetable
from service.store.database import acquire_advisory_lock, translate_integrity_errors
from service.store.keyset import PageRequest, fetch_page
from service.store.schedules.tables import schedules

# Of one owner. Each may run once a minute.
MAX_SCHEDULES = 100
NAME_IS_TAKEN = "a schedule of this owner has that name already"
LOCK_EXPERIMENT = text("""
    SELECT FROM experiments WHERE id = (SELECT experiment_id FROM schedules WHERE id = :schedule) FOR KEY SHARE
""")
SELECT_TIME = text("SELECT coalesce(CAST(:now AS timestamptz), now())")


@dataclass(frozen=True, slots=True)
class ScheduleFilter:
    """Which schedules to list; None: any."""

    experiment: UUID | None = None
    owner: Subject | None = None


async def read_time(connection: AsyncConnection, now: datetime | None = None) -> datetime:
    """The time of the database, unless tests say another `now`: all times of schedules are compared with it."""
    found: datetime = (await connection.execute(SELECT_TIME, {"now": now})).scalar_one()
    return found


async def create(connection: AsyncConnection, owner: Subject, values: Mapping[str, Any]) -> RowMapping:
    """Insert a schedule. Raises Conflict if the owner has one with this name, or MAX_SCHEDULES."""
    await acquire_advisory_lock(connection, f"schedules of {owner}")
    count = select(func.count()).select_from(schedules).where(schedules.c.owner == owner)
    if int(await connection.scalar(count) or 0) >= MAX_SCHEDULES:
        raise Conflict(f"you have {MAX_SCHEDULES} schedules: delete one that you do not need any more")
    now = await read_time(connection)
    row = {"id": new_uuid(), "owner": owner, "planned_until": now, "next_run_at": _next_run(values, now), **values}
    async with translate_integrity_errors(NAME_IS_TAKEN):
        inserted = await connection.execute(insert(schedules).values(**row).returning(schedules))
    made: RowMapping = inserted.mappings().one()
    return made


async def get(connection: AsyncConnection, schedule: UUID) -> RowMapping | None:
    return (await connection.execute(select(schedules).where(schedules.c.id == schedule))).mappings().first()


async def lock(connection: AsyncConnection, schedule: UUID) -> RowMapping | None:
    """The row, locked until the end of the transaction; None if it is gone.

    The experiment cannot be deleted meanwhile. It is locked first, as by its deletion.
    """
    await connection.execute(LOCK_EXPERIMENT, {"schedule": schedule})
    query = select(schedules).where(schedules.c.id == schedule).with_for_update()
    return (await connection.execute(query)).mappings().first()


async def change(connection: AsyncConnection, row: RowMapping, values: Mapping[str, Any]) -> RowMapping:
    """Update a locked schedule, whose times that have come have got their run. Raises Conflict for a taken name.

    If the change concerns its times, those that come after now count; never one that has had its run.
    """
    values = {**values, "updated_at": func.clock_timestamp()}
    if values.keys() & {"cron", "zone", "enabled"}:
        until = max(await read_time(connection), row["planned_until"])
        values |= {"planned_until": until, "next_run_at": _next_run({**row, **values}, until)}
    query = update(schedules).where(schedules.c.id == row["id"]).values(**values).returning(schedules)
    async with translate_integrity_errors(NAME_IS_TAKEN):
        changed: RowMapping = (await connection.execute(query)).mappings().one()
    return changed


async def remove(connection: AsyncConnection, schedule: UUID) -> None:
    """Delete a schedule and its runs. What they have rendered stays."""
    await connection.execute(delete(schedules).where(schedules.c.id == schedule))


async def list_page(
    connection: AsyncConnection, filters: ScheduleFilter, page: PageRequest
) -> tuple[list[RowMapping], int]:
    """The rows of one page and how many of them it shows: see `fetch_page`."""
    query = _apply_filter(select(schedules), filters)
    return await fetch_page(connection, query, schedules, page, (schedules.c.request,))


async def count(connection: AsyncConnection, filters: ScheduleFilter) -> int:
    """How many match, on all pages together."""
    return int(await connection.scalar(_apply_filter(select(func.count()).select_from(schedules), filters)) or 0)


def _apply_filter(query: Select[Any], filters: ScheduleFilter) -> Select[Any]:
    if filters.experiment is not None:
        query = query.where(schedules.c.experiment_id == filters.experiment)
    if filters.owner is not None:
        query = query.where(schedules.c.owner == filters.owner)
    return query


def _next_run(values: Mapping[str, Any], after: datetime) -> datetime | None:
    if not values.get("enabled", True):
        return None
    return next(Timetable(values["cron"], values["zone"]).times_after(after), None)
