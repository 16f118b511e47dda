"""Patterns must be short and have few wildcards: matching backtracks at each."""

import re
from collections.abc import Iterator

from service.errors import FieldProblem
from service.guard.filters import Leaf
from service.guard.rules.rule import Measurement, ResolvedQuery, Rule, count_problems, zero

LIKE_OPERATORS = ("like", "ilike")
_ESCAPE_SEQUENCE = re.compile(r"\\.", re.DOTALL)


def _like_patterns(query: ResolvedQuery) -> Iterator[tuple[Leaf, str]]:
    for leaf in query.conditions:
        if leaf.op in LIKE_OPERATORS and isinstance(leaf.value, str):
            yield leaf, leaf.value


def _largest_pattern(figures: list[tuple[int, Leaf]], code: str, text: str) -> Measurement:
    figure, leaf = max(figures, key=lambda pair: pair[0], default=(0, None))
    return Measurement(figure, (FieldProblem(text, code, pointer=leaf.pointer("value")),) if leaf else ())


def _measure_pattern_length(query: ResolvedQuery) -> Measurement:
    return _largest_pattern(
        [(len(value), leaf) for leaf, value in _like_patterns(query)], "pattern_length", "the pattern is too long"
    )


def _count_wildcards(query: ResolvedQuery) -> Measurement:
    counts = [(len(re.findall("[%_]", _ESCAPE_SEQUENCE.sub("", value))), leaf) for leaf, value in _like_patterns(query)]
    return _largest_pattern(counts, "pattern_wildcards", "the pattern has too many wildcards")


def _find_dangling_escapes(query: ResolvedQuery) -> Measurement:
    """PostgreSQL refuses a backslash with nothing behind it, but only when a row gets there."""
    wrong = (leaf for leaf, value in _like_patterns(query) if _ESCAPE_SEQUENCE.sub("", value).endswith("\\"))
    text = "the pattern ends with an escape character: write two backslashes for one"
    return count_problems(FieldProblem(text, "pattern_escape", pointer=leaf.pointer("value")) for leaf in wrong)


PATTERN_LENGTH = Rule(
    "pattern_length",
    "characters of the longest LIKE pattern",
    "use `contains` or `starts_with` with a shorter text",
    lambda settings: settings.max_pattern,
    _measure_pattern_length,
)
PATTERN_WILDCARDS = Rule(
    "pattern_wildcards",
    "wildcards (`%` and `_`) of a LIKE pattern",
    "use several conditions with `contains` instead of one pattern",
    lambda settings: settings.max_wildcards,
    _count_wildcards,
)
PATTERN_ESCAPES = Rule(
    "pattern_escape",
    "LIKE patterns that end within an escape",
    "write two backslashes for one",
    zero,
    _find_dangling_escapes,
)
