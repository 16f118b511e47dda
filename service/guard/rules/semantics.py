"""Rules on meaning: tables and columns exist, operators and values suit the column type, and aggregates, groups and
order fit together.
"""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from service.errors import FieldProblem
from service.guard.document import Document
from service.guard.filters import Leaf
from service.guard.rules.rule import Limit, Measurement, ResolvedQuery, Rule, count_problems, operand_values, zero
from service.guard.schema import BOOLEAN_TYPE, TEXT_TYPE, ColumnType

# Measured before all else: the other rules need the table.
TABLE = Limit("table", "tables that do not exist", "use a table that GET /api/database/tables tells", zero)


def unknown_table_problem(document: Document, tables: Iterable[str]) -> FieldProblem:
    """What is told instead of the rules' findings when there is no such table."""
    return _unknown_name_problem("#/table", "table", document.table, tables)


def column_references(document: Document) -> Iterator[tuple[str, str]]:
    """(pointer, column) of every column that is named outside the filters and the order."""
    for number, name in enumerate(document.columns or ()):
        yield f"#/columns/{number}", name
    for number, name in enumerate(document.group_by):
        yield f"#/group_by/{number}", name
    for number, aggregate in enumerate(document.aggregates):
        if aggregate.column is not None:
            yield f"#/aggregates/{number}/column", aggregate.column


def _check_columns(query: ResolvedQuery) -> Measurement:
    return count_problems(_unknown_column_problems(query))


def _unknown_column_problems(query: ResolvedQuery) -> Iterator[FieldProblem]:
    there = query.table.columns
    named = [*column_references(query.document), *((leaf.pointer("column"), leaf.column) for leaf in query.conditions)]
    yield from (_unknown_name_problem(at, "column", name, there) for at, name in named if name not in there)
    aggregates = {aggregate.name for aggregate in query.document.aggregates}
    for number, order in enumerate(query.document.order_by):
        if order.column not in there and order.column not in aggregates:
            yield _unknown_name_problem(f"#/order_by/{number}", "column", order.column, [*there, *sorted(aggregates)])


def _unknown_name_problem(pointer: str, noun: str, name: str, names: Iterable[str]) -> FieldProblem:
    """Tells the names that exist, the nearest one first, and never the one that was sent."""
    there = list(names)
    near = difflib.get_close_matches(name.lower(), there, n=1)
    hint = f"did you mean {near[0]}? There are" if near else "there are"
    detail = f"there is no such {noun}; {hint}: {', '.join(there)}"
    return FieldProblem(detail, f"unknown_{noun}", pointer=pointer)


COLUMNS = Rule(
    "columns", "columns that do not exist", "use the columns that GET /api/database/tables tells", zero, _check_columns
)


LIST_OPERATORS = ("in", "not_in", "between")


def operand_type(leaf: Leaf, column: ColumnType) -> ColumnType:
    """The kind of the value that a condition takes."""
    if leaf.op == "is_null":
        return BOOLEAN_TYPE
    return TEXT_TYPE if leaf.op in ("like", "ilike", "starts_with") else column


def _check_operators(query: ResolvedQuery) -> Measurement:
    return count_problems(_operator_problems(query))


def _operator_problems(query: ResolvedQuery) -> Iterator[FieldProblem]:
    for leaf, kind in _typed_conditions(query):
        if leaf.op not in kind.operators:
            choices = ", ".join(kind.operators)
            yield FieldProblem(f"a column of type {kind.name} has {choices}", "operator", pointer=leaf.pointer("op"))


def _check_values(query: ResolvedQuery) -> Measurement:
    return count_problems(_value_problems(query))


def _value_problems(query: ResolvedQuery) -> Iterator[FieldProblem]:
    for leaf, kind in _typed_conditions(query):
        if leaf.op not in kind.operators:
            continue
        if leaf.op in LIST_OPERATORS and not _is_list(leaf.op, leaf.value):
            what = "a list of two values" if leaf.op == "between" else "a list"
            yield FieldProblem(f"must be {what}", "value", pointer=leaf.pointer("value"))
            continue
        for at, value in operand_values(leaf):
            if reason := _value_error(operand_type(leaf, kind), value):
                yield FieldProblem(reason, "value", pointer=at)


