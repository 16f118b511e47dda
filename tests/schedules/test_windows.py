"""Which capture times the words of a window name."""

from datetime import UTC, datetime, timedelta

import pytest

from service.schedules.windows import CaptureWindow, capture_window, check_window


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("planned", "zone", "since", "until"),
    [
        ("2028-03-01T05:30", "Europe/Berlin", "2028-02-28T23:00", "2028-02-29T23:00"),
        # Days of 23 and of 25 hours.
        ("2028-03-27T06:00", "Europe/Berlin", "2028-03-25T23:00", "2028-03-26T22:00"),
        ("2028-10-30T06:00", "Europe/Berlin", "2028-10-28T22:00", "2028-10-29T23:00"),
        # Its run is planned for the 2nd there, and for the 1st in UTC.
        ("2028-01-01T20:00", "Pacific/Auckland", "2027-12-31T11:00", "2028-01-01T11:00"),
        # Midnight is skipped: the day begins at 01:00.
        ("2028-09-04T12:00", "America/Santiago", "2028-09-03T04:00", "2028-09-04T03:00"),
    ],
)
def test_yesterday_is_a_day_of_the_zone(planned: str, zone: str, since: str, until: str) -> None:
    assert capture_window("yesterday", zone, at(planned), None) == CaptureWindow(at(since), at(until))


@pytest.mark.parametrize(
    ("words", "span"),
    [
        ("last 1 minute", timedelta(minutes=1)),
        ("last 90 minutes", timedelta(minutes=90)),
        ("last 12 hours", timedelta(hours=12)),
        ("last 7 days", timedelta(days=7)),
        ("last 2 weeks", timedelta(days=14)),
    ],
)
def test_the_last_so_many(words: str, span: timedelta) -> None:
    planned = at("2028-03-27T06:00")
    assert check_window(words) == words
    assert capture_window(words, "Europe/Berlin", planned, None) == CaptureWindow(planned - span, planned)


def test_since_the_last_run() -> None:
    planned, before = at("2028-03-27T06:00"), at("2028-03-20T06:00")
    assert capture_window("since_last_run", "UTC", planned, before) == CaptureWindow(before, planned)
    assert capture_window("since_last_run", "UTC", planned, None) == CaptureWindow(None, planned)


@pytest.mark.parametrize(
    "words",
    ["", "today", "last", "last 0 days", "last -1 days", "last 7", "last 7 years", "last 36501 days", "last ٣ days"],
)
def test_words_that_name_no_window(words: str) -> None:
    with pytest.raises(ValueError, match="last N minutes"):
        check_window(words)
