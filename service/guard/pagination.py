"""The order of the result, keyset pages in that order, and the cursor between pages."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, and_, false, or_, tuple_

from service.guard.document import Aggregate, Document
from service.guard.schema import INTEGER_TYPE, NUMBER_TYPE, ColumnType, TableDescription
from service.json_values import storable_text

# Cursors come back from the caller: a number beyond these bounds was not made by `encode_cursor`.
MAX_NUMBER_LENGTH, MAX_EXPONENT = 64, 300


@dataclass(frozen=True, slots=True)
class OrderKey:
    """A column of the order. Nulls are last if ascending and first if descending, as in PostgreSQL; a `required` key
    has none."""

    name: str
    type: ColumnType
    descending: bool
    required: bool


def aggregate_type(aggregate: Aggregate, table: TableDescription) -> ColumnType:
    """Counts are integers and averages numbers; sums and extremes have the type of their column."""
    if aggregate.function == "count" or aggregate.column is None:
        return INTEGER_TYPE
    return NUMBER_TYPE if aggregate.function == "avg" else table.columns[aggregate.column].type


def order_keys(document: Document, table: TableDescription) -> tuple[OrderKey, ...]:
    """`order_by`, then the table's key or `group_by` as tie-breakers, so that the order is total. Aggregates without
    groups are a single row and have no keys. Raises KeyError for unknown columns."""
    if document.is_grouped and not document.group_by:
        return ()
    descending = {order.column: order.direction == "desc" for order in document.order_by}
    default = next(iter(descending.values()), False)
    for name in document.group_by if document.is_grouped else table.key:
        descending.setdefault(name, default)
    return tuple(_to_order_key(name, descending[name], document, table) for name in descending)


def _to_order_key(name: str, descending: bool, document: Document, table: TableDescription) -> OrderKey:
    """With aggregates, names are looked up among them first: an aggregate may be called like a column."""
    aggregate = next((item for item in document.aggregates if item.name == name), None)
    if aggregate:
        return OrderKey(name, aggregate_type(aggregate, table), descending, required=aggregate.function == "count")
    return OrderKey(name, table.columns[name].type, descending, table.columns[name].required)


def order_by_keys(statement: Select[Any], rows: FromClause, keys: Sequence[OrderKey]) -> Select[Any]:
    """Sort by `keys`, with PostgreSQL's default places for nulls, so that indexes can be read in order."""
    return statement.order_by(*(rows.c[key.name].desc() if key.descending else rows.c[key.name].asc() for key in keys))


def seek_after(
    statement: Select[Any], rows: FromClause, keys: Sequence[OrderKey], position: Sequence[Any]
) -> Select[Any]:
    """Only rows after `position`, the values of `keys` in the last row of the page before; () is the first page."""
    if not position:
        return statement
    columns = [rows.c[key.name] for key in keys]
    if all(key.required for key in keys) and len({key.descending for key in keys}) == 1:
        current, last = tuple_(*columns), tuple_(*position, types=[key.type.sql_type for key in keys])
        return statement.where(current < last if keys[0].descending else current > last)
    return statement.where(or_(*_seek_conditions(columns, keys, position)))


def _seek_conditions(
    columns: Sequence[ColumnElement[Any]], keys: Sequence[OrderKey], position: Sequence[Any]
) -> list[ColumnElement[bool]]:
    """After by the first key; or equal in the first key and after by the second; and so on."""
    steps, equal = [], list[ColumnElement[bool]]()
    for column, key, value in zip(columns, keys, position, strict=True):
        steps.append(and_(*equal, _key_follows(column, key, value)))
        equal.append(column.is_(None) if value is None else column == value)
    return steps


def _key_follows(column: ColumnElement[Any], key: OrderKey, value: Any) -> ColumnElement[bool]:
    """Nulls count as the greatest value."""
    if value is None:
        return column.is_not(None) if key.descending else false()
    if key.descending:
        return and_(column < value)
    return and_(column > value) if key.required else or_(column > value, column.is_(None))


def encode_cursor(document: Document, keys: Sequence[OrderKey], values: Sequence[Any]) -> str:
    """The cursor of the page after a row with these `values` of `keys`, as PostgreSQL returned them."""
    place = [_query_digest(document)]
    place += [_to_cursor_value(key.type, value) for key, value in zip(keys, values, strict=True)]
    return base64.urlsafe_b64encode(json.dumps(place, separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(document: Document, keys: Sequence[OrderKey]) -> tuple[Any, ...]:
    """The values to bind, () without a cursor. Raises ValueError unless the cursor was made for this query."""
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
    """Ties a cursor to its query: everything but `cursor` and `limit`."""
    query = document.model_dump_json(by_alias=True, exclude={"cursor", "limit"})
    return hashlib.sha256(query.encode()).hexdigest()[:16]


def _to_cursor_value(column_type: ColumnType, value: Any) -> Any:
    """JSON that keeps the exact value: numbers as text."""
    if value is None:
        return None
    return str(value) if column_type.name == "number" else column_type.to_json(value)


def _from_cursor_value(key: OrderKey, value: Any) -> Any:
    """The reverse of `_to_cursor_value`. The value comes from the caller. Raises ValueError."""
    if value is None:
        if key.required:
            raise ValueError
        return None
    if key.type.name == "number":
        return _parse_decimal(value)
    return storable_text(value) if key.type.name == "text" and isinstance(value, str) else key.type.to_sql(value)


def _parse_decimal(value: Any) -> Decimal:
    if not isinstance(value, str) or len(value) > MAX_NUMBER_LENGTH:
        raise ValueError
    try:
        number = Decimal(value)
    except InvalidOperation as error:
        raise ValueError from error
    if not number.is_finite() or not abs(number.adjusted()) < MAX_EXPONENT:
        raise ValueError
    return number
