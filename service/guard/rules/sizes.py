"""Rules on size: nesting, conditions, listed values, names, rows, and LIKE patterns."""

import json
import re
from collections.abc import Iterable, Iterator

from service.errors import FieldProblem
from service.guard.filters import Leaf, ResolvedQuery, leaves
from service.guard.rules.rule import Measurement, Rule, mistake_rule


def _largest(sizes: Iterable[tuple[int, str]], code: str, detail: str) -> Measurement:
    """The largest of (size, pointer)."""
    size, pointer = max(sizes, key=lambda pair: pair[0], default=(0, "#/filters"))
    return Measurement(size, (FieldProblem(detail, code, pointer=pointer),))


def _measure_depth(query: ResolvedQuery) -> Measurement:
    depths = ((depth, node.location) for depth, node in leaves(query.filters))
    return _largest(depths, "filter_depth", "the filter nests too deep")


DEPTH = Rule(
    "filter_depth",
    "groups around a condition, the list itself included",
    "nest fewer groups: conditions of one list must all hold already",
    lambda settings: settings.max_depth,
    _measure_depth,
)


def _count_conditions(query: ResolvedQuery) -> Measurement:
    """An empty group counts as one: it is a node of the statement, too."""
    count = sum(1 for _, node in leaves(query.filters) if node is not query.filters)
    problem = FieldProblem("the filters hold too many conditions", "conditions", pointer="#/filters")
    return Measurement(count, (problem,))


CONDITIONS = Rule(
    "conditions",
    "conditions in all filters together",
    "use `in` with a list instead of many `eq`, or ask in several queries",
    lambda settings: settings.max_conditions,
    _count_conditions,
)


def _count_list_values(query: ResolvedQuery) -> Measurement:
    lists = [(len(leaf.value), leaf.pointer("value")) for leaf in query.conditions if isinstance(leaf.value, list)]
    _, longest = max(lists, default=(0, "#/filters"))
    problem = FieldProblem("the lists hold too many values", "listed_values", pointer=longest)
    return Measurement(sum(length for length, _ in lists), (problem,))


LIST_VALUES = Rule(
    "listed_values",
    "values in all lists together",
    "ask for fewer values at a time, or for a range with `between`",
    lambda settings: settings.max_values,
    _count_list_values,
)


def _measure_value_bytes(query: ResolvedQuery) -> Measurement:
    sizes = ((_byte_length(value), pointer) for leaf in query.conditions for pointer, value in leaf.values())
    return _largest(sizes, "value_bytes", "the value is too long")


def _byte_length(value: object) -> int:
    return len(value.encode()) if isinstance(value, str) else len(json.dumps(value, ensure_ascii=False).encode())


VALUE_BYTES = Rule(
    "value_bytes",
    "bytes of the longest single value",
    "compare with the beginning of the value: `starts_with`",
    lambda settings: settings.max_value_bytes,
    _measure_value_bytes,
)


def _count_names(query: ResolvedQuery) -> Measurement:
    document = query.document
    lengths = {
        "#/columns": len(document.columns or ()),
        "#/aggregates": len(document.aggregates),
        "#/group_by": len(document.group_by),
        "#/order_by": len(document.order_by),
    }
    longest = max(lengths, key=lambda pointer: lengths[pointer])
    problem = FieldProblem("the query names too many columns and figures", "names", pointer=longest)
    return Measurement(sum(lengths.values()), (problem,))


NAMES = Rule(
    "names",
    "columns, aggregates, groups and order keys together",
    "name only the columns you need; without `columns` all are told",
    lambda settings: settings.max_names,
    _count_names,
)


def _measure_row_limit(query: ResolvedQuery) -> Measurement:
    problem = FieldProblem("one answer cannot hold that many rows", "rows", pointer="#/limit")
    return Measurement(query.document.limit, (problem,))


ROWS = Rule(
    "rows",
    "rows of one answer (`limit`)",
    "lower `limit` and follow `next_cursor`, or ask for aggregates",
    lambda settings: settings.max_rows,
    _measure_row_limit,
)

_ESCAPE_SEQUENCE = re.compile(r"\\.", re.DOTALL)


def _like_patterns(query: ResolvedQuery) -> Iterator[tuple[Leaf, str]]:
    for leaf in query.conditions:
        if leaf.op in ("like", "ilike") and isinstance(leaf.value, str):
            yield leaf, leaf.value


def _measure_pattern_length(query: ResolvedQuery) -> Measurement:
    lengths = ((len(pattern), leaf.pointer("value")) for leaf, pattern in _like_patterns(query))
    return _largest(lengths, "pattern_length", "the pattern is too long")


PATTERN_LENGTH = Rule(
    "pattern_length",
    "characters of the longest LIKE pattern",
    "use `contains` or `starts_with` with a shorter text",
    lambda settings: settings.max_pattern,
    _measure_pattern_length,
)


def _count_wildcards(query: ResolvedQuery) -> Measurement:
    counts = (
        (len(re.findall("[%_]", _ESCAPE_SEQUENCE.sub("", pattern))), leaf.pointer("value"))
        for leaf, pattern in _like_patterns(query)
    )
    return _largest(counts, "pattern_wildcards", "the pattern has too many wildcards")


PATTERN_WILDCARDS = Rule(
    "pattern_wildcards",
    "wildcards (`%` and `_`) of a LIKE pattern",
    "use several conditions with `contains` instead of one pattern",
    lambda settings: settings.max_wildcards,
    _count_wildcards,
)


def _dangling_escapes(query: ResolvedQuery) -> Iterator[FieldProblem]:
    """PostgreSQL rejects a backslash at the end of a pattern, but only once it compares a row with it."""
    for leaf, pattern in _like_patterns(query):
        if _ESCAPE_SEQUENCE.sub("", pattern).endswith("\\"):
            detail = "the pattern ends with an escape character: write two backslashes for one"
            yield FieldProblem(detail, "pattern_escape", pointer=leaf.pointer("value"))


PATTERN_ESCAPES = mistake_rule(
    "pattern_escape",
    "LIKE patterns that end within an escape",
    "write two backslashes for one",
    _dangling_escapes,
)
