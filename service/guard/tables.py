"""What may be asked about: the views of the schema `ask` that are on the list, as the real database has them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Inspector, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.guard.kinds import ColumnType, to_column_type
from service.guard.settings import LOCK_WAIT_MS

QUERY_SCHEMA = "ask"
QUERYABLE_TABLES = ("datasets", "experiments", "frames", "query_audit", "renders", "sources")
"""Nothing else is told or read, whatever the schema holds."""


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
