"""Columns, aggregates, groups and order must fit together."""

from collections.abc import Iterator, Sequence

from service.errors import FieldProblem
from service.guard.rules.rule import Measurement, ResolvedQuery, Rule, count_problems, zero

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
