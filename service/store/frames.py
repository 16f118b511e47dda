"""Frame and source rows, as their readers see them."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.render_plan import FrameRef
from service.store.selection import unpack_timestamps
from service.store.tables import frames, sources


async def list_range(
    connection: AsyncConnection, dataset: UUID, start: int, limit: int, *, unreadable: bool = False
) -> Sequence[RowMapping]:
    """Up to `limit` frames from index `start` on; with `unreadable`, only those that have a problem."""
    query = select(frames).where(frames.c.dataset_id == dataset, frames.c.index >= start)
    if unreadable:
        query = query.where(frames.c.problem.is_not(None))
    return (await connection.execute(query.order_by(frames.c.index).limit(limit))).mappings().all()


async def get_frame(connection: AsyncConnection, dataset: UUID, index: int) -> RowMapping | None:
    query = select(frames).where(frames.c.dataset_id == dataset, frames.c.index == index)
    return (await connection.execute(query)).mappings().first()


async def get_video_frame(connection: AsyncConnection, dataset: UUID, index: int) -> FrameRef | None:
    """The `index`-th picture of all source videos together."""
    first = sources.c.first_index
    query = select(sources).where(sources.c.dataset_id == dataset, first <= index)
    query = query.where(first + sources.c.frame_count > index)
    row = (await connection.execute(query)).mappings().first()
    if row is None:
        return None
    pts = unpack_timestamps(row["pts"])[index - row["first_index"]]
    return FrameRef(index, row["key"], row["etag"], row["size"], pts)


async def list_sources(connection: AsyncConnection, dataset: UUID) -> Sequence[RowMapping]:
    """The source videos of a dataset in order, without their times."""
    columns = [column for column in sources.c if column.name != "pts"]
    query = select(*columns).where(sources.c.dataset_id == dataset).order_by(sources.c.number)
    return (await connection.execute(query)).mappings().all()
