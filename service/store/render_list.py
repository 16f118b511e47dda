"""Which renders a list shows, under the caller's row-level security."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import Subject
from service.store.keyset import Slice
from service.store.tables import renders


@dataclass(frozen=True, slots=True)
class Wanted:
    """The filters; None leaves one out."""

    status: str | None = None
    experiment_id: UUID | None = None
    dataset_id: UUID | None = None
    owner: Subject | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


async def places(connection: AsyncConnection, wanted: Wanted, part: Slice) -> list[RowMapping]:
    """`id` and `created_at` of one page, in order."""
    query = part.of(_filtered(select(renders.c.id, renders.c.created_at), wanted), renders)
    return list((await connection.execute(query)).mappings().all())


async def count(connection: AsyncConnection, wanted: Wanted) -> int:
    """All that match, whatever the page."""
    return int(await connection.scalar(_filtered(select(func.count()).select_from(renders), wanted)) or 0)


def _filtered(query: Select[Any], wanted: Wanted) -> Select[Any]:
    for name in ("status", "experiment_id", "dataset_id", "owner"):
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(renders.c[name] == value)
    if wanted.created_after is not None:
        query = query.where(renders.c.created_at > wanted.created_after)
    if wanted.created_before is not None:
        query = query.where(renders.c.created_at < wanted.created_before)
    return query
