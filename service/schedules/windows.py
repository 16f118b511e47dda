"""Which capture times a run shows: a window that a schedule names in words, relative to the time of the run."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

YESTERDAY, SINCE_LAST_RUN = "yesterday", "since_last_run"
_LAST = re.compile(r"last ([1-9][0-9]{0,5}) (minute|hour|day|week)s?")
_UNITS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
_UNITS["week"] = timedelta(weeks=1)
MAX_SPAN = timedelta(days=36_500)


@dataclass(frozen=True, slots=True)
class CaptureWindow:
    """Capture times from `since` (None: the first) to before `until`."""

    since: datetime | None
    until: datetime


def check_window(words: str) -> str:
    """Raises ValueError unless the words name a window."""
    if words not in (YESTERDAY, SINCE_LAST_RUN) and not _span(words):
        raise ValueError("write yesterday, since_last_run, or last N minutes, hours, days or weeks, as in last 7 days")
    return words


def capture_window(words: str, zone: str, planned: datetime, covered_until: datetime | None) -> CaptureWindow:
    """The window of the run that is planned for this time; the last run showed what was captured before
    `covered_until`."""
    if words == SINCE_LAST_RUN:
        return CaptureWindow(covered_until, planned)
    if words == YESTERDAY:
        clock = ZoneInfo(zone)
        today = planned.astimezone(clock).date()
        midnights = (datetime.combine(day, time(), clock) for day in (today - timedelta(days=1), today))
        return CaptureWindow(*(midnight.astimezone(UTC) for midnight in midnights))
    span = _span(words)
    assert span is not None, "it was checked"
    return CaptureWindow(planned - span, planned)


def _span(words: str) -> timedelta | None:
    match = _LAST.fullmatch(words)
    if match is None:
        return None
    count, unit = int(match[1]), _UNITS[match[2]]
    return count * unit if count * unit <= MAX_SPAN else None
