"""Compile a validated query to a SQLAlchemy Core statement. Names come from the reflected tables; values are bound
parameters.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    all_,
    and_,
    any_,
    bindparam,
    column,
    false,
    func,
    not_,
    or_,
    select,
    table,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY

from service.guard.document import Aggregate, Operator
from service.guard.filters import Leaf, Node
from service.guard.pagination import aggregate_type, order_by_keys, seek_after
from service.guard.policy import ValidatedQuery
from service.guard.schema import QUERY_SCHEMA, ColumnType

BINARY_OPERATORS: Mapping[Operator, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}


@dataclass(frozen=True, slots=True)
class CompiledQuery:
    """`statement` selects `columns`, then `key_0`, `key_1`, … for the cursor, and one row more than the limit."""

    statement: Select[Any]
    columns: tuple[tuple[str, ColumnType], ...]


def compile_query(query: ValidatedQuery) -> CompiledQuery:
    """Groups become a subquery, so that order and cursor treat aggregates like columns."""
    columns = (column(item.name, item.type.sql_type) for item in query.table.columns.values())
    source = table(query.table.name, *columns, schema=QUERY_SCHEMA)
    where = _filter_expression(query.filters, source, query)
    rows = _grouped_subquery(query, source, where) if query.document.is_grouped else source
    result_columns = _result_columns(query)
    selected = [rows.c[name] for name, _ in result_columns]
    keys = [rows.c[key.name].label(f"key_{number}") for number, key in enumerate(query.order_keys)]
    statement = select(*selected, *keys).limit(query.document.limit + 1)
    if not query.document.is_grouped:
        statement = statement.where(where)
    statement = seek_after(statement, rows, query.order_keys, query.cursor_position)
    return CompiledQuery(order_by_keys(statement, rows, query.order_keys), result_columns)


def _result_columns(query: ValidatedQuery) -> tuple[tuple[str, ColumnType], ...]:
    document, columns = query.document, query.table.columns
    if not document.is_grouped:
        return tuple((name, columns[name].type) for name in document.columns or columns)
    groups = document.group_by if document.columns is None else document.columns
    aggregates = ((item.name, aggregate_type(item, query.table)) for item in document.aggregates)
    return (*((name, columns[name].type) for name in groups), *aggregates)


def _grouped_subquery(query: ValidatedQuery, source: FromClause, where: ColumnElement[bool]) -> FromClause:
    groups = [source.c[name] for name in query.document.group_by]
    aggregates = [_aggregate_expression(item, source).label(item.name) for item in query.document.aggregates]
    return select(*groups, *aggregates).select_from(source).where(where).group_by(*groups).subquery("figures")


def _aggregate_expression(aggregate: Aggregate, source: FromClause) -> ColumnElement[Any]:
    if aggregate.column is None:
        return func.count()
    expression: ColumnElement[Any] = getattr(func, aggregate.function)(source.c[aggregate.column])
    return expression


def _filter_expression(node: Node, source: FromClause, query: ValidatedQuery) -> ColumnElement[bool]:
    if isinstance(node, Leaf):
        return _condition_expression(node, source.c[node.column], query)
    parts = [_filter_expression(child, source, query) for child in node.children]
    match node.kind:
        case "all":
            return and_(true(), *parts)
        case "any":
            return or_(false(), *parts)
        case "not":
            return not_(func.coalesce(parts[0], false()))


def _condition_expression(leaf: Leaf, operand: ColumnElement[Any], query: ValidatedQuery) -> ColumnElement[bool]:
    column_type, values = query.table.columns[leaf.column].type, query.operands[leaf.location]
    match leaf.op:
        case "is_null":
            return operand.is_(None) if values[0] else operand.is_not(None)
        case "in" | "not_in":
            listed = bindparam(None, list(values), ARRAY(column_type.sql_type))
            condition: ColumnElement[bool] = operand == any_(listed) if leaf.op == "in" else operand != all_(listed)
            return condition
        case "between":
            return operand.between(*values)
        case _:
            comparison: ColumnElement[bool] = _comparison_expression(leaf.op, operand, values[0], column_type)
            return comparison


def _comparison_expression(op: Operator, operand: Any, value: Any, column_type: ColumnType) -> Any:
    if op in BINARY_OPERATORS:
        return BINARY_OPERATORS[op](operand, value)
    match op:
        case "like":
            return operand.like(value)
        case "ilike":
            return operand.ilike(value)
        case "starts_with":
            return operand.startswith(value, autoescape=True)
        case _ if column_type.name == "text":
            return operand.contains(value, autoescape=True)
        case _:  # contains: an array that has the element, or JSON that holds the value
            return operand.contains([value] if column_type.name == "text[]" else value)
