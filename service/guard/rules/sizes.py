"""Rules on size: nesting, conditions, listed values, names, rows, and LIKE patterns."""

import json
import re
from collections.abc import Iterator

from service.errors import FieldProblem
from service.guard.filters import Leaf, leaves
from service.guard.rules.rule import Measurement, ResolvedQuery, Rule, count_problems, operand_values, zero


def _largest(measured: list[tuple[int, str]], code: str, text: str) -> Measurement:
    """The largest of the (figure, pointer) pairs, with its place."""
    figure, pointer = max(measured, key=lambda pair: pair[0], default=(0, "#/filters"))
    return Measurement(figure, (FieldProblem(text, code, pointer=pointer),))


def _total(figure: int, pointer: str, code: str, text: str) -> Measurement:
    return Measurement(figure, (FieldProblem(text, code, pointer=pointer),))


def _measure_depth(query: ResolvedQuery) -> Measurement:
    return _largest(
        [(depth, node.location) for depth, node in leaves(query.filters)], "filter_depth", "the filter nests too deep"
    )


def _count_conditions(query: ResolvedQuery) -> Measurement:
    """Groups without conditions count as one: they are nodes of the statement, too."""
    figure = sum(1 for _, node in leaves(query.filters) if node is not query.filters)
    return _total(figure, "#/filters", "conditions", "the filters hold too many conditions")


def _count_list_values(query: ResolvedQuery) -> Measurement:
    lists = [(len(leaf.value), leaf.pointer("value")) for leaf in query.conditions if isinstance(leaf.value, list)]
    place = max(lists, default=(0, "#/filters"))[1]
    return _total(sum(size for size, _ in lists), place, "listed_values", "the lists hold too many values")


def _measure_value_bytes(query: ResolvedQuery) -> Measurement:
    sizes = [(_byte_length(value), at) for leaf in query.conditions for at, value in operand_values(leaf)]
    return _largest(sizes, "value_bytes", "the value is too long")


def _byte_length(value: object) -> int:
    return len(value.encode()) if isinstance(value, str) else len(json.dumps(value, ensure_ascii=False).encode())


def _count_names(query: ResolvedQuery) -> Measurement:
    document = query.document
    lists = {
        "#/columns": len(document.columns or ()),
        "#/aggregates": len(document.aggregates),
        "#/group_by": len(document.group_by),
        "#/order_by": len(document.order_by),
    }
    longest = max(lists, key=lambda field: lists[field])
    return _total(sum(lists.values()), longest, "names", "the query names too many columns and figures")


def _measure_row_limit(query: ResolvedQuery) -> Measurement:
    return _total(query.document.limit, "#/limit", "rows", "one answer cannot hold that many rows")


DEPTH = Rule(
    "filter_depth",
    "groups around a condition, the list itself included",
    "nest fewer groups: conditions of one list must all hold already",
    lambda settings: settings.max_depth,
    _measure_depth,
)
CONDITIONS = Rule(
    "conditions",
    "conditions in all filters together",
    "use `in` with a list instead of many `eq`, or ask in several queries",
    lambda settings: settings.max_conditions,
    _count_conditions,
)
LIST_VALUES = Rule(
    "listed_values",
    "values in all lists together",
    "ask for fewer values at a time, or for a range with `between`",
    lambda settings: settings.max_values,
    _count_list_values,
)
VALUE_BYTES = Rule(
    "value_bytes",
    "bytes of the longest single value",
    "compare with the beginning of the value: `starts_with`",
    lambda settings: settings.max_value_bytes,
    _measure_value_bytes,
)
NAMES = Rule(
    "names",
    "columns, aggregates, groups and order keys together",
    "name only the columns you need; without `columns` all are told",
    lambda settings: settings.max_names,
    _count_names,
)
ROWS = Rule(
    "rows",
    "rows of one answer (`limit`)",
    "lower `limit` and follow `next_cursor`, or ask for aggregates",
    lambda settings: settings.max_rows,
    _measure_row_limit,
)


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
