"""When cron lines are due, compared with a clock that is read minute by minute."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from service.schedules.timetable import MAX_COUNTED, Timetable, UnusableTimetable, check_cron, check_zone

# Zones whose clocks are changed in March or April and in September, October or November of 2028: by an hour or, on Lord
# Howe Island, by half of one; in Santiago and Cairo at midnight.
ZONES = (
    "Europe/Berlin",
    "America/Santiago",
    "Pacific/Auckland",
    "Australia/Lord_Howe",
    "America/New_York",
    "Africa/Cairo",
    "Asia/Kolkata",
)
LEAP_YEAR = datetime(2028, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def due_times(cron: str, zone: str, after: datetime, until: datetime) -> list[datetime]:
    return list(takewhile(lambda due: due <= until, Timetable(cron, zone).times_after(after)))


def watched_times(cron: str, zone: str, after: datetime, until: datetime) -> list[datetime]:
    """What Debian's cron does that looks at the clock every minute: lines of fixed times count each minute that the
    clock shows for the first time or has skipped; other lines count the minute that it shows."""
    line, clock = CronSim(cron, datetime(2000, 1, 1)), ZoneInfo(zone)
    minute, hour, *_ = cron.split()
    is_fixed = not minute.startswith("*") and not hour.startswith("*")
    found, newest, moment = [], None, after - timedelta(days=1)
    while moment <= until:
        shown = moment.astimezone(clock).replace(tzinfo=None)
        minutes = [shown] if not is_fixed or newest is None else _minutes(newest, shown)
        newest = max(newest or shown, shown)
        if any(_matches(line, each) for each in minutes):
            found.append(moment)
        moment += MINUTE
    return [moment for moment in found if moment > after]


def _minutes(after: datetime, until: datetime) -> list[datetime]:
    return [after + number * MINUTE for number in range(1, (until - after) // MINUTE + 1)]


def _matches(line: CronSim, shown: datetime) -> bool:
    of_day = shown.minute in line.minutes and shown.hour in line.hours
    return of_day and shown.month in line.months and line.match_day(shown.date())


def changes(zone: str) -> Iterator[datetime]:
    """When the clock of a zone is changed in 2028, and the leap day."""
    hours = [LEAP_YEAR + timedelta(hours=number) for number in range(366 * 24)]
    for before, after in pairwise(hours):
        offsets = [moment.astimezone(ZoneInfo(zone)).utcoffset() for moment in (before, after)]
        if offsets[0] != offsets[1]:
            yield after
    yield datetime(2028, 2, 29, tzinfo=UTC)


CHANGES = [(zone, moment) for zone in ZONES for moment in changes(zone)]
minutes = st.sampled_from(["*", "*/7", "*/15", "0", "15", "30", "59", "0,30", "5-9"])
hours = st.sampled_from(["*", "*/2", "0", "1", "2", "3", "23", "1,2", "0-4"])
days = st.sampled_from(["* * *", "* * 0", "* * MON-FRI", "29 2 *", "*/2 * *", "1 * 6", "* 3,4,9,10 *"])


@given(st.sampled_from(CHANGES), minutes, hours, days, st.integers(0, 40 * 60))
def test_around_changes_of_the_clock(
    change: tuple[str, datetime], minute: str, hour: str, day: str, before: int
) -> None:
    zone, moment = change
    after, until, cron = moment - before * MINUTE, moment + timedelta(hours=30), f"{minute} {hour} {day}"
    assert due_times(cron, zone, after, until) == watched_times(cron, zone, after, until)


@given(st.sampled_from(CHANGES), minutes, hours, st.lists(st.integers(0, 60 * 3600), min_size=1, max_size=20))
def test_however_often_one_looks_each_time_comes_once(
    change: tuple[str, datetime], minute: str, hour: str, looks: list[int]
) -> None:
    """Between two looks there may be seconds or days: together they see what one look sees."""
    zone, moment = change
    cron, start = Timetable(f"{minute} {hour} * * *", zone), moment - timedelta(hours=30)
    seen, after, earlier = [], start, 0
    for second in sorted(looks):
        due = cron.due_between(after, start + timedelta(seconds=second))
        if due.latest is not None:
            seen.append(due.latest)
            earlier += due.earlier
            after = due.latest
    everything = due_times(cron.cron, zone, start, start + timedelta(seconds=max(looks)))
    assert set(seen) <= set(everything) and len(seen) + earlier == len(everything)
    assert seen == sorted(set(seen)) and (not everything or seen[-1] == everything[-1])


@pytest.mark.parametrize(
    ("cron", "zone", "day", "expected"),
    [
        # 26 March 2028: from 02:00 to 03:00. 29 October: from 03:00 back to 02:00.
        ("30 2 * * *", "Europe/Berlin", "2028-03-26", ["01:00"]),
        ("30 2 * * *", "Europe/Berlin", "2028-10-29", ["00:30"]),
        ("*/30 2 * * *", "Europe/Berlin", "2028-03-26", []),
        ("*/30 2 * * *", "Europe/Berlin", "2028-10-29", ["00:00", "00:30", "01:00", "01:30"]),
        ("0 12 29 2 *", "UTC", "2028-02-29", ["12:00"]),
        ("0 12 29 2 *", "UTC", "2027-02-28", []),
        ("0 * * * *", "Asia/Kolkata", "2028-01-01", [f"{hour:02}:30" for hour in range(24)]),
    ],
)
def test_days_that_are_known(cron: str, zone: str, day: str, expected: list[str]) -> None:
    start = datetime.fromisoformat(f"{day}T00:00:00+00:00") - timedelta(seconds=1)
    found = due_times(cron, zone, start, start + timedelta(days=1))
    assert [f"{due:%H:%M}" for due in found] == expected


def test_a_year_of_minutes_is_not_counted_to_the_end() -> None:
    now = LEAP_YEAR + timedelta(days=366, seconds=30)
    due = Timetable("* * * * *", "Europe/Berlin").due_between(LEAP_YEAR, now)
    assert (due.earlier, due.latest) == (MAX_COUNTED, now - timedelta(seconds=30))
    assert due.next == now + timedelta(seconds=30)
    due = Timetable("* * * 1 *", "UTC").due_between(LEAP_YEAR, now - timedelta(days=1))
    assert (due.earlier, due.latest) == (MAX_COUNTED, datetime(2028, 1, 31, 23, 59, tzinfo=UTC))


@pytest.mark.parametrize(
    "cron",
    [
        "",
        "* * * *",
        "0 * * * * *",
        "@daily",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "*/0 * * * *",
        "5-1 * * * *",
        "a b c d e",
        "\u0661 * * * *",
        "* * * * ²L",
        "\0 * * * *",
        "0 0 31 2 *",
        "* * */20 * 1L",
    ],
)
def test_lines_that_cannot_be(cron: str) -> None:
    with pytest.raises(ValueError, match=r"five fields|cron has no such|no such day"):
        check_cron(cron)


def test_lines_are_written_with_single_spaces() -> None:
    assert check_cron("  30\t6  * * mon-fri ") == "30 6 * * mon-fri"


@pytest.mark.parametrize(
    "name", ["", "Berlin", "Europe", "../../etc/passwd", "/etc/localtime", "localtime", "\0", "CEST"]
)
def test_zones_that_cannot_be(name: str) -> None:
    with pytest.raises(ValueError, match="time zone"):
        check_zone(name)
    assert check_zone("Europe/Berlin") == "Europe/Berlin"


def test_what_is_not_understood_any_more_is_named() -> None:
    for lost in (Timetable("0 0 * * *", "Europe/Atlantis"), Timetable("nonsense", "UTC")):
        with pytest.raises(UnusableTimetable, match="not understood any more"):
            lost.due_between(LEAP_YEAR, LEAP_YEAR)


def test_a_day_that_comes_every_28_years() -> None:
    cron = check_cron("0 0 * 2 MON#5")
    assert next(Timetable(cron, "UTC").times_after(LEAP_YEAR)) == datetime(2044, 2, 29, tzinfo=UTC)
