"""How much one document may hold."""

import json

from service.errors import FieldProblem
from service.guard.filters import leaves
from service.guard.rules.rule import Case, Measure, Rule, values_of


def _at(measured: list[tuple[int, str]], code: str, text: str) -> Measure:
    """The largest of the (figure, pointer) pairs, with its place."""
    figure, pointer = max(measured, key=lambda pair: pair[0], default=(0, "#/filters"))
    return Measure(figure, (FieldProblem(text, code, pointer=pointer),))


def _total(figure: int, pointer: str, code: str, text: str) -> Measure:
    return Measure(figure, (FieldProblem(text, code, pointer=pointer),))


def _depth(case: Case) -> Measure:
    return _at([(depth, node.at) for depth, node in leaves(case.root)], "filter_depth", "the filter nests too deep")


def _conditions(case: Case) -> Measure:
    """Groups without conditions count as one: they are nodes of the statement, too."""
    figure = sum(1 for _, node in leaves(case.root) if node is not case.root)
    return _total(figure, "#/filters", "conditions", "the filters hold too many conditions")


def _listed(case: Case) -> Measure:
    lists = [(len(leaf.value), leaf.pointer("value")) for leaf in case.conditions if isinstance(leaf.value, list)]
    place = max(lists, default=(0, "#/filters"))[1]
    return _total(sum(size for size, _ in lists), place, "listed_values", "the lists hold too many values")


def _value_bytes(case: Case) -> Measure:
    sizes = [(_bytes(value), at) for leaf in case.conditions for at, value in values_of(leaf)]
    return _at(sizes, "value_bytes", "the value is too long")


def _bytes(value: object) -> int:
    return len(value.encode()) if isinstance(value, str) else len(json.dumps(value, ensure_ascii=False).encode())


def _names(case: Case) -> Measure:
    document = case.document
    lists = {
        "#/columns": len(document.columns or ()),
        "#/aggregates": len(document.aggregates),
        "#/group_by": len(document.group_by),
        "#/order_by": len(document.order_by),
    }
    longest = max(lists, key=lambda field: lists[field])
    return _total(sum(lists.values()), longest, "names", "the query names too many columns and figures")


def _rows(case: Case) -> Measure:
    return _total(case.document.limit, "#/limit", "rows", "one answer cannot hold that many rows")


DEPTH = Rule(
    "filter_depth",
    "groups around a condition, the list itself included",
    "nest fewer groups: conditions of one list must all hold already",
    lambda settings: settings.max_depth,
    _depth,
)
CONDITIONS = Rule(
    "conditions",
    "conditions in all filters together",
    "use `in` with a list instead of many `eq`, or ask in several queries",
    lambda settings: settings.max_conditions,
    _conditions,
)
LISTED = Rule(
    "listed_values",
    "values in all lists together",
    "ask for fewer values at a time, or for a range with `between`",
    lambda settings: settings.max_values,
    _listed,
)
VALUE_BYTES = Rule(
    "value_bytes",
    "bytes of the longest single value",
    "compare with the beginning of the value: `starts_with`",
    lambda settings: settings.max_value_bytes,
    _value_bytes,
)
NAMES = Rule(
    "names",
    "columns, aggregates, groups and order keys together",
    "name only the columns you need; without `columns` all are told",
    lambda settings: settings.max_names,
    _names,
)
ROWS = Rule(
    "rows",
    "rows of one answer (`limit`)",
    "lower `limit` and follow `next_cursor`, or ask for aggregates",
    lambda settings: settings.max_rows,
    _rows,
)
