"""Experiments, as row-level security lets the connection's caller read and change them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import RowMapping, Select, func, insert, or_, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import Conflict, NotFound
from service.ids import Subject, new_uuid
from service.store.keyset import PageRequest
from service.store.tables import experiments

SortOrder = Literal["-created_at", "created_at", "name", "-name"]
UNIQUE_VIOLATION, FOREIGN_KEY_VIOLATION = "23505", "23503"


@dataclass(frozen=True, slots=True)
class ExperimentFilter:
    """Which experiments to list; None leaves a filter out."""

    q: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    owner: Subject | None = None


@asynccontextmanager
async def translate_integrity_errors(conflict_detail: str) -> AsyncIterator[None]:
    """Turn the breach of a unique name into a Conflict that says `taken`; of a parent that is gone, into NotFound."""
    try:
        yield
    except IntegrityError as error:
        code = getattr(error.orig, "sqlstate", None)
        if code == UNIQUE_VIOLATION:
            raise Conflict(conflict_detail) from error
        if code == FOREIGN_KEY_VIOLATION:
            raise NotFound("there is no such experiment") from error
        raise


async def create(connection: AsyncConnection, owner: Subject, values: dict[str, Any]) -> RowMapping:
    """Raises Conflict when the owner has one of that name."""
    query = insert(experiments).values(id=new_uuid(), owner=owner, **values).returning(experiments)
    async with translate_integrity_errors("you have an experiment of that name already"):
        row: RowMapping = (await connection.execute(query)).mappings().one()
    return row


async def get(connection: AsyncConnection, experiment: UUID) -> RowMapping | None:
    return (await connection.execute(select(experiments).where(experiments.c.id == experiment))).mappings().first()


async def lock(connection: AsyncConnection, experiment: UUID) -> RowMapping | None:
    """The row as it is now, until the end of the transaction; None when the caller may not change it."""
    query = select(experiments).where(experiments.c.id == experiment).with_for_update()
    return (await connection.execute(query)).mappings().first()


async def change(connection: AsyncConnection, experiment: UUID, values: dict[str, Any]) -> RowMapping:
    """The changed row of an experiment that is there. Raises Conflict for a taken name."""
    query = update(experiments).where(experiments.c.id == experiment)
    query = query.values(**values, updated_at=func.clock_timestamp())
    async with translate_integrity_errors("another experiment of this owner has that name"):
        row: RowMapping = (await connection.execute(query.returning(experiments))).mappings().one()
    return row


async def list_page(connection: AsyncConnection, filters: ExperimentFilter, page: PageRequest) -> list[RowMapping]:
    """One keyset page, in order."""
    query = page.apply(_apply_filter(select(experiments), filters), experiments)
    return list((await connection.execute(query)).mappings().all())


async def count(connection: AsyncConnection, filters: ExperimentFilter) -> int:
    """All that match, whatever the page."""
    return int(await connection.scalar(_apply_filter(select(func.count()).select_from(experiments), filters)) or 0)


async def switch_to_service_role(connection: AsyncConnection) -> None:
    """For the rest of the transaction, be the service again: what a caller was allowed has been decided by now."""
    await connection.execute(text("SET LOCAL ROLE NONE"))


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
