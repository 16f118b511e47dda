"""Rows of experiments: row-level security decides which of them the connection's caller can read and change."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import RowMapping, Select, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import Subject, new_uuid
from service.store.database import translate_integrity_errors
from service.store.keyset import PageRequest, fetch_page
from service.store.tables import experiments

SortOrder = Literal["-created_at", "created_at", "name", "-name"]


@dataclass(frozen=True, slots=True)
class ExperimentFilter:
    """Which experiments to list; None: any."""

    q: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    owner: Subject | None = None


async def create(connection: AsyncConnection, owner: Subject, values: dict[str, Any]) -> RowMapping:
    """Insert an experiment. Raises Conflict if the owner has one with this name."""
    query = insert(experiments).values(id=new_uuid(), owner=owner, **values).returning(experiments)
    async with translate_integrity_errors("you have an experiment of that name already"):
        row: RowMapping = (await connection.execute(query)).mappings().one()
    return row


async def get(connection: AsyncConnection, experiment: UUID) -> RowMapping | None:
    return (await connection.execute(select(experiments).where(experiments.c.id == experiment))).mappings().first()


async def lock(connection: AsyncConnection, experiment: UUID) -> RowMapping | None:
    """The row, locked until the end of the transaction; None if the caller may not change it."""
    query = select(experiments).where(experiments.c.id == experiment).with_for_update()
    return (await connection.execute(query)).mappings().first()


async def change(connection: AsyncConnection, experiment: UUID, values: dict[str, Any]) -> RowMapping:
    """Update an existing experiment and return its row. Raises Conflict for a taken name."""
    query = update(experiments).where(experiments.c.id == experiment)
    query = query.values(**values, updated_at=func.clock_timestamp())
    async with translate_integrity_errors("another experiment of this owner has that name"):
        row: RowMapping = (await connection.execute(query.returning(experiments))).mappings().one()
    return row


async def list_page(
    connection: AsyncConnection, filters: ExperimentFilter, page: PageRequest
) -> tuple[list[RowMapping], int]:
    """The rows of one page and how many of them it shows: see `fetch_page`."""
    query = _apply_filter(select(experiments), filters)
    return await fetch_page(connection, query, experiments, page, (experiments.c.metadata,))


async def count(connection: AsyncConnection, filters: ExperimentFilter) -> int:
    """How many match, on all pages together."""
    return int(await connection.scalar(_apply_filter(select(func.count()).select_from(experiments), filters)) or 0)


def _apply_filter(query: Select[Any], filters: ExperimentFilter) -> Select[Any]:
    if filters.q:
        matches = (
            column.icontains(filters.q, autoescape=True) for column in (experiments.c.name, experiments.c.description)
        )
        query = query.where(or_(*matches))
    if filters.owner is not None:
        query = query.where(experiments.c.owner == filters.owner)
    if filters.created_after is not None:
        query = query.where(experiments.c.created_at > filters.created_after)
    if filters.created_before is not None:
        query = query.where(experiments.c.created_at < filters.created_before)
    return query
