"""Column types, with their operators, aggregates and conversions, and the queryable tables as reflected from the
database.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    DateTime,
    Double,
    Inspector,
    Integer,
    Numeric,
    Text,
    Uuid,
    inspect,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from service.guard.document import AggregateFunction, Operator
from service.guard.settings import LOCK_WAIT_MS

ColumnTypeName = Literal["uuid", "text", "integer", "number", "boolean", "timestamp", "json", "text[]"]
EQUALITY_OPERATORS: tuple[Operator, ...] = ("eq", "ne", "in", "not_in", "is_null")
COMPARISON_OPERATORS: tuple[Operator, ...] = ("eq", "ne", "lt", "le", "gt", "ge", "in", "not_in", "between", "is_null")
PATTERN_OPERATORS: tuple[Operator, ...] = ("like", "ilike", "starts_with", "contains")
_UUID_PATTERN = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
MAX_JSON_DEPTH = 64
_INT64_RANGE = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class ColumnType:
    """`takes` turns a JSON value into one to bind (raises ValueError with a public text); `gives` does the reverse."""

    name: ColumnTypeName
    description: str
    operators: tuple[Operator, ...]
    aggregates: tuple[AggregateFunction, ...]
    sortable: bool
    sql_type: TypeEngine[Any]
    to_sql: Callable[[Any], Any]
    to_json: Callable[[Any], Any]


def _parse_uuid(value: Any) -> UUID:
    if not isinstance(value, str) or not _UUID_PATTERN.fullmatch(value):
        raise ValueError("must be a UUID as 8-4-4-4-12 hexadecimal digits")
    return UUID(value)


def _parse_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return value


def _parse_integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value not in _INT64_RANGE:
        raise ValueError("must be an integer of 64 bits")
    return value


def _parse_number(value: Any) -> Decimal:
    try:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(float(value)) < float("inf"):
            raise ValueError
    except (ValueError, OverflowError) as error:
        raise ValueError("must be a finite number") from error
    return Decimal(repr(value))


def _parse_boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _parse_timestamp(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is None or moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError("must be an ISO 8601 time with its offset, as 2026-03-01T10:00:00Z") from error


def _parse_json(value: Any) -> Any:
    if not isinstance(value, dict | list):
        raise ValueError("must be an object or a list")
    return value


def _format_timestamp(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _format_number(value: Any) -> float | int:
    return int(value) if value == int(value) and isinstance(value, Decimal) else float(value)


def _limit_json_depth(value: Any) -> Any:
    """As it is, unless it nests deeper than our JSON writer goes: then a text that says so."""
    waiting = [(1, value)]
    while waiting:
        depth, item = waiting.pop()
        if depth > MAX_JSON_DEPTH:
            return f"(nested deeper than {MAX_JSON_DEPTH} levels)"
        if isinstance(item, dict | list):
            waiting += [(depth + 1, inner) for inner in (item.values() if isinstance(item, dict) else item)]
    return value


def _identity(value: Any) -> Any:
    return value


UUID_TYPE = ColumnType("uuid", "a string", EQUALITY_OPERATORS, ("count",), True, Uuid(), _parse_uuid, str)
TEXT_TYPE = ColumnType(
    "text",
    "a string",
    (*COMPARISON_OPERATORS, *PATTERN_OPERATORS),
    ("count", "min", "max"),
    True,
    Text(),
    _parse_text,
    str,
)
INTEGER_TYPE = ColumnType(
    "integer",
    "an integer",
    COMPARISON_OPERATORS,
    ("count", "min", "max", "avg", "sum"),
    True,
    BigInteger(),
    _parse_integer,
    int,
)
NUMBER_TYPE = ColumnType(
    "number",
    "a number",
    COMPARISON_OPERATORS,
    ("count", "min", "max", "avg", "sum"),
    True,
    Numeric(),
    _parse_number,
    _format_number,
)
BOOLEAN_TYPE = ColumnType(
    "boolean", "true or false", ("eq", "ne", "is_null"), ("count",), True, Boolean(), _parse_boolean, bool
)
TIMESTAMP_TYPE = ColumnType(
    "timestamp",
    "a string: ISO 8601 with an offset; answers are in UTC",
    COMPARISON_OPERATORS,
    ("count", "min", "max"),
    True,
    DateTime(timezone=True),
    _parse_timestamp,
    _format_timestamp,
)
JSON_TYPE = ColumnType(
    "json", "any JSON", ("contains", "is_null"), ("count",), False, JSONB(), _parse_json, _limit_json_depth
)
TEXT_ARRAY_TYPE = ColumnType(
    "text[]", "a list of strings", ("contains", "is_null"), ("count",), False, ARRAY(Text()), _parse_text, _identity
)
COLUMN_TYPES = (
    UUID_TYPE,
    TEXT_TYPE,
    INTEGER_TYPE,
    NUMBER_TYPE,
    BOOLEAN_TYPE,
    TIMESTAMP_TYPE,
    JSON_TYPE,
    TEXT_ARRAY_TYPE,
)


def to_column_type(reflected: TypeEngine[Any]) -> ColumnType | None:
    """The kind of a reflected column; None for what cannot be asked (bytes, and whatever we do not know)."""
    if isinstance(reflected, ARRAY):
        return TEXT_ARRAY_TYPE if isinstance(reflected.item_type, Text) else None
    if isinstance(reflected, DateTime):
        return TIMESTAMP_TYPE if reflected.timezone else None
    known: tuple[tuple[type[Any], ColumnType], ...] = (
        (Uuid, UUID_TYPE),
        (Boolean, BOOLEAN_TYPE),
        (Integer, INTEGER_TYPE),
        (Double, NUMBER_TYPE),
        (JSONB, JSON_TYPE),
        (Text, TEXT_TYPE),
    )
    return next((kind for type_, kind in known if isinstance(reflected, type_)), None)


QUERY_SCHEMA = "ask"
# Nothing else is told or read, whatever the schema holds.
QUERYABLE_TABLES = ("datasets", "experiments", "frames", "query_audit", "renders", "sources")


@dataclass(frozen=True, slots=True)
class ColumnDescription:
    """`required`: never null, so that order and cursor need not provide for it."""

    name: str
    type: ColumnType
    required: bool


@dataclass(frozen=True, slots=True)
class TableDescription:
    """A view, with the key of the table it shows."""

    name: str
    description: str
    columns: Mapping[str, ColumnDescription]
    key: tuple[str, ...]


Tables = Mapping[str, TableDescription]


async def reflect_tables(connection: AsyncConnection) -> Tables:
    """The tables on the list, by name. As the service: a caller need not see the catalogue. Waits for no lock."""
    await connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}"))
    return await connection.run_sync(_reflect_views)


def _reflect_views(connection: Connection) -> Tables:
    inspector = inspect(connection)
    there = set(inspector.get_view_names(schema=QUERY_SCHEMA))
    return {name: _describe_table(inspector, name) for name in QUERYABLE_TABLES if name in there}


def _describe_table(inspector: Inspector, name: str) -> TableDescription:
    """Views know types; whether a column is required and what the key is, only the table of the same name knows."""
    required = {column["name"] for column in inspector.get_columns(name) if not column["nullable"]}
    columns = (_describe_column(column, required) for column in inspector.get_columns(name, schema=QUERY_SCHEMA))
    says = inspector.get_table_comment(name, schema=QUERY_SCHEMA)["text"] or ""
    key = tuple(inspector.get_pk_constraint(name)["constrained_columns"])
    return TableDescription(name, says, {column.name: column for column in columns if column is not None}, key)


def _describe_column(column: Any, required: set[str]) -> ColumnDescription | None:
    kind = to_column_type(column["type"])
    return None if kind is None else ColumnDescription(column["name"], kind, column["name"] in required)
