"""Everything that a question says about a video, found by code: no model can get it wrong."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from service.agent.facts.facts import TimeRange
from service.agent.facts.times import find_times
from service.agent.facts.vocabulary import to_english_times
from service.agent.renders import look, parts, speed

# What it is for; a day in it is that of the meeting.
PURPOSE = re.compile(
    r"\b(?:for|für|pour|para) (?:\w{1,20} ){0,3}"
    r"(?:meetings?|talk|presentation|report|paper|poster|lecture|class|review|slides|demo|seminar|conference|boss)\b"
    r"(?: (?:on|at|this|next|am|el|de) \w{1,20}\b)?",
    re.IGNORECASE,
)
Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], dict[str, Any]]]
RULES: tuple[Rule, ...] = (*parts.RULES, *speed.RULES, *look.RULES)
RATE_RULES: tuple[Rule, ...] = ((speed.FRAME_RATE, speed.read_rate), (speed.DECIMATION, speed.read_decimation))


@dataclass(slots=True)
class RequestedOptions:
    """`fields`: members of a render request. `words`: what the question says for them. `rest`: the question without
    those words. `last_frames`: only so many frames from the end."""

    rest: str
    fields: dict[str, Any] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    last_frames: int | None = None

    def has_rate(self) -> bool:
        """Whether it says how fast, as is only said of a video that is to be made."""
        return not {"fps", "duration_seconds", "speed"}.isdisjoint(self.fields)


def find_options(question: str, now: datetime) -> RequestedOptions:
    """All options that the words name. `now` has the time zone in which days begin; times choose frames by when they
    were captured."""
    found = _take(PURPOSE.sub(" ", question), RULES)
    if "frames" not in found.fields and (times := find_times(found.rest, now)):
        _take_times(found, times)
    found.last_frames = found.fields.pop(parts.LAST_FRAMES, None)
    return found


def find_rate(question: str) -> RequestedOptions:
    """Only the frame rate and the decimation, whose words no name has."""
    return _take(question, RATE_RULES)


def _take(question: str, rules: Sequence[Rule]) -> RequestedOptions:
    """The first words that each rule understands."""
    found = RequestedOptions(" ".join(question.split()))
    for pattern, read in rules:
        if match := pattern.search(found.rest):
            _add(found, match[0], read(match))
            found.rest = _without(found.rest, match.start(), match.end())
    return found


def _take_times(found: RequestedOptions, times: Sequence[TimeRange]) -> None:
    """With the words between them, as "from Monday to Wednesday"."""
    text = to_english_times(found.rest)
    start, last = text.find(times[0].words), text.rfind(times[-1].words)
    if start < 0 or last < 0:
        return
    end = last + len(times[-1].words)
    found.fields |= parts.read_times(times)
    found.words.append(text[start:end])
    found.rest = _without(text, start, end)


def _add(found: RequestedOptions, words: str, fields: dict[str, Any]) -> None:
    """What was said first holds; the parts of `overlay`, `tone` and `frames` are added to each other."""
    found.words.append(words.strip(" ,"))
    for name, value in fields.items():
        known = found.fields.setdefault(name, value)
        if isinstance(value, dict):
            found.fields[name] = value | known


def _without(text: str, start: int, end: int) -> str:
    return " ".join(f"{text[:start]} {text[end:]}".split())
