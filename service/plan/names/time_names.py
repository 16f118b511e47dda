"""Times in the names of frames: digits that are a date count no frames, so nothing is missing between two of them."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

# `stated`: date and time of day, or Unix seconds with a fraction. Others are digits that a counter may have too.
TimeKind = Literal["stated", "date", "unix"]

# Names of several frames may have one time; of more than this many, it is that of the whole sequence.
_MAX_FRAMES_A_MOMENT = 30

_CALENDAR = (
    r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<between>[-_.]?)(?P<month>\d\d)(?P=between)(?P<day>\d\d)"
    r"(?:[-T_./ @]{0,2}(?P<hour>\d\d)[-_.:/h]?(?P<minute>\d\d)"
    r"(?:[-_.:m]?(?P<second>\d\d)(?:[-_.,]?(?P<fraction>\d{6}|\d{3}))?)?)?"
    r"(?P<zone>Z|\+\d{4})?(?!\d)"
)
_DAY_OF_YEAR = (
    r"(?<!\d)(?P<year>(?:19|20)\d\d)[-_.]?(?P<day_of_year>\d{3})"
    r"(?:[-T_.]?(?P<hour>\d\d)[-_.:]?(?P<minute>\d\d)[-_.:]?(?P<second>\d\d))?(?!\d)"
)
_SHORT_YEAR = (
    r"(?<!\d)(?P<short_year>\d\d)(?P<month>\d\d)(?P<day>\d\d)"
    r"[-T_.]?(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)(?!\d)"
)
_CALENDARS = tuple(map(re.compile, (_CALENDAR, _DAY_OF_YEAR, _SHORT_YEAR)))
_UNIX = re.compile(r"(?<!\d)(?P<seconds>1\d{9})(?:\.(?P<fraction>\d{1,9})|(?P<digits>\d{3}|\d{6}|\d{9}))?(?!\d)")
# Unix seconds from 2005 on; before, such numbers are counters.
_FIRST_SECOND = 1_104_537_600
_LAST_DIGITS = re.compile(r"\d(?=\D*$)")


@dataclass(frozen=True, slots=True)
class NamedTime:
    """A time in a name; one without a zone counts as UTC, as in EXIF. `is_number`: the last digits of the name are part
    of it, so that they number nothing."""

    moment: datetime
    kind: TimeKind
    is_number: bool


@dataclass(frozen=True, slots=True)
class NamedTimes:
    """The times in all names of a dataset, in order.

    `moments` are different ones, `usual_step` is the most frequent difference of the last numbers; it is found
    `usual_steps` times, the most frequent difference of the times `usual_pauses` times.
    """

    frames: int
    named: int
    moments: int
    doubtful: bool
    unix: bool
    usual_step: int | None
    usual_steps: int
    usual_pauses: int

    @property
    def are_times(self) -> bool:
        """Whether these are the times of the frames, and not of the sequence, nor a counter.

        Every name has one. Doubtful ones, such as dates without a time of day, must be more regular as times than as
        numbers; Unix times that grow by one are a counter.
        """
        if not self.frames or self.named < self.frames or self.moments * _MAX_FRAMES_A_MOMENT < self.frames:
            return False
        if self.frames > 1 and self.moments == 1:
            return False
        if self.unix and self.usual_step == 1:
            return False
        return not self.doubtful or self.usual_pauses > self.usual_steps


def named_time(name: str) -> NamedTime | None:
    """The time in the last part of a path, or in the path ("2024-06-01/13-45-10.jpg"); None if there is none."""
    stem = _stem(name)
    base = stem.rpartition("/")[2]
    return _calendar_time(base) or _unix_time(base) or _calendar_time(stem, path=True)


def _stem(name: str) -> str:
    """The name without its suffix; one of digits is none."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and "/" not in suffix and not suffix.isdecimal() else name


def _calendar_time(text: str, *, path: bool = False) -> NamedTime | None:
    """`path`: a date alone is that of the folder, and nothing else of a path is read."""
    for pattern in _CALENDARS[:1] if path else _CALENDARS:
        for found in pattern.finditer(text):
            moment = _moment(found)
            is_number = not _LAST_DIGITS.search(text, found.end())
            has_hour = found["hour"] is not None
            if moment is None or not (has_hour or (is_number and not path)):
                continue
            stated = pattern is _CALENDARS[0] and has_hour and not _is_bare_time(found, path)
            return NamedTime(moment, "stated" if stated else "date", is_number)
    return None


def _is_bare_time(found: re.Match[str], path: bool) -> bool:
    """Whether the time of day is a run of digits that may be a counter: four of them, or the name within a folder."""
    clock = found.string[found.start("hour") : found.end("second" if found["second"] else "minute")]
    return clock.isdecimal() and (path or len(clock) == 4)


def _moment(found: re.Match[str]) -> datetime | None:
    parts = {name: text for name, text in found.groupdict().items() if text}
    year = int(parts["year"]) if "year" in parts else 2000 + int(parts["short_year"])
    clock = [int(parts.get(name, 0)) for name in ("hour", "minute", "second")]
    try:
        midnight = datetime(year, int(parts.get("month", 1)), int(parts.get("day", 1)), tzinfo=UTC)
        if "day_of_year" in parts:
            midnight += timedelta(days=int(parts["day_of_year"]) - 1)
        moment = midnight.replace(hour=clock[0], minute=clock[1], second=clock[2])
    except ValueError:
        return None
    if midnight.year != year:
        return None
    zone = parts.get("zone", "Z")
    ahead = timedelta() if zone == "Z" else timedelta(hours=int(zone[1:3]), minutes=int(zone[3:]))
    return moment + timedelta(microseconds=int(parts.get("fraction", "").ljust(6, "0"))) - ahead


def _unix_time(text: str) -> NamedTime | None:
    for found in _UNIX.finditer(text):
        seconds, fraction = int(found["seconds"]), found["fraction"] or found["digits"] or ""
        if seconds >= _FIRST_SECOND:
            moment = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=int(fraction[:6].ljust(6, "0")))
            is_number = not _LAST_DIGITS.search(text, found.end())
            return NamedTime(moment, "stated" if found["fraction"] else "unix", is_number)
    return None
