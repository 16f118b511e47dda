"""Which frames of a dataset, in words: "the first 500 frames", "frames 100 to 200", "from 8 to 10 yesterday"."""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from service.agent.facts.facts import TimeRange, format_moment

Match = re.Match[str]
_NUMBER = r"(?P<{}>\d{{1,9}}(?:,\d{{3}}){{0,3}})"
_FRAMES = r"(?:frames?|images?|pictures?|bilder|fotogramas|imágenes)"

FIRST = re.compile(
    rf"(?:\bonly )?(?:\bof )?(?:\bthe |\bdie |\bles |\blos |\blas )?"
    rf"(?:\b(?:first|ersten|primer[oa]s) {_NUMBER.format('count')} {_FRAMES}\b"
    rf"|(?<![\w.,]){_NUMBER.format('french')} premi[eè]re?s images\b|前 ?{_NUMBER.format('chinese')} ?(?:帧|张))",
    re.IGNORECASE,
)
LAST = re.compile(
    rf"(?:\bonly )?(?:\bof )?(?:\bthe |\bdie |\bles |\blos |\blas )?"
    rf"(?:\b(?:last|letzten|últim[oa]s) {_NUMBER.format('count')} {_FRAMES}\b"
    rf"|(?<![\w.,]){_NUMBER.format('french')} derni[eè]re?s images\b|最后 ?{_NUMBER.format('chinese')} ?(?:帧|张))",
    re.IGNORECASE,
)
BETWEEN = re.compile(
    rf"(?:\b(?:only|from|of|between) )?\b{_FRAMES} (?:from |between |no\.? )?{_NUMBER.format('first')} ?"
    rf"(?:-|\u2013|to|and|until|through|bis|à|a) ?{_NUMBER.format('last')}(?![\w%])",
    re.IGNORECASE,
)
FROM_FRAME = re.compile(
    rf"\b(?:from|starting (?:at|with)|ab|à partir de|desde) (?:frame|bild|l['\u2019]image) {_NUMBER.format('first')}"
    r"(?![\w%])(?: on(?:wards?)?)?",
    re.IGNORECASE,
)
UP_TO_FRAME = re.compile(rf"\b(?:until|up to|to|bis) (?:frame|bild) {_NUMBER.format('last')}(?![\w%])", re.IGNORECASE)
# A member of no request: how many frames from the end, which are counted once the dataset is known.
LAST_FRAMES = "last_frames"


def read_first(match: Match) -> dict[str, Any]:
    return {"frames": {"stop": _given(match)}}


def read_last(match: Match) -> dict[str, Any]:
    return {LAST_FRAMES: _given(match)}


def read_between(match: Match) -> dict[str, Any]:
    """Both frames are shown."""
    return {"frames": {"start": _integer(match["first"]), "stop": _integer(match["last"]) + 1}}


def read_from(match: Match) -> dict[str, Any]:
    return {"frames": {"start": _integer(match["first"])}}


def read_up_to(match: Match) -> dict[str, Any]:
    return {"frames": {"stop": _integer(match["last"]) + 1}}


def read_times(times: Sequence[TimeRange]) -> dict[str, Any]:
    """From the beginning of the first time to the end of the last one: "since Monday until Wednesday"."""
    since, until = times[0].start, times[-1].end
    if since and until and since >= until:  # on a Monday, "from Monday to Wednesday" began a week ago
        since -= timedelta(days=7)
    bounds = {"from": since and format_moment(since), "to": until and format_moment(until)}
    return {"frames": {name: moment for name, moment in bounds.items() if moment}}


def _given(match: Match) -> int:
    return _integer(next(each for each in match.groups() if each))


def _integer(digits: str) -> int:
    return int(digits.replace(",", ""))


RULES = (
    (FIRST, read_first),
    (LAST, read_last),
    (BETWEEN, read_between),
    (FROM_FRAME, read_from),
    (UP_TO_FRAME, read_up_to),
)
