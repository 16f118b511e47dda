"""The order of an answer: what was asked for, then whatever makes every row's place its own."""

from collections.abc import Mapping
from dataclasses import dataclass

from service.guard.document import Aggregate, Document
from service.guard.kinds import INTEGER_TYPE, NUMBER_TYPE, ColumnType
from service.guard.tables import TableDescription


@dataclass(frozen=True, slots=True)
class OrderKey:
    """Nulls come last when ascending, first when descending, as in PostgreSQL. `required`: there are none."""

    name: str
    type: ColumnType
    descending: bool
    required: bool


def aggregate_type(aggregate: Aggregate, table: TableDescription) -> ColumnType:
    """count and sums of integers are integers, averages are numbers, extremes are what the column is."""
    if aggregate.function == "count" or aggregate.column is None:
        return INTEGER_TYPE
    return NUMBER_TYPE if aggregate.function == "avg" else table.columns[aggregate.column].type


def order_keys(document: Document, table: TableDescription) -> tuple[OrderKey, ...]:
    """All keys; none for figures without groups, which are a single row."""
    there = _sortable_columns(document, table)
    asked = {order.column: order.direction == "desc" for order in document.order_by}
    ties = document.group_by if document.is_grouped else table.key
    direction = next(iter(asked.values()), False)
    directions = asked | {name: direction for name in ties if name not in asked}
    if document.is_grouped and not document.group_by:
        return ()
    return tuple(OrderKey(name, there[name][0], down, there[name][1]) for name, down in directions.items())


def _sortable_columns(document: Document, table: TableDescription) -> Mapping[str, tuple[ColumnType, bool]]:
    """Name -> its kind, and whether it is never null."""
    columns = {name: (column.type, column.required) for name, column in table.columns.items()}
    if not document.is_grouped:
        return columns
    groups = {name: columns[name] for name in document.group_by}
    figures = {item.name: (aggregate_type(item, table), item.function == "count") for item in document.aggregates}
    return groups | figures
