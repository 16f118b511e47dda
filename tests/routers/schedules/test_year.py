"""A leap year of four schedules, run by two processes that are killed at random, while the clock jumps."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise, takewhile
from typing import Any

import pytest
from sqlalchemy import event

from service.routers.http.dependencies import Resources
from service.routers.schedules.runner import ScheduleRunner
from service.schedules.timetable import Timetable
from service.store.database import Database
from service.store.settings import DatabaseSettings
from tests.routers.schedules.conftest import LEAP_YEAR, Scheduled

pytestmark = pytest.mark.anyio
# The clocks of three zones are changed twice, on a Sunday: times of these lines are skipped, or shown twice.
SCHEDULES: dict[str, dict[str, Any]] = {
    "sundays": {"cron": "30 2 * * SUN", "zone": "Europe/Berlin", "window": "yesterday"},
    "weekly": {"cron": "15 0 * * 0", "zone": "America/Santiago", "window": "last 7 days"},
    "twice a week": {"cron": "15 2 * * SUN,WED", "zone": "Australia/Lord_Howe", "window": "since_last_run"},
    "leap day": {"cron": "0 12 29 2 *", "zone": "UTC"},
}
START = "UPDATE schedules SET planned_until = :start, next_run_at = :next WHERE id = :id"
END = LEAP_YEAR + timedelta(days=366)
# How probably a process is killed before a statement. A run takes about thirty.
DEADLINESS = 0.02


async def test_every_time_of_a_year_has_one_run(scheduled: Scheduled) -> None:
    """A time has a run of its own, or is one of those for which a later run says to stand."""
    made = {name: await scheduled.make(name=name, **fields) for name, fields in SCHEDULES.items()}
    for schedule in made.values():
        first = next(Timetable(schedule["cron"], schedule["zone"]).times_after(LEAP_YEAR))
        await scheduled.execute(START, start=LEAP_YEAR, next=first, id=schedule["id"])
    dice, newest = random.Random(29022028), LEAP_YEAR
    processes = [Process(scheduled, dice), Process(scheduled, dice)]
    for now in clock(dice):
        newest = max(newest, now)
        await asyncio.gather(*(each.run(now) for each in processes))
    for each in processes:
        await each.run(newest, may_be_killed=False)
        await each.stop()
    rows = await scheduled.rows()
    assert {row["state"] for row in rows} == {"submitted"}
    for name, schedule in made.items():
        due = Timetable(schedule["cron"], schedule["zone"]).times_after(LEAP_YEAR)
        times = list(takewhile(lambda moment: moment <= newest, due))
        runs = [row for row in rows if str(row["schedule_id"]) == schedule["id"]]
        planned = [row["planned_at"] for row in runs]
        assert planned == sorted(set(planned)) and set(planned) <= set(times), name
        assert sum(1 + row["missed"] for row in runs) == len(times), name
        between = [times.index(after) - times.index(before) - 1 for before, after in pairwise(planned)]
        assert [row["missed"] for row in runs[1:]] == between, name
    assert sum(each.kills for each in processes) > 50
    await check_renders(scheduled, rows, made)


async def check_renders(scheduled: Scheduled, rows: list[Any], made: dict[str, Any]) -> None:
    """Each run that did not join has made one render, of the frames of its window; no other render is there."""
    renders = {row.id: row for row in await scheduled.execute("SELECT id, frames_total FROM renders")}
    assert {row["render_id"] for row in rows if not row["joined"]} == set(renders)
    assert len({row["render_id"] for row in rows if not row["joined"]}) == sum(not row["joined"] for row in rows)
    of = {name: [row for row in rows if str(row["schedule_id"]) == made[name]["id"]] for name in made}
    for row in of["sundays"]:
        assert renders[row["render_id"]].frames_total == 2
        assert row["window_to"] - row["window_from"] in {timedelta(hours=hours) for hours in (23, 24, 25)}
    for before, after in pairwise(of["twice a week"]):
        assert after["window_from"] == before["window_to"]
    (leap,) = of["leap day"]
    assert (leap["missed"], leap["window_to"]) == (0, None)


def clock(dice: random.Random) -> Iterator[datetime]:
    """What the clock shows at each look: hours later, days later after all was off, or after it was set wrong."""
    now = LEAP_YEAR
    while now < END:
        now += timedelta(hours=dice.uniform(0.1, 72))
        yield now
        if dice.random() < 0.02:  # all is off
            now += timedelta(days=dice.uniform(1, 5))
        if dice.random() < 0.02:  # set ahead, and back
            yield now + timedelta(hours=dice.uniform(1, 60))
        if dice.random() < 0.02:
            now -= timedelta(hours=dice.uniform(1, 30))


class Killed(BaseException):
    """The process is not there any more: nothing catches it."""


class Process:
    """An API process with connections of its own, which may be killed before any of its statements and commits."""

    def __init__(self, scheduled: Scheduled, dice: random.Random) -> None:
        database = Database(scheduled.api.database.url, DatabaseSettings())
        resources: Resources = replace(scheduled.limited(10_000), database=database)
        self._database, self._runner, self._dice = database, ScheduleRunner(resources), dice
        self.kills, self._is_mortal = 0, True
        for moment in ("before_cursor_execute", "commit"):
            event.listen(database.engine.sync_engine, moment, self._die_sometimes)

    async def run(self, now: datetime, *, may_be_killed: bool = True) -> None:
        self._is_mortal = may_be_killed
        with suppress(Killed):
            await self._runner.run_due(now)

    async def stop(self) -> None:
        await self._database.close()

    def _die_sometimes(self, *_: Any) -> None:
        if self._is_mortal and self._dice.random() < DEADLINESS:
            self.kills += 1
            raise Killed
