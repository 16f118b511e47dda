"""Hypothesis strategies for guarded queries: valid ones for given tables, and arbitrary ones."""

from typing import Any, get_args

from hypothesis import strategies as st

from service.guard.document import AggregateFunction, Operator
from service.guard.schema import ColumnType, TableDescription, Tables

INJECTION_TEXT = st.sampled_from(
    [
        "'; DROP TABLE experiments; --",
        '" OR 1=1 --',
        "$1",
        ":subject",
        "%(x)s",
        "\\",
        "pg_sleep(10)",
        "ask.frames",
        "x' UNION SELECT * FROM tasks",
        "\u202e\u2028",
        "key_0",
        "*",
    ]
)
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12) | INJECTION_TEXT
NAME = TEXT.filter(lambda text: 0 < len(text) <= 63)
SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
JSON = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)
OPS = st.sampled_from(get_args(Operator))
FUNCTIONS = st.sampled_from(get_args(AggregateFunction))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "uuid": st.uuids().map(str),
    "text": TEXT,
    "integer": st.integers(-(2**63), 2**63 - 1),
    "number": st.integers(-(10**300), 10**300) | st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
    "timestamp": st.datetimes().map(lambda moment: f"{moment.isoformat()}+00:00")
    | st.just("0001-01-01T00:00:00-23:59"),
    "json": st.dictionaries(TEXT, JSON, max_size=3) | st.lists(JSON, max_size=3),
    "text[]": TEXT,
}


@st.composite
def arbitrary_documents(draw: st.DrawFn, tables: Tables) -> dict[str, Any]:
    """Well-formed documents whose names and values are arbitrary, but often exist."""
    table = draw(st.sampled_from(list(tables)) | NAME)
    known = list(tables[table].columns) if table in tables else ["id"]
    name = st.sampled_from(known) | NAME
    condition = st.fixed_dictionaries({"column": name, "op": OPS, "value": JSON | st.lists(SCALAR, max_size=3)})
    return draw(_document(table, name, condition, st.integers(1, 5000), aggregates=name | st.none()))


@st.composite
def valid_documents(draw: st.DrawFn, tables: Tables) -> dict[str, Any]:
    """Documents with existing names, and operators and values of the right type."""
    table = tables[draw(st.sampled_from(list(tables)))]
    conditions = st.one_of([_condition(name, column.type) for name, column in table.columns.items()])
    rows = _document(table.name, st.sampled_from(list(table.columns)), conditions, st.integers(1, 50), aggregates=None)
    return draw(_aggregate_query(table, conditions) | rows.map(lambda document: _without_unsortable(document, table)))


def _document(table: str, name: Any, condition: Any, limit: Any, aggregates: Any) -> Any:
    parts = {
        "columns": st.lists(name, min_size=1, max_size=3, unique=True),
        "order_by": st.lists(
            name.map(lambda text: {"column": text, "direction": "desc"}) | name.map(lambda text: {"column": text}),
            max_size=2,
            unique_by=lambda order: order["column"],
        ),
        "filters": _filters(condition),
        "limit": limit,
    }
    if aggregates is not None:
        parts["aggregates"] = st.lists(st.fixed_dictionaries({"function": FUNCTIONS, "column": aggregates}), max_size=2)
        parts["group_by"] = st.lists(name, max_size=2)
        parts["cursor"] = TEXT.filter(bool) | st.just("W10")
    return st.fixed_dictionaries({"table": st.just(table)}, optional=parts)


def _filters(condition: Any) -> Any:
    group = st.recursive(
        condition,
        lambda inner: st.one_of(
            st.fixed_dictionaries({"all": st.lists(inner, max_size=3)}),
            st.fixed_dictionaries({"any": st.lists(inner, max_size=3)}),
            st.fixed_dictionaries({"not": inner}),
        ),
        max_leaves=5,
    )
    return st.lists(group, max_size=3)


def _condition(name: str, kind: ColumnType) -> Any:
    return st.sampled_from(kind.operators).flatmap(lambda op: _condition_with_operator(name, op, kind))


def _condition_with_operator(name: str, op: str, kind: ColumnType) -> Any:
    one = VALUES[kind.name]
    value = {
        "in": st.lists(one, max_size=3),
        "not_in": st.lists(one, max_size=3),
        "between": st.lists(one, min_size=2, max_size=2),
        "is_null": st.booleans(),
        "like": TEXT.map(lambda text: text.replace("\\", "")),
        "ilike": TEXT.map(lambda text: text.replace("\\", "")),
    }.get(op, one)
    return st.fixed_dictionaries({"column": st.just(name), "op": st.just(op), "value": value})


def _aggregate_query(table: TableDescription, conditions: Any) -> Any:
    sortable = [name for name, column in table.columns.items() if column.type.sortable]
    figures = [{"function": "count"}] + [
        {"function": function, "column": name}
        for name, column in table.columns.items()
        for function in column.type.aggregates
    ]
    unique = lambda item: (item["function"], item.get("column"))  # noqa: E731
    return st.fixed_dictionaries(
        {
            "table": st.just(table.name),
            "filters": _filters(conditions),
            "aggregates": st.lists(st.sampled_from(figures), min_size=1, max_size=3, unique_by=unique),
            "group_by": st.lists(st.sampled_from(sortable), max_size=2, unique=True),
            "limit": st.integers(1, 5),
        }
    )


def _without_unsortable(document: dict[str, Any], table: TableDescription) -> dict[str, Any]:
    keys = [key for key in document.get("order_by", []) if table.columns[key["column"]].type.sortable]
    return document | {"order_by": keys}
