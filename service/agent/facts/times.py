"""Times in words, resolved by code: "last night", "since Monday", "in March", "the last 3 days"."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

from service.agent.facts.facts import TimeRange
from service.agent.facts.hours import DAY, HOUR, FoundTime, midnight, narrow_to_hours
from service.agent.facts.vocabulary import to_english_times

Match = re.Match[str]
Bounds = tuple[datetime, datetime]
MAX_RANGES, MAX_COUNT = 4, 1000
MINUTE = timedelta(minutes=1)
LENGTHS = {"minute": MINUTE, "hour": HOUR, "day": DAY, "week": 7 * DAY}
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
FIRST_MONTHS = ("january", "february", "march", "april", "may", "june")
MONTHS = (*FIRST_MONTHS, "july", "august", "september", "october", "november", "december")
NUMBERS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "ten": 10}
NUMBERS |= {"couple of": 2, "few": 3}
_UNIT = "(?P<unit>minute|hour|day|week|month|year)s?"
_PERIOD = "(?P<unit>week|month|year)"
_COUNT = rf"(?P<count>\d{{1,4}}|{'|'.join(NUMBERS)})"
_DAY_OF_MONTH = r"(?P<{}>\d{{1,2}})(?:st|nd|rd|th|\.)?"
# Not the verb: after a preposition or a day, or before a number.
_MAY = r"(?:(?<=in )|(?<=im )|(?<=en )|(?<=of )|(?<=since )|(?<=before )|(?<=after )|(?<=\d )|(?<=\. ))may|may(?= \d)"
_MONTH = (
    rf"(?:{_DAY_OF_MONTH.format('day')} ?(?:of |de |du )?)?(?P<month>{'|'.join(MONTHS).replace('|may|', f'|{_MAY}|')})"
    rf"(?: {_DAY_OF_MONTH.format('late')}(?! ?\d))?(?:,? (?:de )?(?P<year>(?:19|20)\d\d))?"
)


def _day(days_ago: int, _match: Match, now: datetime) -> Bounds:
    start = midnight(now) - days_ago * DAY
    return start, start + DAY


def _hours(first: int, last: int, _match: Match, now: datetime) -> Bounds:
    """Between two hours, counted from the beginning of today."""
    return midnight(now) + first * HOUR, midnight(now) + last * HOUR


def _start_of(unit: str, now: datetime) -> datetime:
    """Weeks begin on Monday."""
    day = midnight(now)
    return day - now.weekday() * DAY if unit == "week" else day.replace(day=1, month=1 if unit == "year" else now.month)


def _months_later(start: datetime, months: int) -> datetime:
    """The same day of another month, or the last one that it has."""
    number = start.year * 12 + start.month - 1 + months
    first = start.replace(year=number // 12, month=number % 12 + 1, day=1)
    length = ((first + 31 * DAY).replace(day=1) - first).days
    return first.replace(day=min(start.day, length))


def _later(unit: str, start: datetime, count: int) -> datetime:
    if unit in LENGTHS:
        return start + count * LENGTHS[unit]
    return _months_later(start, count * (12 if unit == "year" else 1))


def _period(periods_ago: int, match: Match, now: datetime) -> Bounds:
    """The calendar week, month or year."""
    unit = match["unit"].lower()
    start = _later(unit, _start_of(unit, now), -periods_ago)
    return start, _later(unit, start, 1)


def _span(match: Match, now: datetime) -> Bounds:
    """The last so many units up to now."""
    words = (match["count"] or "one").lower()
    count = int(words) if words.isdecimal() else NUMBERS[words]
    return _later(match["unit"].lower(), now, -min(count, MAX_COUNT)), now


def _ago(match: Match, now: datetime) -> Bounds:
    """The day that is so many units back; with hours and minutes, from then on."""
    start, _ = _span(match, now)
    return (start, now) if match["unit"].lower() in ("hour", "minute") else (midnight(start), midnight(start) + DAY)


def _weekday(match: Match, now: datetime) -> Bounds:
    """The latest such day before today; since such a day: today is one, too."""
    days_ago = (now.weekday() - WEEKDAYS.index(match["weekday"].lower())) % 7
    return _day(days_ago or (0 if _edge(match) in ("since", "from") else 7), match, now)


def _edge(match: Match) -> str:
    return (match["edge"] or "").lower()


def _date(match: Match, now: datetime) -> Bounds:
    start = midnight(now).replace(year=int(match["y"]), month=int(match["m"]), day=int(match["d"]))
    return start, start + DAY


def _month(match: Match, now: datetime) -> Bounds:
    """A month or a day of it; without a year the latest that has begun."""
    day = match["day"] or match["late"]
    month, year = MONTHS.index(match["month"].lower()) + 1, int(match["year"] or now.year)
    start = midnight(now).replace(year=year, month=month, day=int(day or 1))
    if start > now and not match["year"]:
        start = start.replace(year=year - 1)
    return start, start + DAY if day else _months_later(start, 1)


# Longer expressions before those that they contain.
RULES: tuple[tuple[str, Callable[[Match, datetime], Bounds]], ...] = (
    (r"(?P<y>(?:19|20)\d\d)-(?P<m>\d\d)-(?P<d>\d\d)(?:T[\d:.]+Z?)?", _date),
    ("(?:the )?day before yesterday", partial(_day, 2)),
    ("last night", partial(_hours, -6, 6)),
    ("yesterday", partial(_day, 1)),
    ("this morning", partial(_hours, 0, 12)),
    ("this afternoon", partial(_hours, 12, 18)),
    ("tonight|this evening", partial(_hours, 18, 24)),
    ("today", partial(_day, 0)),
    (rf"(?:the )?(?:last|past) {_COUNT} {_UNIT}", _span),
    (rf"(?<=since ){_COUNT} {_UNIT}", _span),
    (rf"{_COUNT} {_UNIT} ago", _ago),
    (rf"ago {_COUNT} {_UNIT}", _ago),
    (rf"(?:this|the current) {_PERIOD}", partial(_period, 0)),
    (rf"(?:the )?(?:last|previous) {_PERIOD}", partial(_period, 1)),
    (rf"(?:the )?(?:last|past) (?P<count>){_UNIT}", _span),
    (rf"(?:last |this )?(?P<weekday>{'|'.join(WEEKDAYS)})s?", _weekday),
    (_MONTH, _month),
)
_PATTERNS = tuple(
    re.compile(rf"(?:(?P<edge>since|after|from|before|until) )?(?<![\w-])(?:{words})(?![\w-])", re.IGNORECASE)
    for words, _ in RULES
)
_GOES_ON = re.compile(" (?:on|to|until)")


def find_times(question: str, now: datetime) -> tuple[TimeRange, ...]:
    """The times that the question names, in its order. `now` has the time zone in which days begin."""
    text = to_english_times(question)
    found = narrow_to_hours(text, sorted(_find_all(text, now), key=lambda each: each.place), now)
    return tuple(each.range for each in found)[:MAX_RANGES]


def _find_all(text: str, now: datetime) -> Iterator[FoundTime]:
    for pattern, (_, bounds) in zip(_PATTERNS, RULES, strict=True):
        for match in pattern.finditer(text):
            with suppress(ValueError, OverflowError):  # the 31st of February is no time
                start, end = bounds(match, now)
                edge = _edge(match)
                is_open = edge != "from" or _GOES_ON.match(text, match.end())
                yield FoundTime(match.start(), _to_range(match[0], edge if is_open else "", start, end))
        text = pattern.sub(lambda match: "\0" * len(match[0]), text)


def _to_range(words: str, edge: str, start: datetime, end: datetime) -> TimeRange:
    """Since something: from its beginning; after it: from its end; before it: to its beginning."""
    match edge:
        case "since" | "from":
            return TimeRange(words, start, None)
        case "after":
            return TimeRange(words, end, None)
        case "before" | "until":
            return TimeRange(words, None, start)
        case _:
            return TimeRange(words, start, end)
