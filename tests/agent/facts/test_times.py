"""Times in words, against a calendar: Monday, 30 November 2026, half past eight in the evening."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.agent.facts.times import MAX_RANGES, find_times

NOW = datetime(2026, 11, 30, 20, 30, tzinfo=UTC)
EVENING, TODAY = "2026-11-30 20:30", "2026-11-30 00:00"


def bounds(question: str, now: datetime = NOW) -> list[tuple[str | None, str | None]]:
    """Start and end of each time, as year to minute."""
    found = find_times(question, now)
    return [
        (
            each.start.strftime("%Y-%m-%d %H:%M") if each.start else None,
            each.end.strftime("%Y-%m-%d %H:%M") if each.end else None,
        )
        for each in found
    ]


@pytest.mark.parametrize(
    ("question", "start", "end"),
    [
        ("which renders failed today?", TODAY, "2026-12-01 00:00"),
        ("and yesterday", "2026-11-29 00:00", TODAY),
        ("the day before yesterday", "2026-11-28 00:00", "2026-11-29 00:00"),
        ("what happened last night", "2026-11-29 18:00", "2026-11-30 06:00"),
        ("this morning", TODAY, "2026-11-30 12:00"),
        ("experiments of this week", TODAY, "2026-12-07 00:00"),
        ("Last week's renders", "2026-11-23 00:00", TODAY),
        ("this month", "2026-11-01 00:00", "2026-12-01 00:00"),
        ("last month", "2026-10-01 00:00", "2026-11-01 00:00"),
        ("this year", "2026-01-01 00:00", "2027-01-01 00:00"),
        ("last year", "2025-01-01 00:00", "2026-01-01 00:00"),
        ("in the last 3 days", "2026-11-27 20:30", EVENING),
        ("over the past two hours", "2026-11-30 18:30", EVENING),
        ("the last hour", "2026-11-30 19:30", EVENING),
        ("in the past month", "2026-10-30 20:30", EVENING),
        ("3 days ago", "2026-11-27 00:00", "2026-11-28 00:00"),
        ("an hour ago", "2026-11-30 19:30", EVENING),
        ("since Monday", TODAY, None),
        ("since Friday", "2026-11-27 00:00", None),
        ("on Monday", "2026-11-23 00:00", "2026-11-24 00:00"),
        ("last Sunday", "2026-11-29 00:00", TODAY),
        ("since yesterday", "2026-11-29 00:00", None),
        ("before yesterday", None, "2026-11-29 00:00"),
        ("after 2026-03-01", "2026-03-02 00:00", None),
        ("since 2026-03-01", "2026-03-01 00:00", None),
        ("from yesterday", "2026-11-29 00:00", TODAY),
        ("from yesterday on", "2026-11-29 00:00", None),
        ("in March", "2026-03-01 00:00", "2026-04-01 00:00"),
        ("in December", "2025-12-01 00:00", "2026-01-01 00:00"),
        ("in February 2024", "2024-02-01 00:00", "2024-03-01 00:00"),
        ("on 29 February 2024", "2024-02-29 00:00", "2024-03-01 00:00"),
        ("on March 3rd", "2026-03-03 00:00", "2026-03-04 00:00"),
        ("before May 2025", None, "2025-05-01 00:00"),
        ("Welche Renders sind letzte Woche gescheitert?", "2026-11-23 00:00", TODAY),
        ("seit Freitag", "2026-11-27 00:00", None),
        ("vor 3 Tagen", "2026-11-27 00:00", "2026-11-28 00:00"),
        ("in den letzten 2 Stunden", "2026-11-30 18:30", EVENING),
        ("im März", "2026-03-01 00:00", "2026-04-01 00:00"),
        ("quels rendus depuis vendredi ?", "2026-11-27 00:00", None),
        ("les 3 derniers jours", "2026-11-27 20:30", EVENING),
        ("il y a 2 semaines", "2026-11-16 00:00", "2026-11-17 00:00"),
        ("la semaine dernière", "2026-11-23 00:00", TODAY),
        ("¿qué falló ayer?", "2026-11-29 00:00", TODAY),
        ("los últimos 3 días", "2026-11-27 20:30", EVENING),
        ("desde el lunes", TODAY, None),
        ("hace 2 semanas", "2026-11-16 00:00", "2026-11-17 00:00"),
        ("昨天有多少视频", "2026-11-29 00:00", TODAY),
        ("上周的实验", "2026-11-23 00:00", TODAY),
        ("最近3天", "2026-11-27 20:30", EVENING),
    ],
)
def test_one_time(question: str, start: str | None, end: str | None) -> None:
    assert bounds(question) == [(start, end)]


@pytest.mark.parametrize(
    "question",
    [
        "may I see all of it?",
        "how many frames has fish?",
        "on the 31st of February",
        "2026-13-01",
        "frames of camera-monday-3",
        "the last 99999 years",
        "experiment 2026-03-zebrafish",
        "",
    ],
)
def test_no_time(question: str) -> None:
    assert bounds(question) == []


def test_several_times_in_their_order() -> None:
    found = bounds("was it more last month than in this month, or since 2026-01-02?")
    assert [start for start, _ in found] == ["2026-10-01 00:00", "2026-11-01 00:00", "2026-01-02 00:00"]


def test_days_begin_in_the_zone_of_now() -> None:
    there = datetime(2026, 11, 30, 20, 30, tzinfo=UTC).astimezone(ZoneInfo("Asia/Tokyo"))
    (today,) = find_times("today", there)
    assert today.start is not None and today.start.isoformat() == "2026-12-01T00:00:00+09:00"


@pytest.mark.parametrize("day", ["2024-02-29", "2026-03-31", "2026-01-31", "2026-12-31"])
def test_ends_of_months(day: str) -> None:
    now = datetime.fromisoformat(f"{day}T12:00:00+00:00")
    (found,) = find_times("the last month", now)
    assert found.start is not None and found.start.day == 1
    (span,) = find_times("the past 1 month", now)
    assert span.start is not None and timedelta(days=28) <= now - span.start <= timedelta(days=31)


@given(st.text(max_size=200), st.datetimes(datetime(1990, 1, 1), datetime(2150, 1, 1)))
def test_any_text_has_few_times_and_each_has_a_bound(text: str, moment: datetime) -> None:
    found = find_times(f"{text} since last week {text}", moment.replace(tzinfo=UTC))
    assert 0 < len(found) <= MAX_RANGES
    assert all(each.start or each.end for each in found)
    assert all(each.start < each.end for each in found if each.start and each.end)
