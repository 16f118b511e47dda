"""When a cron line is due in a time zone, as Debian's cron has it, also where the clock of the zone is changed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import islice, takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")
# As far as the next time is looked for: 29 February on a Monday comes every 28 years.
HORIZON = timedelta(days=50 * 366)
# More times that were missed are not counted: nobody needs to know, and to count a year of minutes takes seconds.
MAX_COUNTED = 10_000
# How far back the latest of so many is looked for, step by step.
LATEST_WITHIN = (timedelta(hours=1), timedelta(days=1), timedelta(days=31), HORIZON)


class UnusableTimetable(Exception):
    """What was accepted once is not understood any more, such as a zone that the machine's list of zones has lost."""


@dataclass(frozen=True, slots=True)
class DueTimes:
    """The latest time that has come, how many came before it, and the next one; None: there is none."""

    latest: datetime | None
    earlier: int
    next: datetime | None


@dataclass(frozen=True, slots=True)
class Timetable:
    """The times of a cron line of five fields on the clocks of a zone. Both were checked before."""

    cron: str
    zone: str

    def times_after(self, moment: datetime) -> Iterator[datetime]:
        """All times later than `moment` within HORIZON, in order, in UTC.

        A line whose minute and hour begin with no star is due at fixed times: those that the clock skips are due at its
        next time, and those that it shows twice are due once. Any other line follows the clock. Raises
        UnusableTimetable.
        """
        try:
            line, zone = _parse(self.cron), ZoneInfo(self.zone)
        except (CronSimError, ZoneInfoNotFoundError) as error:
            raise UnusableTimetable(f"the times {self.cron} in {self.zone} are not understood any more") from error
        day, last = moment.astimezone(zone).date(), moment
        for _ in range(HORIZON.days):
            if day.month in line.months and line.match_day(day):
                for due in _times_on(day, self.cron, self.zone):
                    if due > last:
                        last = due
                        yield due
            day += timedelta(days=1)

    def due_between(self, after: datetime, now: datetime) -> DueTimes:
        """The times later than `after` and not later than `now`, of which at most MAX_COUNTED are counted."""
        due = list(islice(self._until(after, now), MAX_COUNTED + 1))
        if not due:
            return DueTimes(None, 0, next(self.times_after(after), None))
        latest = due[-1] if len(due) <= MAX_COUNTED else self._latest(now, due[-1])
        return DueTimes(latest, len(due) - 1, next(self.times_after(latest), None))

    def _until(self, after: datetime, now: datetime) -> Iterator[datetime]:
        return takewhile(lambda due: due <= now, self.times_after(after))

    def _latest(self, now: datetime, known: datetime) -> datetime:
        for span in LATEST_WITHIN:
            if found := list(self._until(max(now - span, known), now)):
                return found[-1]
        return known


def check_cron(line: str) -> str:
    """The line with single spaces between its fields. Raises ValueError, which says what is wrong."""
    fields = line.split()
    if len(fields) != len(FIELDS):
        raise ValueError(f"write five fields, {', '.join(FIELDS)}, as in 30 6 * * 1-5")
    cron = " ".join(fields)
    try:
        _parse(cron)
    except CronSimError as error:
        field = str(error).removeprefix("Bad ").replace("-", " ")
        raise ValueError(f"cron has no such {field}: see crontab(5)") from error
    if next(Timetable(cron, "UTC").times_after(datetime(2000, 1, 1, tzinfo=UTC)), None) is None:
        raise ValueError("there is no such day")
    return cron


def check_zone(name: str) -> str:
    """Raises ValueError unless the name is one of IANA's time zones."""
    if name not in _zones():
        raise ValueError("write a time zone of IANA's, as in Europe/Berlin or UTC")
    return name


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones()) - {"localtime", "Factory"}


@lru_cache(maxsize=1024)
def _parse(cron: str) -> CronSim:
    """The fields as sets of numbers, and which days match. Raises CronSimError.

    The times are counted here: where clocks are changed by half an hour (Lord Howe Island), CronSim leaves some out.
    """
    return CronSim(cron, datetime(2000, 1, 1))


@lru_cache(maxsize=64)
def _times_on(day: date, cron: str, name: str) -> tuple[datetime, ...]:
    """In UTC, in order. Many schedules have the same line, and look at the same day."""
    line, zone = _parse(cron), ZoneInfo(name)
    is_fixed = not line.parts[1].startswith("*") and not line.parts[2].startswith("*")
    times = (datetime.combine(day, time(hour, minute), zone) for hour in line.hours for minute in line.minutes)
    if is_fixed:
        return tuple(sorted({_first_shown(local) for local in times}))
    found = set[datetime]()
    for local in times:
        found |= {local.replace(fold=fold).astimezone(UTC) for fold in (0, 1) if _is_shown(local.replace(fold=fold))}
    return tuple(sorted(found))


def _is_shown(local: datetime) -> bool:
    """Whether the clock of the zone shows this time at all."""
    return local.astimezone(UTC).astimezone(local.tzinfo).replace(tzinfo=None) == local.replace(tzinfo=None)


def _first_shown(local: datetime) -> datetime:
    """When the clock shows this time first or, if it skips it, the time to which it skips."""
    while not _is_shown(local):
        local += timedelta(minutes=1)
    return local.astimezone(UTC)
