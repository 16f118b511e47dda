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
from service.guard.document import Document, storable
from service.guard.kinds import Kind
from service.guard.order import OrderKey, order_keys
from service.guard.rules.rule import Case, Measure, Rule, none

DIGITS = 64


def encoded(document: Document, keys: Sequence[OrderKey], values: Sequence[Any]) -> str:
    """Opaque to callers. `values` as PostgreSQL gave them."""
    place = [_digest(document), *(_out(key.kind, value) for key, value in zip(keys, values, strict=True))]
    return base64.urlsafe_b64encode(json.dumps(place, separators=(",", ":")).encode()).decode().rstrip("=")


def decoded(document: Document, keys: Sequence[OrderKey]) -> tuple[Any, ...]:
    """The values to bind, () without a cursor. Raises ValueError for anything that was not made for this query."""
    if document.cursor is None:
        return ()
    padded = document.cursor + "=" * (-len(document.cursor) % 4)
    try:
        place = json.loads(base64.b64decode(padded.encode("ascii"), b"-_", validate=True))
    except RecursionError as error:
        raise ValueError from error
    if not keys or not isinstance(place, list) or len(place) != len(keys) + 1 or place[0] != _digest(document):
        raise ValueError
    return tuple(_in(key, value) for key, value in zip(keys, place[1:], strict=True))


def _digest(document: Document) -> str:
    asked = document.model_dump_json(by_alias=True, exclude={"cursor", "limit"})
    return hashlib.sha256(asked.encode()).hexdigest()[:16]


def _out(kind: Kind, value: Any) -> Any:
    if value is None:
        return None
    return str(value) if kind.name == "number" else kind.gives(value)


def _in(key: OrderKey, value: Any) -> Any:
    if value is None:
        if key.required:
            raise ValueError
        return None
    if key.kind.name == "number":
        return _exact(value)
    return storable(value) if key.kind.name == "text" and isinstance(value, str) else key.kind.takes(value)


def _exact(value: Any) -> Decimal:
    try:
        number = Decimal(value) if isinstance(value, str) and len(value) <= DIGITS else None
    except InvalidOperation as error:
        raise ValueError from error
    if number is None or not number.is_finite() or not abs(number.adjusted()) < 300:
        raise ValueError
    return number


def _cursor(case: Case) -> Measure:
    """Only for documents that are good in all else: its keys must be there."""
    try:
        decoded(case.document, order_keys(case.document, case.table))
    except ValueError:
        text = "not a cursor of this query: take it from the answer before, and change nothing but `limit`"
        return Measure(1, (FieldProblem(text, "cursor", pointer="#/cursor"),))
    return Measure(0)


CURSOR = Rule("cursor", "cursors that are not of this query", "leave `cursor` out to start again", none, _cursor)
