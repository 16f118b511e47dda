"""Where an answer ended: the values of its last row's order keys, tied to the query that they came from.

It is not signed: whoever makes one up gets what a filter on the order keys gives, and row-level security holds.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from service.errors import FieldProblem
from service.guard.document import Document, storable_text
from service.guard.kinds import ColumnType
from service.guard.order import OrderKey, order_keys
from service.guard.rules.rule import Measurement, ResolvedQuery, Rule, zero

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
