"""Keyset pages: rows behind a place in an order, found by an index where there is one."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, and_, false, or_, tuple_

from service.guard.order import OrderKey


def order_by_keys(statement: Select[Any], rows: FromClause, keys: Sequence[OrderKey]) -> Select[Any]:
    """With PostgreSQL's own places for nulls, so that indexes can be read in order."""
    return statement.order_by(*(rows.c[key.name].desc() if key.descending else rows.c[key.name].asc() for key in keys))


def seek_after(
    statement: Select[Any], rows: FromClause, keys: Sequence[OrderKey], position: Sequence[Any]
) -> Select[Any]:
    """Only rows behind `place`, the values of `keys` in the last row; () is the beginning."""
    if not position:
        return statement
    columns = [rows.c[key.name] for key in keys]
    if all(key.required for key in keys) and len({key.descending for key in keys}) == 1:
        here, there = tuple_(*columns), tuple_(*position, types=[key.type.sql_type for key in keys])
        return statement.where(here < there if keys[0].descending else here > there)
    return statement.where(or_(*_seek_conditions(columns, keys, position)))


def _seek_conditions(
    columns: Sequence[ColumnElement[Any]], keys: Sequence[OrderKey], position: Sequence[Any]
) -> list[ColumnElement[bool]]:
    """Behind by the first key; or level with it and behind by the second; and so on."""
    steps, level = [], list[ColumnElement[bool]]()
    for column, key, value in zip(columns, keys, position, strict=True):
        steps.append(and_(*level, _key_follows(column, key, value)))
        level.append(column.is_(None) if value is None else column == value)
    return steps


def _key_follows(column: ColumnElement[Any], key: OrderKey, value: Any) -> ColumnElement[bool]:
    """Nulls are the greatest: last when ascending, first when descending."""
    if value is None:
        return column.is_not(None) if key.descending else false()
    if key.descending:
        return and_(column < value)
    return and_(column > value) if key.required else or_(column > value, column.is_(None))
