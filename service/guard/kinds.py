"""The kinds of columns: which operators and aggregates each has, and how its values go in and out."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, DateTime, Double, Integer, Numeric, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import TypeEngine

from service.guard.document import Function, Op

KindName = Literal["uuid", "text", "integer", "number", "boolean", "timestamp", "json", "text[]"]
SAME: tuple[Op, ...] = ("eq", "ne", "in", "not_in", "is_null")
ORDERED: tuple[Op, ...] = ("eq", "ne", "lt", "le", "gt", "ge", "in", "not_in", "between", "is_null")
PATTERN: tuple[Op, ...] = ("like", "ilike", "starts_with", "contains")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
JSON_DEPTH = 64
_BIGINT = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Kind:
    """`takes` turns a JSON value into one to bind (raises ValueError with a public text); `gives` does the reverse."""

    name: KindName
    says: str
    operators: tuple[Op, ...]
    aggregates: tuple[Function, ...]
    sortable: bool
    type: TypeEngine[Any]
    takes: Callable[[Any], Any]
    gives: Callable[[Any], Any]


def _uuid(value: Any) -> UUID:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise ValueError("must be a UUID as 8-4-4-4-12 hexadecimal digits")
    return UUID(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value not in _BIGINT:
        raise ValueError("must be an integer of 64 bits")
    return value


def _number(value: Any) -> Decimal:
    try:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(float(value)) < float("inf"):
            raise ValueError
    except (ValueError, OverflowError) as error:
        raise ValueError("must be a finite number") from error
    return Decimal(repr(value))


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _timestamp(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is None or moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError("must be an ISO 8601 time with its offset, as 2026-03-01T10:00:00Z") from error


def _json(value: Any) -> Any:
    if not isinstance(value, dict | list):
        raise ValueError("must be an object or a list")
    return value


def _moment_out(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _number_out(value: Any) -> float | int:
    return int(value) if value == int(value) and isinstance(value, Decimal) else float(value)


def _json_out(value: Any) -> Any:
    """As it is, unless it nests deeper than our JSON writer goes: then a text that says so."""
    waiting = [(1, value)]
    while waiting:
        depth, item = waiting.pop()
        if depth > JSON_DEPTH:
            return f"(nested deeper than {JSON_DEPTH} levels)"
        if isinstance(item, dict | list):
            waiting += [(depth + 1, inner) for inner in (item.values() if isinstance(item, dict) else item)]
    return value


def _same(value: Any) -> Any:
    return value


UUID_ = Kind("uuid", "a string", SAME, ("count",), True, Uuid(), _uuid, str)
TEXT = Kind("text", "a string", (*ORDERED, *PATTERN), ("count", "min", "max"), True, Text(), _text, str)
INTEGER = Kind(
    "integer", "an integer", ORDERED, ("count", "min", "max", "avg", "sum"), True, BigInteger(), _integer, int
)
NUMBER = Kind(
    "number", "a number", ORDERED, ("count", "min", "max", "avg", "sum"), True, Numeric(), _number, _number_out
)
BOOLEAN = Kind("boolean", "true or false", ("eq", "ne", "is_null"), ("count",), True, Boolean(), _boolean, bool)
TIMESTAMP = Kind(
    "timestamp",
    "a string: ISO 8601 with an offset; answers are in UTC",
    ORDERED,
    ("count", "min", "max"),
    True,
    DateTime(timezone=True),
    _timestamp,
    _moment_out,
)
JSON = Kind("json", "any JSON", ("contains", "is_null"), ("count",), False, JSONB(), _json, _json_out)
TEXTS = Kind("text[]", "a list of strings", ("contains", "is_null"), ("count",), False, ARRAY(Text()), _text, _same)
KINDS = (UUID_, TEXT, INTEGER, NUMBER, BOOLEAN, TIMESTAMP, JSON, TEXTS)


def kind_of(reflected: TypeEngine[Any]) -> Kind | None:
    """The kind of a reflected column; None for what cannot be asked (bytes, and whatever we do not know)."""
    if isinstance(reflected, ARRAY):
        return TEXTS if isinstance(reflected.item_type, Text) else None
    if isinstance(reflected, DateTime):
        return TIMESTAMP if reflected.timezone else None
    known: tuple[tuple[type[Any], Kind], ...] = (
        (Uuid, UUID_),
        (Boolean, BOOLEAN),
        (Integer, INTEGER),
        (Double, NUMBER),
        (JSONB, JSON),
        (Text, TEXT),
    )
    return next((kind for type_, kind in known if isinstance(reflected, type_)), None)
