"""Compile a validated query to a SQLAlchemy Core statement. Names come from the reflected tables, values are bound
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
from service.guard.pagination import OrderKey, aggregate_type, decode_cursor, order_by_keys, order_keys, seek_after
from service.guard.rules.rule import ResolvedQuery
from service.guard.rules.semantics import operand_type
from service.guard.schema import QUERY_SCHEMA, ColumnType, TableDescription

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
    """`statement` gives `columns`, then `keys`, and one row more than the limit when there is one."""

    statement: Select[Any]
    columns: tuple[tuple[str, ColumnType], ...]
    keys: tuple[OrderKey, ...]


def compile_query(query: ResolvedQuery) -> CompiledQuery:
    """For documents that the policy allows; others may raise KeyError."""
    document, keys = query.document, order_keys(query.document, query.table)
    source = _from_clause(query.table)
    where = _filter_expression(query.filters, source, query.table)
    rows = _grouped_subquery(query, source, where) if document.is_grouped else source
    told = _result_columns(query)
    chosen = [rows.c[name] for name, _ in told]
    places = [rows.c[key.name].label(f"key_{number}") for number, key in enumerate(keys)]
    statement = select(*chosen, *places).limit(document.limit + 1)
    if not document.is_grouped:
        statement = statement.where(where)
    statement = seek_after(statement, rows, keys, decode_cursor(document, keys))
    return CompiledQuery(order_by_keys(statement, rows, keys), told, keys)


def _from_clause(description: TableDescription) -> FromClause:
    columns = (column(item.name, item.type.sql_type) for item in description.columns.values())
    return table(description.name, *columns, schema=QUERY_SCHEMA)


def _result_columns(query: ResolvedQuery) -> tuple[tuple[str, ColumnType], ...]:
    document, columns = query.document, query.table.columns
    if not document.is_grouped:
        return tuple((name, columns[name].type) for name in document.columns or columns)
    groups = document.group_by if document.columns is None else document.columns
    figures = ((item.name, aggregate_type(item, query.table)) for item in document.aggregates)
    return (*((name, columns[name].type) for name in groups), *figures)


def _grouped_subquery(query: ResolvedQuery, source: FromClause, where: ColumnElement[bool]) -> FromClause:
    """The groups as a table of their own, so that order and cursor work on figures as on columns."""
    groups = [source.c[name] for name in query.document.group_by]
    figures = [_aggregate_expression(item, source).label(item.name) for item in query.document.aggregates]
    return select(*groups, *figures).select_from(source).where(where).group_by(*groups).subquery("figures")


def _aggregate_expression(aggregate: Aggregate, source: FromClause) -> ColumnElement[Any]:
    if aggregate.column is None:
        return func.count()
    figure: ColumnElement[Any] = getattr(func, aggregate.function)(source.c[aggregate.column])
    return figure


def _filter_expression(node: Node, source: FromClause, table: TableDescription) -> ColumnElement[bool]:
    if isinstance(node, Leaf):
        return _condition_expression(node, source.c[node.column], table.columns[node.column].type)
    parts = [_filter_expression(child, source, table) for child in node.children]
    match node.kind:
        case "all":
            return and_(true(), *parts)
        case "any":
            return or_(false(), *parts)
        case "not":
            return not_(func.coalesce(parts[0], false()))


def _condition_expression(leaf: Leaf, operand: ColumnElement[Any], column_type: ColumnType) -> ColumnElement[bool]:
    if leaf.op == "is_null":
        return operand.is_(None) if leaf.value else operand.is_not(None)
    takes = operand_type(leaf, column_type).to_sql
    if leaf.op in ("in", "not_in"):
        values = bindparam(None, [takes(value) for value in leaf.value], ARRAY(column_type.sql_type))
        listed: ColumnElement[bool] = operand == any_(values) if leaf.op == "in" else operand != all_(values)
        return listed
    if leaf.op == "between":
        low, high = (takes(value) for value in leaf.value)
        return operand.between(low, high)
    compared: ColumnElement[bool] = _comparison_expression(leaf, operand, takes(leaf.value), column_type)
    return compared


def _comparison_expression(leaf: Leaf, operand: Any, value: Any, column_type: ColumnType) -> Any:
    if leaf.op in BINARY_OPERATORS:
        return BINARY_OPERATORS[leaf.op](operand, value)
    match leaf.op:
        case "like":
            return operand.like(value)
        case "ilike":
            return operand.ilike(value)
        case "starts_with":
            return operand.startswith(value, autoescape=True)
        case _ if column_type.name == "text":
            return operand.contains(value, autoescape=True)
        case _:
            return operand.contains([value] if column_type.name == "text[]" else value)