def _is_list(op: str, value: Any) -> bool:
    return isinstance(value, list) and (op != "between" or len(value) == 2)


def _value_error(column_type: ColumnType, value: Any) -> str | None:
    if value is None:
        return "null cannot be compared: use is_null"
    try:
        column_type.to_sql(value)
    except ValueError as error:
        return str(error)
    return None


def _typed_conditions(query: ResolvedQuery) -> Iterator[tuple[Leaf, ColumnType]]:
    for leaf in query.conditions:
        if column := query.table.columns.get(leaf.column):
            yield leaf, column.type


OPERATORS = Rule(
    "operators",
    "operators that the type of their column does not have",
    "use the operators that GET /api/database/tables tells for the column",
    zero,
    _check_operators,
)
VALUES = Rule(
    "values",
    "values that do not suit the type of their column",
    "send the value in the JSON type of the column",
    zero,
    _check_values,
)


SHAPE_ERROR_CODE = "shape"


def _check_shape(query: ResolvedQuery) -> Measurement:
    return count_problems(
        [*_aggregate_problems(query), *_group_problems(query), *_order_problems(query), *_duplicate_problems(query)]
    )


def _aggregate_problems(query: ResolvedQuery) -> Iterator[FieldProblem]:
    for number, aggregate in enumerate(query.document.aggregates):
        at = f"#/aggregates/{number}"
        if aggregate.column is None and aggregate.function != "count":
            yield FieldProblem("only count works without a column", SHAPE_ERROR_CODE, pointer=f"{at}/column")
        column = query.table.columns.get(aggregate.column or "")
        if column is not None and aggregate.function not in column.type.aggregates:
            choices = ", ".join(column.type.aggregates)
            yield FieldProblem(
                f"a column of type {column.type.name} has {choices}", SHAPE_ERROR_CODE, pointer=f"{at}/function"
            )


def _group_problems(query: ResolvedQuery) -> Iterator[FieldProblem]:
    document = query.document
    if not document.is_grouped:
        return
    for number, name in enumerate(document.columns or ()):
        if name in query.table.columns and name not in document.group_by:
            text = "with aggregates or groups, only columns of group_by are told"
            yield FieldProblem(text, SHAPE_ERROR_CODE, pointer=f"#/columns/{number}")
    for number, name in enumerate(document.group_by):
        yield from _unsortable_problems(query, name, f"#/group_by/{number}")


def _order_problems(query: ResolvedQuery) -> Iterator[FieldProblem]:
    document = query.document
    told = {*document.group_by, *(aggregate.name for aggregate in document.aggregates)}
    for number, order in enumerate(document.order_by):
        at = f"#/order_by/{number}"
        if document.is_grouped and order.column in query.table.columns and order.column not in told:
            yield FieldProblem(
                "groups are ordered by columns of group_by or by aggregates", SHAPE_ERROR_CODE, pointer=at
            )
        elif not document.is_grouped:
            yield from _unsortable_problems(query, order.column, at)


def _unsortable_problems(query: ResolvedQuery, name: str, pointer: str) -> Iterator[FieldProblem]:
    column = query.table.columns.get(name)
    if column is not None and not column.type.sortable:
        yield FieldProblem(f"columns of type {column.type.name} have no order", SHAPE_ERROR_CODE, pointer=pointer)


def _duplicate_problems(query: ResolvedQuery) -> Iterator[FieldProblem]:
    document = query.document
    lists: tuple[tuple[str, Sequence[str]], ...] = (
        ("columns", document.columns or ()),
        ("group_by", document.group_by),
        ("aggregates", [aggregate.name for aggregate in document.aggregates]),
        ("order_by", [order.column for order in document.order_by]),
    )
    for field, names in lists:
        seen: set[str] = set()
        for number, name in enumerate(names):
            if name in seen:
                yield FieldProblem("named twice", SHAPE_ERROR_CODE, pointer=f"#/{field}/{number}")
            seen.add(name)


SHAPE = Rule(
    "shape",
    "columns, aggregates, groups and order keys that do not fit together",
    "with aggregates, tell and order by the columns of group_by and the aggregates only",
    zero,
    _check_shape,
)
