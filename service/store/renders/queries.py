"""Read renders: filtered lists under the caller's row-level security."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import Subject
from service.store.keyset import PageRequest
from service.store.tables import renders


@dataclass(frozen=True, slots=True)
class RenderFilter:
    """Conditions on the renders of a list; None leaves one out."""

    status: str | None = None
    experiment_id: UUID | None = None
    dataset_id: UUID | None = None
    owner: Subject | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


async def page(connection: AsyncConnection, conditions: RenderFilter, part: PageRequest) -> list[RowMapping]:
    """`id` and `created_at` of one page, in order."""
    query = part.apply(_apply_filter(select(renders.c.id, renders.c.created_at), conditions), renders)
    return list((await connection.execute(query)).mappings().all())


async def count_renders(connection: AsyncConnection, conditions: RenderFilter) -> int:
    """All that match, whatever the page."""
    return int(await connection.scalar(_apply_filter(select(func.count()).select_from(renders), conditions)) or 0)


def _apply_filter(query: Select[Any], conditions: RenderFilter) -> Select[Any]:
    for name in ("status", "experiment_id", "dataset_id", "owner"):
        value = getattr(conditions, name)
        if value is not None:
            query = query.where(renders.c[name] == value)
    if conditions.created_after is not None:
        query = query.where(renders.c.created_at > conditions.created_after)
    if conditions.created_before is not None:
        query = query.where(renders.c.created_at < conditions.created_before)
    return query
