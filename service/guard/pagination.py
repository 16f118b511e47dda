"""The order of the result, keyset pages in that order, and the cursor between pages."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, and_, false, or_, tuple_

from service.errors import FieldProblem
from service.guard.document import Aggregate, Document, storable_text
from service.guard.rules.rule import Measurement, ResolvedQuery, Rule, zero
from service.guard.schema import INTEGER_TYPE, NUMBER_TYPE, ColumnType, TableDescription


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


MAX_DIGITS = 64


def encode_cursor(document: Document, keys: Sequence[OrderKey], values: Sequence[Any]) -> str:
    """Opaque to callers. `values` as PostgreSQL gave them."""
    place = [
        _query_digest(document),
        *(_to_cursor_value(key.type, value) for key, value in zip(keys, values, strict=True)),
    ]
    return base64.urlsafe_b64encode(json.dumps(place, separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(document: Document, keys: Sequence[OrderKey]) -> tuple[Any, ...]:
    """The values to bind, () without a cursor. Raises ValueError for anything that was not made for this query."""
    if document.cursor is None:
        return ()
    padded = document.cursor + "=" * (-len(document.cursor) % 4)
    try:
        place = json.loads(base64.b64decode(padded.encode("ascii"), b"-_", validate=True))
    except RecursionError as error:
        raise ValueError from error
    if not keys or not isinstance(place, list) or len(place) != len(keys) + 1 or place[0] != _query_digest(document):
        raise ValueError
    return tuple(_from_cursor_value(key, value) for key, value in zip(keys, place[1:], strict=True))


def _query_digest(document: Document) -> str:
    asked = document.model_dump_json(by_alias=True, exclude={"cursor", "limit"})
    return hashlib.sha256(asked.encode()).hexdigest()[:16]


def _to_cursor_value(column_type: ColumnType, value: Any) -> Any:
    if value is None:
        return None
    return str(value) if column_type.name == "number" else column_type.to_json(value)


def _from_cursor_value(key: OrderKey, value: Any) -> Any:
    if value is None:
        if key.required:
            raise ValueError
        return None
    if key.type.name == "number":
        return _parse_decimal(value)
    return storable_text(value) if key.type.name == "text" and isinstance(value, str) else key.type.to_sql(value)


def _parse_decimal(value: Any) -> Decimal:
    try:
        number = Decimal(value) if isinstance(value, str) and len(value) <= MAX_DIGITS else None
    except InvalidOperation as error:
        raise ValueError from error
    if number is None or not number.is_finite() or not abs(number.adjusted()) < 300:
        raise ValueError
    return number


def _check_cursor(query: ResolvedQuery) -> Measurement:
    """Only for documents that are good in all else: its keys must be there."""
    try:
        decode_cursor(query.document, order_keys(query.document, query.table))
    except ValueError:
        text = "not a cursor of this query: take it from the answer before, and change nothing but `limit`"
        return Measurement(1, (FieldProblem(text, "cursor", pointer="#/cursor"),))
    return Measurement(0)


CURSOR = Rule("cursor", "cursors that are not of this query", "leave `cursor` out to start again", zero, _check_cursor)
