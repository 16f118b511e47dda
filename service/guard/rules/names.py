"""Only tables and columns that are there may be named."""

import difflib
from collections.abc import Iterable, Iterator

from service.errors import FieldProblem
from service.guard.document import Document
from service.guard.rules.rule import Limit, Measurement, ResolvedQuery, Rule, count_problems, zero

TABLE = Limit("table", "tables that do not exist", "use a table that GET /api/database/tables tells", zero)
"""Measured before all else: the other rules need the table."""


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
