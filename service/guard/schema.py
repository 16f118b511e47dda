"""Column types, with their operators, aggregates and conversions, and the queryable tables as reflected from the
database.
"""

import re
from collections.abc import Callable, Iterator, Mapping
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
from service.json_values import walk_json

ColumnTypeName = Literal["uuid", "text", "integer", "number", "boolean", "timestamp", "json", "text[]"]
EQUALITY_OPERATORS: tuple[Operator, ...] = ("eq", "ne", "in", "not_in", "is_null")
COMPARISON_OPERATORS: tuple[Operator, ...] = ("eq", "ne", "lt", "le", "gt", "ge", "in", "not_in", "between", "is_null")
PATTERN_OPERATORS: tuple[Operator, ...] = ("like", "ilike", "starts_with", "contains")
_UUID_PATTERN = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_LISTED_VALUES = re.compile(r"\(?(?P<column>\w+) = ANY \(ARRAY\[(?P<values>[^\]]+)\]\)\)?")
MAX_JSON_DEPTH = 64
_INT64_RANGE = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class ColumnType:
    """`to_sql` converts a JSON value to a bound parameter, and raises ValueError with a text for the caller; `to_json`
    converts a value that PostgreSQL returned."""

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
    """The value, or a text instead of it if it nests deeper than the JSON encoder of the API can write."""
    if any(depth >= MAX_JSON_DEPTH for depth, _ in walk_json(value)):
        return f"(nested deeper than {MAX_JSON_DEPTH} levels)"
    return value


UUID_TYPE = ColumnType(
    name="uuid",
    description="a string",
    operators=EQUALITY_OPERATORS,
    aggregates=("count",),
    sortable=True,
    sql_type=Uuid(),
    to_sql=_parse_uuid,
    to_json=str,
)
TEXT_TYPE = ColumnType(
    name="text",
    description="a string",
    operators=(*COMPARISON_OPERATORS, *PATTERN_OPERATORS),
    aggregates=("count", "min", "max"),
    sortable=True,
    sql_type=Text(),
    to_sql=_parse_text,
    to_json=str,
)
INTEGER_TYPE = ColumnType(
    name="integer",
    description="an integer",
    operators=COMPARISON_OPERATORS,
    aggregates=("count", "min", "max", "avg", "sum"),
    sortable=True,
    sql_type=BigInteger(),
    to_sql=_parse_integer,
    to_json=int,
)
NUMBER_TYPE = ColumnType(
    name="number",
    description="a number",
    operators=COMPARISON_OPERATORS,
    aggregates=("count", "min", "max", "avg", "sum"),
    sortable=True,
    sql_type=Numeric(),
    to_sql=_parse_number,
    to_json=_format_number,
)
BOOLEAN_TYPE = ColumnType(
    name="boolean",
    description="true or false",
    operators=("eq", "ne", "is_null"),
    aggregates=("count",),
    sortable=True,
    sql_type=Boolean(),
    to_sql=_parse_boolean,
    to_json=bool,
)
TIMESTAMP_TYPE = ColumnType(
    name="timestamp",
    description="a string: ISO 8601 with an offset; answers are in UTC",
    operators=COMPARISON_OPERATORS,
    aggregates=("count", "min", "max"),
    sortable=True,
    sql_type=DateTime(timezone=True),
    to_sql=_parse_timestamp,
    to_json=_format_timestamp,
)
JSON_TYPE = ColumnType(
    name="json",
    description="any JSON",
    operators=("contains", "is_null"),
    aggregates=("count",),
    sortable=False,
    sql_type=JSONB(),
    to_sql=_parse_json,
    to_json=_limit_json_depth,
)
TEXT_ARRAY_TYPE = ColumnType(
    name="text[]",
    description="a list of strings",
    operators=("contains", "is_null"),
    aggregates=("count",),
    sortable=False,
    sql_type=ARRAY(Text()),
    to_sql=_parse_text,
    to_json=lambda value: value,
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


def operand_type(op: Operator, column: ColumnType) -> ColumnType:
    """The type of the values that `op` takes on a column of type `column`."""
    if op == "is_null":
        return BOOLEAN_TYPE
    return TEXT_TYPE if op in ("like", "ilike", "starts_with") else column


def to_column_type(reflected: TypeEngine[Any]) -> ColumnType | None:
    """The type of a reflected column; None if it cannot be queried (bytes, and every type not listed here)."""
    if isinstance(reflected, ARRAY):
        return TEXT_ARRAY_TYPE if isinstance(reflected.item_type, Text) else None
    if isinstance(reflected, DateTime):
        return TIMESTAMP_TYPE if reflected.timezone else None
    column_types: tuple[tuple[type[Any], ColumnType], ...] = (
        (Uuid, UUID_TYPE),
        (Boolean, BOOLEAN_TYPE),
        (Integer, INTEGER_TYPE),
        (Double, NUMBER_TYPE),
        (JSONB, JSON_TYPE),
        (Text, TEXT_TYPE),
    )
    return next((column_type for sql_type, column_type in column_types if isinstance(reflected, sql_type)), None)


QUERY_SCHEMA = "ask"
# Only these views are exposed, whatever else the schema holds.
QUERYABLE_TABLES = ("datasets", "experiments", "frames", "query_audit", "renders", "sources")

# Columns that the view hides from some readers: null there, though never in the table.
HIDDEN_COLUMNS = {("renders", "owner")}


@dataclass(frozen=True, slots=True)
class ColumnDescription:
    """`required`: never null, so that order and cursor need no case for nulls. `values`: the only ones that a column
    of text has, in the order of its check; () if it has any."""

    name: str
    type: ColumnType
    required: bool
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TableDescription:
    """A view, with the primary key of the table it shows."""

    name: str
    description: str
    columns: Mapping[str, ColumnDescription]
    key: tuple[str, ...]


Tables = Mapping[str, TableDescription]


async def reflect_tables(connection: AsyncConnection) -> Tables:
    """The queryable tables by name. Needs a connection of the service, because a caller's role cannot read the
    catalogue. Waits at most LOCK_WAIT_MS for a lock."""
    await connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}"))
    return await connection.run_sync(_reflect_views)


def _reflect_views(connection: Connection) -> Tables:
    inspector = inspect(connection)
    views = set(inspector.get_view_names(schema=QUERY_SCHEMA))
    return {name: _describe_table(inspector, name) for name in QUERYABLE_TABLES if name in views}


def _describe_table(inspector: Inspector, name: str) -> TableDescription:
    """Types come from the view; key, required columns and listed values come from the table of the same name."""
    required = {column["name"] for column in inspector.get_columns(name) if not column["nullable"]}
    hidden = {column for table, column in HIDDEN_COLUMNS if table == name}
    listed = dict(_listed_values(inspector, name))
    columns = {
        column["name"]: ColumnDescription(
            column["name"], column_type, column["name"] in required - hidden, listed.get(column["name"], ())
        )
        for column in inspector.get_columns(name, schema=QUERY_SCHEMA)
        if (column_type := to_column_type(column["type"]))
    }
    description = inspector.get_table_comment(name, schema=QUERY_SCHEMA)["text"] or ""
    return TableDescription(name, description, columns, tuple(inspector.get_pk_constraint(name)["constrained_columns"]))


def _listed_values(inspector: Inspector, name: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The columns that a check holds to some texts, as PostgreSQL writes it: `kind = ANY (ARRAY['a'::text, …])`."""
    for check in inspector.get_check_constraints(name):
        if match := _LISTED_VALUES.fullmatch(check["sqltext"]):
            yield match["column"], tuple(re.findall(r"'([^']+)'::text", match["values"]))
