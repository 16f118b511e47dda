"""Runs of schedules: a time that has come becomes a run, once, and a run becomes a render, or is refused.

Both happen under the lock of the schedule's row, and what belongs together is one transaction: whoever is killed has
done all of it or nothing. Every function takes `now` for tests; it is the database's time otherwise.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import new_uuid
from service.schedules.timetable import Timetable, UnusableTimetable
from service.schedules.windows import capture_window
from service.store.keyset import PageRequest, fetch_page
from service.store.schedules.schedules import read_time
from service.store.schedules.tables import schedule_runs, schedules

# Of a schedule: more than a year of hours. Older ones are deleted.
MAX_RUNS = 10_000
# Between two attempts, which doubles from the first to the last of these.
FIRST_GAP, LONGEST_GAP = timedelta(seconds=10), timedelta(minutes=10)
WAITING, SUBMITTED, REFUSED = "waiting", "submitted", "refused"
SWITCHED_OFF = {
    "type": "/problems/conflict",
    "title": "The request conflicts with the current state",
    "status": 409,
    "detail": "the schedule was switched off before the render was accepted",
}
SELECT_WAITING = text("""
    SELECT r.*, s.owner, s.experiment_id, s.request, s.updated_at AS schedule_updated_at
    FROM schedule_runs r JOIN schedules s ON s.id = r.schedule_id
    WHERE r.state = 'waiting' AND r.retry_at <= :now AND (CAST(:run AS uuid) IS NULL OR r.id = :run)
    ORDER BY r.retry_at, r.id LIMIT :limit
""")
SELECT_LATEST = text("""
    SELECT r.* FROM unnest(CAST(:schedules AS uuid[])) AS s (id)
    CROSS JOIN LATERAL (SELECT * FROM schedule_runs WHERE schedule_id = s.id ORDER BY number DESC LIMIT 1) r
