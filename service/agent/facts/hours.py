"""Times of day: "from 8 to 10 yesterday", "on Monday between 14:00 and 15:30", "after 6 pm today"."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.agent.facts.facts import TimeRange

Match = re.Match[str]
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
# How far from a day, in characters, its times of day may be written: "yesterday, from 8 to 10".
MAX_DISTANCE = 6
_CLOCK = (
    r"(?P<{0}_hour>\d{{1,2}})(?:[:h.](?P<{0}_minute>\d\d))?"
    r"(?: ?(?P<{0}_half>am|pm|a\.m\.|p\.m\.)| ?(?:o'clock|uhr|h)|点)?"
)
BETWEEN = re.compile(
    rf"(?:(?<!\w)(?:from|between|von|zwischen|de|entre|des) ?|从 ?|(?<![\w.,:-])){_CLOCK.format('first')}"
    rf" ?(?:to|until|till|and|bis|und|à|et|a|y|-|\u2013|到|至) ?(?:las )?{_CLOCK.format('last')}(?![\w.:%-])",
    re.IGNORECASE,
)
OPEN = re.compile(
    rf"(?<!\w)(?P<edge>since|from|after|before|until|ab|nach|vor|après|avant) {_CLOCK.format('first')}(?![\w.:%-])",
    re.IGNORECASE,
)
BEFORE = ("before", "until", "vor", "avant")
_GAP = re.compile(r"[ ,]{0,3}(?:(?:on|am|le|el|at|um) )?")


@dataclass(frozen=True, slots=True)
class FoundTime:
    """A time range, and where its words begin in the text."""

    place: int
    range: TimeRange

    @property
    def end(self) -> int:
        return self.place + len(self.range.words)


def narrow_to_hours(text: str, found: Sequence[FoundTime], now: datetime) -> list[FoundTime]:
    """`found` with the days of which `text` names times of day, as those. Those without a day are today's, if they are
    written as only times are."""
    narrowed = list(found)
    for match, bounds in _times_of_day(text):
        beside = next((each for each in narrowed if _is_day(each.range) and _is_beside(text, each, match)), None)
        if beside is not None:
            narrowed[narrowed.index(beside)] = _within(text, beside, match, bounds)
        elif _is_clock(match) and not any(each.place < match.end() and match.start() < each.end for each in narrowed):
            today = TimeRange("", midnight(now), midnight(now) + DAY)
            narrowed.append(_within(text, FoundTime(match.start(), today), match, bounds))
    return sorted(narrowed, key=lambda each: each.place)


Bounds = tuple[timedelta, timedelta]


def _times_of_day(text: str) -> Iterator[tuple[Match, Bounds]]:
    spans = list(BETWEEN.finditer(text))
    for match in spans:
        first, last = _clock(match, "first", "last"), _clock(match, "last", "last")
        if first is not None and last is not None and first != last:
            yield match, (first, last if first < last else last + DAY)
    for match in OPEN.finditer(text):
        moment = _clock(match, "first", "first")
        if moment is not None and not any(span.start() <= match.start() < span.end() for span in spans):
            yield match, (timedelta(), moment) if match["edge"].lower() in BEFORE else (moment, DAY)


def _clock(match: Match, name: str, last: str) -> timedelta | None:
    """Since midnight. `last`: whose am or pm holds for both, as in "from 2 to 4 pm"."""
    hour, minute = int(match[f"{name}_hour"]), int(match[f"{name}_minute"] or 0)
    half = (match[f"{name}_half"] or match[f"{last}_half"] or "").lower().replace(".", "")
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "pm" else 0)
    if hour > 24 or minute > 59 or (hour == 24 and minute):
        return None
    return timedelta(hours=hour, minutes=minute)


def _is_day(found: TimeRange) -> bool:
    """Or a part of one, as this morning."""
    return found.start is not None and found.end is not None and found.end - found.start <= DAY


def _is_beside(text: str, found: FoundTime, match: Match) -> bool:
    """Whether only a comma or a preposition is between them."""
    between = text[found.end : match.start()] if found.place < match.start() else text[match.end() : found.place]
    return len(between) <= MAX_DISTANCE and _GAP.fullmatch(between) is not None


def _is_clock(match: Match) -> bool:
    """Whether minutes, am or pm say that it is a time: numbers alone can count anything."""
    parts = match.groupdict()
    return any(value for name, value in parts.items() if name.endswith(("_minute", "_half")))


def _within(text: str, found: FoundTime, match: Match, bounds: Bounds) -> FoundTime:
    """Those hours of the day; in the evening and at night, 8 is 20:00."""
    start, end = min(found.place, match.start()), max(found.end, match.end())
    assert found.range.start is not None
    since, until = (midnight(found.range.start) + bound for bound in bounds)
    while since < found.range.start:
        since, until = since + 12 * HOUR, until + 12 * HOUR
    return FoundTime(start, TimeRange(text[start:end], since, until))


def midnight(moment: datetime) -> datetime:
    """The beginning of its day, in its own time zone."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)
