"""Patterns must be short and have few wildcards: matching backtracks at each."""

import re
from collections.abc import Iterator

from service.errors import FieldProblem
from service.guard.filters import Leaf
from service.guard.rules.rule import Case, Measure, Rule, counted, none

LIKE = ("like", "ilike")
_ESCAPED = re.compile(r"\\.", re.DOTALL)


def _patterns(case: Case) -> Iterator[tuple[Leaf, str]]:
    for leaf in case.conditions:
        if leaf.op in LIKE and isinstance(leaf.value, str):
            yield leaf, leaf.value


def _largest(figures: list[tuple[int, Leaf]], code: str, text: str) -> Measure:
    figure, leaf = max(figures, key=lambda pair: pair[0], default=(0, None))
    return Measure(figure, (FieldProblem(text, code, pointer=leaf.pointer("value")),) if leaf else ())


def _length(case: Case) -> Measure:
    return _largest(
        [(len(value), leaf) for leaf, value in _patterns(case)], "pattern_length", "the pattern is too long"
    )


def _wildcards(case: Case) -> Measure:
    counts = [(len(re.findall("[%_]", _ESCAPED.sub("", value))), leaf) for leaf, value in _patterns(case)]
    return _largest(counts, "pattern_wildcards", "the pattern has too many wildcards")


def _endings(case: Case) -> Measure:
    """PostgreSQL refuses a backslash with nothing behind it, but only when a row gets there."""
    wrong = (leaf for leaf, value in _patterns(case) if _ESCAPED.sub("", value).endswith("\\"))
    text = "the pattern ends with an escape character: write two backslashes for one"
    return counted(FieldProblem(text, "pattern_escape", pointer=leaf.pointer("value")) for leaf in wrong)


LENGTH = Rule(
    "pattern_length",
    "characters of the longest LIKE pattern",
    "use `contains` or `starts_with` with a shorter text",
    lambda settings: settings.max_pattern,
    _length,
)
WILDCARDS = Rule(
    "pattern_wildcards",
    "wildcards (`%` and `_`) of a LIKE pattern",
    "use several conditions with `contains` instead of one pattern",
    lambda settings: settings.max_wildcards,
    _wildcards,
)
ESCAPES = Rule(
    "pattern_escape",
    "LIKE patterns that end within an escape",
    "write two backslashes for one",
    none,
    _endings,
)
