"""Columns, aggregates, groups and order must fit together."""

from collections.abc import Iterator, Sequence

from service.errors import FieldProblem
from service.guard.rules.rule import Case, Measure, Rule, counted, none

CODE = "shape"


def _shape(case: Case) -> Measure:
    return counted([*_aggregates(case), *_grouping(case), *_sorting(case), *_repeated(case)])


def _aggregates(case: Case) -> Iterator[FieldProblem]:
    for number, aggregate in enumerate(case.document.aggregates):
        at = f"#/aggregates/{number}"
        if aggregate.column is None and aggregate.function != "count":
            yield FieldProblem("only count works without a column", CODE, pointer=f"{at}/column")
        column = case.table.columns.get(aggregate.column or "")
        if column is not None and aggregate.function not in column.kind.aggregates:
            choices = ", ".join(column.kind.aggregates)
            yield FieldProblem(f"a column of type {column.kind.name} has {choices}", CODE, pointer=f"{at}/function")


def _grouping(case: Case) -> Iterator[FieldProblem]:
    document = case.document
    if not document.grouped:
        return
    for number, name in enumerate(document.columns or ()):
        if name in case.table.columns and name not in document.group_by:
            text = "with aggregates or groups, only columns of group_by are told"
            yield FieldProblem(text, CODE, pointer=f"#/columns/{number}")
    for number, name in enumerate(document.group_by):
        yield from _unsortable(case, name, f"#/group_by/{number}")


def _sorting(case: Case) -> Iterator[FieldProblem]:
    document = case.document
    told = {*document.group_by, *(aggregate.name for aggregate in document.aggregates)}
    for number, order in enumerate(document.order_by):
        at = f"#/order_by/{number}"
        if document.grouped and order.column in case.table.columns and order.column not in told:
            yield FieldProblem("groups are ordered by columns of group_by or by aggregates", CODE, pointer=at)
        elif not document.grouped:
            yield from _unsortable(case, order.column, at)


def _unsortable(case: Case, name: str, at: str) -> Iterator[FieldProblem]:
    column = case.table.columns.get(name)
    if column is not None and not column.kind.sortable:
        yield FieldProblem(f"columns of type {column.kind.name} have no order", CODE, pointer=at)


def _repeated(case: Case) -> Iterator[FieldProblem]:
    document = case.document
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
                yield FieldProblem("named twice", CODE, pointer=f"#/{field}/{number}")
            seen.add(name)


SHAPE = Rule(
    "shape",
    "columns, aggregates, groups and order keys that do not fit together",
    "with aggregates, tell and order by the columns of group_by and the aggregates only",
    none,
    _shape,
)
