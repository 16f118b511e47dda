"""An allowed document as a SQLAlchemy Core statement: names from the catalogue, values as bound parameters only."""

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

from service.guard.cursor import decoded
from service.guard.document import Aggregate, Op
from service.guard.filters import Leaf, Node
from service.guard.keyset import after, ordered
from service.guard.kinds import Kind
from service.guard.order import OrderKey, aggregate_kind, order_keys
from service.guard.rules.rule import Case
from service.guard.rules.types import bound_kind
from service.guard.tables import SCHEMA, TableDescription

COMPARISONS: Mapping[Op, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Compiled:
    """`statement` gives `columns`, then `keys`, and one row more than the limit when there is one."""

    statement: Select[Any]
    columns: tuple[tuple[str, Kind], ...]
    keys: tuple[OrderKey, ...]


def compiled(case: Case) -> Compiled:
    """For documents that the policy allows; others may raise KeyError."""
    document, keys = case.document, order_keys(case.document, case.table)
    source = _source(case.table)
    where = _node(case.root, source, case.table)
    rows = _figures(case, source, where) if document.grouped else source
    told = _told(case)
    chosen = [rows.c[name] for name, _ in told]
    places = [rows.c[key.name].label(f"key_{number}") for number, key in enumerate(keys)]
    statement = select(*chosen, *places).limit(document.limit + 1)
    if not document.grouped:
        statement = statement.where(where)
    statement = after(statement, rows, keys, decoded(document, keys))
    return Compiled(ordered(statement, rows, keys), told, keys)


def _source(description: TableDescription) -> FromClause:
    columns = (column(item.name, item.kind.type) for item in description.columns.values())
    return table(description.name, *columns, schema=SCHEMA)


def _told(case: Case) -> tuple[tuple[str, Kind], ...]:
    document, columns = case.document, case.table.columns
    if not document.grouped:
        return tuple((name, columns[name].kind) for name in document.columns or columns)
    groups = document.group_by if document.columns is None else document.columns
    figures = ((item.name, aggregate_kind(item, case.table)) for item in document.aggregates)
    return (*((name, columns[name].kind) for name in groups), *figures)


def _figures(case: Case, source: FromClause, where: ColumnElement[bool]) -> FromClause:
    """The groups as a table of their own, so that order and cursor work on figures as on columns."""
    groups = [source.c[name] for name in case.document.group_by]
    figures = [_figure(item, source).label(item.name) for item in case.document.aggregates]
    return select(*groups, *figures).select_from(source).where(where).group_by(*groups).subquery("figures")


def _figure(aggregate: Aggregate, source: FromClause) -> ColumnElement[Any]:
    if aggregate.column is None:
        return func.count()
    figure: ColumnElement[Any] = getattr(func, aggregate.function)(source.c[aggregate.column])
    return figure


def _node(node: Node, source: FromClause, described: TableDescription) -> ColumnElement[bool]:
    if isinstance(node, Leaf):
        return _condition(node, source.c[node.column], described.columns[node.column].kind)
    parts = [_node(child, source, described) for child in node.children]
    match node.kind:
        case "all":
            return and_(true(), *parts)
        case "any":
            return or_(false(), *parts)
        case "not":
            return not_(func.coalesce(parts[0], false()))


def _condition(leaf: Leaf, subject: ColumnElement[Any], kind: Kind) -> ColumnElement[bool]:
    if leaf.op == "is_null":
        return subject.is_(None) if leaf.value else subject.is_not(None)
    takes = bound_kind(leaf, kind).takes
    if leaf.op in ("in", "not_in"):
        values = bindparam(None, [takes(value) for value in leaf.value], ARRAY(kind.type))
        listed: ColumnElement[bool] = subject == any_(values) if leaf.op == "in" else subject != all_(values)
        return listed
    if leaf.op == "between":
        low, high = (takes(value) for value in leaf.value)
        return subject.between(low, high)
    compared: ColumnElement[bool] = _comparison(leaf, subject, takes(leaf.value), kind)
    return compared


def _comparison(leaf: Leaf, subject: Any, value: Any, kind: Kind) -> Any:
    if leaf.op in COMPARISONS:
        return COMPARISONS[leaf.op](subject, value)
    match leaf.op:
        case "like":
            return subject.like(value)
        case "ilike":
            return subject.ilike(value)
        case "starts_with":
            return subject.startswith(value, autoescape=True)
        case _ if kind.name == "text":
            return subject.contains(value, autoescape=True)
        case _:
            return subject.contains([value] if kind.name == "text[]" else value)
