"""Times of day within days: Monday, 30 November 2026, half past eight in the evening."""

import pytest

from tests.agent.facts.test_times import bounds


@pytest.mark.parametrize(
    ("question", "start", "end"),
    [
        ("renders from 8 to 10 yesterday", "2026-11-29 08:00", "2026-11-29 10:00"),
        ("renders of yesterday, from 8 to 10", "2026-11-29 08:00", "2026-11-29 10:00"),
        ("between 14:00 and 15:30 on Friday", "2026-11-27 14:00", "2026-11-27 15:30"),
        ("2026-11-02 8:00 - 9:30", "2026-11-02 08:00", "2026-11-02 09:30"),
        ("from 2 to 4 pm", "2026-11-30 14:00", "2026-11-30 16:00"),
        ("from 12 am to 12 pm yesterday", "2026-11-29 00:00", "2026-11-29 12:00"),
        ("from 22:00 to 6:00 yesterday", "2026-11-29 22:00", "2026-11-30 06:00"),
        ("after 6 pm yesterday", "2026-11-29 18:00", "2026-11-30 00:00"),
        ("before 7:30 today", "2026-11-30 00:00", "2026-11-30 07:30"),
        ("from 8 to 10 this morning", "2026-11-30 08:00", "2026-11-30 10:00"),
        ("from 8 to 10 this evening", "2026-11-30 20:00", "2026-11-30 22:00"),
        ("from 1 to 3 last night", "2026-11-30 01:00", "2026-11-30 03:00"),
        ("gestern von 8 bis 10 Uhr", "2026-11-29 08:00", "2026-11-29 10:00"),
        ("hier de 8h à 10h", "2026-11-29 08:00", "2026-11-29 10:00"),
        ("ayer de 8 a 10", "2026-11-29 08:00", "2026-11-29 10:00"),
        ("昨天8点到10点", "2026-11-29 08:00", "2026-11-29 10:00"),
    ],
)
def test_hours_of_a_day(question: str, start: str, end: str) -> None:
    assert bounds(question) == [(start, end)]


@pytest.mark.parametrize(
    "question",
    [
        "frames 100 to 200",
        "datasets with 8 to 10 frames",
        "priority from 2 to 4",
        "from 8 to 99 pm",
        "3 to 5",
        "25:61 to 26:00",
    ],
)
def test_what_is_no_time_of_day(question: str) -> None:
    assert bounds(question) == []


def test_what_is_no_time_of_day_leaves_the_day() -> None:
    assert bounds("renders with 3 to 5 frames of yesterday") == [("2026-11-29 00:00", "2026-11-30 00:00")]
