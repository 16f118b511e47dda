"""Rules on meaning: tables and columns exist, operators and values suit the type of their column, aggregates, groups
and order fit together, and the cursor belongs to the query.
"""

import difflib
from collections.abc import Iterable, Iterator, Sequence

from service.errors import FieldProblem
from service.guard.document import Document
from service.guard.filters import ResolvedQuery
from service.guard.rules.rule import Limit, mistake_rule, zero

# Checked before all rules, which need the table.
TABLE = Limit("table", "tables that do not exist", "use a table that GET /api/database/tables tells", zero)


def unknown_table_problem(document: Document, tables: Iterable[str]) -> FieldProblem:
    return _unknown_name_problem("#/table", "table", document.table, tables)


def _unknown_name_problem(pointer: str, noun: str, name: str, existing: Iterable[str]) -> FieldProblem:
    """Lists the existing names and the nearest one, but never repeats the name that was sent."""
    names = list(existing)
    near = difflib.get_close_matches(name.lower(), names, n=1)
    hint = f"did you mean {near[0]}? There are" if near else "there are"
    detail = f"there is no such {noun}; {hint}: {', '.join(names)}"
    return FieldProblem(detail, f"unknown_{noun}", pointer=pointer)


def _unknown_columns(query: ResolvedQuery) -> Iterator[FieldProblem]:
    columns, aggregates = query.table.columns, {aggregate.name for aggregate in query.document.aggregates}
    for pointer, name in _column_references(query):
        if name not in columns:
            yield _unknown_name_problem(pointer, "column", name, columns)
    for number, order in enumerate(query.document.order_by):
        if order.column not in columns and order.column not in aggregates:
            names = [*columns, *sorted(aggregates)]
            yield _unknown_name_problem(f"#/order_by/{number}", "column", order.column, names)


def _column_references(query: ResolvedQuery) -> Iterator[tuple[str, str]]:
    """(pointer, name) of every column that is named outside `order_by`."""
    for number, name in enumerate(query.document.columns or ()):
        yield f"#/columns/{number}", name
    for number, name in enumerate(query.document.group_by):
        yield f"#/group_by/{number}", name
    for number, aggregate in enumerate(query.document.aggregates):
        if aggregate.column is not None:
            yield f"#/aggregates/{number}/column", aggregate.column
    for leaf in query.conditions:
        yield leaf.pointer("column"), leaf.column


COLUMNS = mistake_rule(
    "columns", "columns that do not exist", "use the columns that GET /api/database/tables tells", _unknown_columns
)


def _unsupported_operators(query: ResolvedQuery) -> Iterator[FieldProblem]:
    for leaf in query.conditions:
        column = query.table.columns.get(leaf.column)
        if column and leaf.op not in column.type.operators:
            detail = f"a column of type {column.type.name} has {', '.join(column.type.operators)}"
            yield FieldProblem(detail, "operator", pointer=leaf.pointer("op"))


OPERATORS = mistake_rule(
    "operators",
    "operators that the type of their column does not have",
    "use the operators that GET /api/database/tables tells for the column",
    _unsupported_operators,
)


def _wrong_values(query: ResolvedQuery) -> Iterator[FieldProblem]:
    for operands in query.operands.values():
        for operand in operands:
            if operand.error:
                yield FieldProblem(operand.error, "value", pointer=operand.pointer)


VALUES = mistake_rule(
    "values",
    "values that do not suit the type of their column",
    "send the value in the JSON type of the column",
    _wrong_values,
)


def _shape_problems(query: ResolvedQuery) -> Iterator[FieldProblem]:
    yield from _aggregate_problems(query)
    if query.document.is_grouped:
        yield from _group_problems(query)
    yield from _order_problems(query)
    yield from _duplicate_problems(query.document)


def _aggregate_problems(query: ResolvedQuery) -> Iterator[FieldProblem]:
    for number, aggregate in enumerate(query.document.aggregates):
        if aggregate.column is None and aggregate.function != "count":
            yield _shape_problem("only count works without a column", f"#/aggregates/{number}/column")
        column = query.table.columns.get(aggregate.column or "")
        if column and aggregate.function not in column.type.aggregates:
            detail = f"a column of type {column.type.name} has {', '.join(column.type.aggregates)}"
            yield _shape_problem(detail, f"#/aggregates/{number}/function")


def _group_problems(query: ResolvedQuery) -> Iterator[FieldProblem]:
    document = query.document
    for number, name in enumerate(document.columns or ()):
        if name in query.table.columns and name not in document.group_by:
            detail = "with aggregates or groups, only columns of group_by are told"
            yield _shape_problem(detail, f"#/columns/{number}")
    for number, name in enumerate(document.group_by):
        yield from _unsortable_problems(query, name, f"#/group_by/{number}")


def _order_problems(query: ResolvedQuery) -> Iterator[FieldProblem]:
    document = query.document
    result_columns = {*document.group_by, *(aggregate.name for aggregate in document.aggregates)}
    for number, order in enumerate(document.order_by):
        if not document.is_grouped:
            yield from _unsortable_problems(query, order.column, f"#/order_by/{number}")
        elif order.column in query.table.columns and order.column not in result_columns:
            detail = "groups are ordered by columns of group_by or by aggregates"
            yield _shape_problem(detail, f"#/order_by/{number}")


def _unsortable_problems(query: ResolvedQuery, name: str, pointer: str) -> Iterator[FieldProblem]:
    column = query.table.columns.get(name)
    if column and not column.type.sortable:
        yield _shape_problem(f"columns of type {column.type.name} have no order", pointer)


def _duplicate_problems(document: Document) -> Iterator[FieldProblem]:
    lists: tuple[tuple[str, Sequence[str]], ...] = (
        ("columns", document.columns or ()),
        ("group_by", document.group_by),
        ("aggregates", [aggregate.name for aggregate in document.aggregates]),
        ("order_by", [order.column for order in document.order_by]),
    )
    for field, names in lists:
        for number, name in enumerate(names):
            if name in names[:number]:
                yield _shape_problem("named twice", f"#/{field}/{number}")


def _shape_problem(detail: str, pointer: str) -> FieldProblem:
    return FieldProblem(detail, "shape", pointer=pointer)


SHAPE = mistake_rule(
    "shape",
    "columns, aggregates, groups and order keys that do not fit together",
    "with aggregates, tell and order by the columns of group_by and the aggregates only",
    _shape_problems,
)

# Checked after all rules: the order, which the cursor must match, is only defined if they hold.
CURSOR = Limit("cursor", "cursors that are not of this query", "leave `cursor` out to start again", zero)
CURSOR_PROBLEM = FieldProblem(
    "not a cursor of this query: take it from the answer before, and change nothing but `limit`",
    "cursor",
    pointer="#/cursor",
)