""")


async def claim_due_run(connection: AsyncConnection, now: datetime | None = None) -> RowMapping | None:
    """Make the run of a schedule whose time has come; None if there is none that nobody else is at."""
    now = await read_time(connection, now)
    query = select(schedules).where(schedules.c.next_run_at <= now).order_by(schedules.c.next_run_at)
    row = (await connection.execute(query.limit(1).with_for_update(skip_locked=True))).mappings().first()
    return None if row is None else await begin_due_run(connection, row, now)


async def begin_due_run(connection: AsyncConnection, schedule: RowMapping, now: datetime) -> RowMapping | None:
    """One run for all times of a locked schedule that have come: the latest of them, which says how many it missed.

    What was still tried for an earlier time is refused then; what nobody has tried yet is one of those that it missed.
    """
    if schedule["next_run_at"] is None or schedule["next_run_at"] > now:
        return None
    try:
        due = Timetable(schedule["cron"], schedule["zone"]).due_between(schedule["planned_until"], now)
    except UnusableTimetable as error:
        return await _switch_off(connection, schedule, now, str(error))
    changes = {"next_run_at": due.next, "planned_until": due.latest or now}
    if due.latest is None:  # the rules of the zone have changed
        await connection.execute(update(schedules).where(schedules.c.id == schedule["id"]).values(**changes))
        return None
    missed = due.earlier + await _take_untried(connection, schedule["id"])
    await _end_waiting(connection, schedule["id"])
    planned = _plan_values(schedule, due.latest) | {"missed": missed}
    return await _insert_run(connection, schedule["id"], now, planned, changes)


async def begin_manual_run(connection: AsyncConnection, schedule: RowMapping) -> RowMapping:
    """A run of a locked schedule that somebody asks for now."""
    now = await read_time(connection)
    return await _insert_run(connection, schedule["id"], now, _plan_values(schedule, now) | {"manual": True}, {})


async def end_waiting(connection: AsyncConnection, schedule: UUID) -> None:
    """Of a locked schedule that is switched off: what was still tried is refused."""
    await _end_waiting(connection, schedule, SWITCHED_OFF)


async def list_waiting(
    connection: AsyncConnection, now: datetime | None = None, limit: int = 100, run: UUID | None = None
) -> Sequence[RowMapping]:
    """The runs that are to be tried now, or of them only `run`, with what is needed of their schedule. Not locked."""
    values = {"now": await read_time(connection, now), "run": run, "limit": limit}
    return (await connection.execute(SELECT_WAITING, values)).mappings().all()


async def lock_waiting(connection: AsyncConnection, run: RowMapping) -> bool:
    """Lock the schedule of a run of `list_waiting`. False if somebody else is at it, or has changed or ended it.

    Whoever locks the experiment, too, locks that first.
    """
    query = select(schedules).where(schedules.c.id == run["schedule_id"]).with_for_update(skip_locked=True)
    schedule = (await connection.execute(query)).mappings().first()
    if schedule is None or schedule["updated_at"] != run["schedule_updated_at"]:
        return False
    state = await connection.scalar(select(schedule_runs.c.state).where(schedule_runs.c.id == run["id"]))
    return bool(state == WAITING)  # not if it has been deleted


async def record_submitted(connection: AsyncConnection, run: RowMapping, render: UUID, *, joined: bool) -> None:
    """End a run, in the transaction that writes its render or joins it."""
    values = {"state": SUBMITTED, "render_id": render, "joined": joined, "problem": None}
    await _record(connection, run, values | {"retry_at": None})
    if run["window_to"] is not None:
        shown = update(schedules).where(schedules.c.id == run["schedule_id"])
        # A run that had to wait may end after one of a later time.
        until = func.greatest(schedules.c.covered_until, run["window_to"])
        await connection.execute(shown.values(covered_until=until))


async def record_refused(
    connection: AsyncConnection, run: RowMapping, problem: dict[str, Any], *, again: bool, now: datetime | None = None
) -> None:
    """Note why a locked run was refused, and whether it is tried `again`."""
    gap = min(FIRST_GAP * 2 ** min(run["attempts"], 10), LONGEST_GAP)
    retry_at = await read_time(connection, now) + gap if again else None
    values = {"state": WAITING if again else REFUSED, "problem": problem, "retry_at": retry_at}
    await _record(connection, run, values)


async def get(connection: AsyncConnection, run: UUID) -> RowMapping | None:
    return (await connection.execute(select(schedule_runs).where(schedule_runs.c.id == run))).mappings().first()


async def latest_of(connection: AsyncConnection, ids: Sequence[UUID]) -> dict[UUID, RowMapping]:
    """The latest run of each of these schedules that has one."""
    found = (await connection.execute(SELECT_LATEST, {"schedules": list(ids)})).mappings()
    return {row["schedule_id"]: row for row in found}


async def list_page(connection: AsyncConnection, schedule: UUID, page: PageRequest) -> tuple[list[RowMapping], int]:
    """The rows of one page and how many of them it shows: see `fetch_page`."""
    query = select(schedule_runs).where(schedule_runs.c.schedule_id == schedule)
    return await fetch_page(connection, query, schedule_runs, page, (schedule_runs.c.problem,))


async def count(connection: AsyncConnection, schedule: UUID) -> int:
    """How many there are, on all pages together."""
    query = select(func.count()).select_from(schedule_runs).where(schedule_runs.c.schedule_id == schedule)
    return int(await connection.scalar(query) or 0)


async def _record(connection: AsyncConnection, run: RowMapping, values: dict[str, Any]) -> None:
    query = update(schedule_runs).where(schedule_runs.c.id == run["id"])
    await connection.execute(query.values(attempts=schedule_runs.c.attempts + 1, **values))


async def _take_untried(connection: AsyncConnection, schedule: UUID) -> int:
    """How many times the run stands for that its process was ended before it tried it; the run is deleted."""
    untried = (schedule_runs.c.schedule_id == schedule) & (schedule_runs.c.state == WAITING)
    query = schedule_runs.delete().where(untried & (schedule_runs.c.attempts == 0) & ~schedule_runs.c.manual)
    found = await connection.scalar(query.returning(schedule_runs.c.missed))
    return 0 if found is None else found + 1


async def _switch_off(connection: AsyncConnection, schedule: RowMapping, now: datetime, reason: str) -> RowMapping:
    """A schedule that cannot go on must not keep others waiting: its last run says why."""
    changes = {"enabled": False, "next_run_at": None, "updated_at": func.clock_timestamp()}
    run = await _insert_run(connection, schedule["id"], now, {"planned_at": now, "manual": True}, changes)
    await record_refused(connection, run, SWITCHED_OFF | {"detail": f"{reason}: the schedule is off"}, again=False)
    return run


async def _end_waiting(connection: AsyncConnection, schedule: UUID, problem: dict[str, Any] | None = None) -> None:
    waiting = (schedule_runs.c.schedule_id == schedule) & (schedule_runs.c.state == WAITING)
    values: dict[str, Any] = {"state": REFUSED, "retry_at": None}
    if problem is not None:
        values["problem"] = problem
    await connection.execute(update(schedule_runs).where(waiting & ~schedule_runs.c.manual).values(**values))


async def _insert_run(
    connection: AsyncConnection, schedule: UUID, now: datetime, values: Mapping[str, Any], changes: Mapping[str, Any]
) -> RowMapping:
    """Insert a run, and make these changes of its schedule.

    All in one update: at the second one of a transaction, PostgreSQL would look at the experiment again and wait for
    whoever deletes it, and who waits for the schedule.
    """
    counted = update(schedules).where(schedules.c.id == schedule)
    counted = counted.values(run_count=schedules.c.run_count + 1, **changes).returning(schedules.c.run_count)
    number = int(await connection.scalar(counted) or 0)
    row = {"id": new_uuid(), "schedule_id": schedule, "number": number, "began_at": now, "retry_at": now, **values}
    old = (schedule_runs.c.schedule_id == schedule) & (schedule_runs.c.number <= number - MAX_RUNS)
    await connection.execute(schedule_runs.delete().where(old))
    inserted = await connection.execute(insert(schedule_runs).values(**row).returning(schedule_runs))
    run: RowMapping = inserted.mappings().one()
    return run


def _plan_values(schedule: RowMapping, moment: datetime) -> dict[str, Any]:
    """For which time a run is planned, and the capture times that it shows."""
    if schedule["time_window"] is None:
        return {"planned_at": moment}
    window = capture_window(schedule["time_window"], schedule["zone"], moment, schedule["covered_until"])
    return {"planned_at": moment, "window_from": window.since, "window_to": window.until}
