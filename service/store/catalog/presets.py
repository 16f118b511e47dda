"""Presets: named sets of render options. Row-level security decides which of them the connection's caller can read and
change."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import RowMapping, Select, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import Conflict
from service.ids import Subject, new_uuid
from service.store.database import acquire_advisory_lock, translate_integrity_errors
from service.store.keyset import PageRequest, fetch_page
from service.store.tables import presets

SortOrder = Literal["-created_at", "created_at", "name", "-name"]
# Of one owner: more than a person can tell apart, and no table to fill.
MAX_PRESETS = 1000


@dataclass(frozen=True, slots=True)
class PresetFilter:
    """Which presets to list; None: any. `q` is a part of the name or description."""

    q: str | None = None
    owner: Subject | None = None


async def create(connection: AsyncConnection, owner: Subject, values: dict[str, Any]) -> RowMapping:
    """Insert a preset. Raises Conflict if the owner has one with this name, or MAX_PRESETS."""
    await acquire_advisory_lock(connection, f"presets of {owner}")
    if await count(connection, PresetFilter(owner=owner)) >= MAX_PRESETS:
        raise Conflict(f"you have {MAX_PRESETS} presets: delete some that nobody names any more")
    query = insert(presets).values(id=new_uuid(), owner=owner, **values).returning(presets)
    async with translate_integrity_errors("you have a preset of that name already"):
        row: RowMapping = (await connection.execute(query)).mappings().one()
    return row


async def get(connection: AsyncConnection, preset: UUID) -> RowMapping | None:
    return (await connection.execute(select(presets).where(presets.c.id == preset))).mappings().first()


async def lock(connection: AsyncConnection, preset: UUID) -> RowMapping | None:
    """The row, locked until the end of the transaction; None if the caller may not change it."""
    query = select(presets).where(presets.c.id == preset).with_for_update()
    return (await connection.execute(query)).mappings().first()


async def change(connection: AsyncConnection, preset: UUID, values: dict[str, Any]) -> RowMapping:
    """Update an existing preset and return its row. Raises Conflict for a taken name."""
    query = update(presets).where(presets.c.id == preset).values(**values, updated_at=func.clock_timestamp())
    async with translate_integrity_errors("another preset of this owner has that name"):
        row: RowMapping = (await connection.execute(query.returning(presets))).mappings().one()
    return row


async def delete(connection: AsyncConnection, preset: UUID) -> None:
    """Renders that were asked for with it stay."""
    await connection.execute(presets.delete().where(presets.c.id == preset))


async def find(connection: AsyncConnection, reference: str, subject: Subject) -> Sequence[RowMapping]:
    """The visible presets that `reference` may mean: the one of this id, else the subject's own of this name, else
    those of others, of which no more than two are returned."""
    try:
        this_id = presets.c.id == UUID(reference)
    except ValueError:
        this_id = presets.c.id.is_(None)
    own = presets.c.owner == subject
    query = select(presets, or_(this_id, own).label("exact")).where(or_(this_id, presets.c.name == reference))
    query = query.order_by(this_id.desc(), own.desc(), presets.c.id).limit(2)
    found = (await connection.execute(query)).mappings().all()
    return found[:1] if found and found[0]["exact"] else found


async def list_page(
    connection: AsyncConnection, filters: PresetFilter, page: PageRequest
) -> tuple[list[RowMapping], int]:
    """The rows of one page and how many of them it shows: see `fetch_page`."""
    query = _apply_filter(select(presets), filters)
    return await fetch_page(connection, query, presets, page, (presets.c.options, presets.c.description))


async def count(connection: AsyncConnection, filters: PresetFilter) -> int:
    """How many match, on all pages together."""
    return int(await connection.scalar(_apply_filter(select(func.count()).select_from(presets), filters)) or 0)


def _apply_filter(query: Select[Any], filters: PresetFilter) -> Select[Any]:
    if filters.q:
        matches = (column.icontains(filters.q, autoescape=True) for column in (presets.c.name, presets.c.description))
        query = query.where(or_(*matches))
    if filters.owner is not None:
        query = query.where(presets.c.owner == filters.owner)
    return query
