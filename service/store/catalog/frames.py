"""Frames and source videos of a dataset: one, a page of them, or all that a render reads."""

import sys
import zlib
from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Row, RowMapping, TextClause, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.facts import DatasetFacts
from service.plan.geometry import Size
from service.plan.render_plan import INTERLACED, SEPARATE_FIELDS, Deinterlace, FrameRef, Gaps
from service.plan.segments import Selection
from service.store.catalog.cadence import MISSING_BEFORE, PAUSES
from service.store.tables import frames, sources

ROWS_PER_READ = 1000
CAPTURED_MICROSECONDS = "(extract(epoch FROM captured_at) * 1000000)::bigint AS captured"
SELECT_BY_INDEX = text(
    """
    SELECT index AS position, key, etag, size, page, page_offset, """
    + CAPTURED_MICROSECONDS
    + """ FROM frames
    WHERE dataset_id = :dataset AND index >= :start AND index < :stop AND (index - :start) % :step = 0 ORDER BY index
"""
)
SELECT_BY_NUMBER = text(
    """
    SELECT position, key, etag, size, page, page_offset, captured FROM (
        SELECT (number - :first) / :stride AS position, key, etag, size, page, page_offset, """
    + CAPTURED_MICROSECONDS
    + """ FROM frames
        WHERE dataset_id = :dataset AND (number - :first) % :stride = 0) numbered
    WHERE position >= :start AND position < :stop AND (position - :start) % :step = 0 ORDER BY position
"""
)
SELECT_BY_INTERVAL = text(
    """
    SELECT position, key, etag, size, page, page_offset, captured FROM (
        SELECT (index + sum(missing) OVER (ORDER BY index))::bigint AS position, key, etag, size, page, page_offset,
            captured
        FROM (SELECT index, key, etag, size, page, page_offset, """
    + f"{CAPTURED_MICROSECONDS}, {MISSING_BEFORE} AS missing FROM {PAUSES}"
    + """ ) counted) placed
    WHERE position >= :start AND position < :stop AND (position - :start) % :step = 0 ORDER BY position
"""
)
SELECT_TIMED_FRAMES = text(
    f"""
    SELECT index AS position, key, etag, size, page, page_offset, {CAPTURED_MICROSECONDS} FROM frames
    WHERE dataset_id = :dataset AND index = ANY(:indexes)
"""
)


def stream_frames(
    connection: AsyncConnection,
    dataset: DatasetFacts,
    selection: Selection,
    gaps: Gaps,
    deinterlace: Deinterlace = "off",
) -> AsyncGenerator[FrameRef]:
    """One FrameRef per source frame that the render reads, in order; `key` is None for a missing one.

    `gaps` is RenderPlan's: `none` where no position is without a frame.
    """
    if dataset.kind == "video":
        return _video_frames(connection, dataset, selection, deinterlace)
    if gaps == "interval" and dataset.cadence:
        values = {"interval": dataset.cadence.interval_us}
        return _stream_with_gaps(connection, SELECT_BY_INTERVAL, dataset, selection, values)
    if gaps == "numbers":
        values = {"first": dataset.number_first or 0, "stride": dataset.number_stride or 1}
        return _stream_with_gaps(connection, SELECT_BY_NUMBER, dataset, selection, values)
    return _stream_by_index(connection, dataset, selection)


def _bind_values(dataset: DatasetFacts, selection: Selection) -> dict[str, Any]:
    span = {"start": selection.start, "stop": selection.stop, "step": selection.stride}
    return {"dataset": dataset.id} | span


async def _stream_by_index(
    connection: AsyncConnection, dataset: DatasetFacts, selection: Selection
) -> AsyncGenerator[FrameRef]:
    async for row in _stream_rows(connection, SELECT_BY_INDEX, _bind_values(dataset, selection)):
        yield _image_frame(row)


async def _stream_with_gaps(
    connection: AsyncConnection,
    query: TextClause,
    dataset: DatasetFacts,
    selection: Selection,
    placement: dict[str, int],
) -> AsyncGenerator[FrameRef]:
    expected = selection.start
    async for row in _stream_rows(connection, query, _bind_values(dataset, selection) | placement):
        while expected < row.position:
            yield FrameRef(expected, None)
            expected += selection.stride
        yield _image_frame(row)
        expected = row.position + selection.stride
    for position in range(expected, selection.stop, selection.stride):
        yield FrameRef(position, None)


async def _stream_rows(
    connection: AsyncConnection, query: TextClause, values: dict[str, Any]
) -> AsyncIterator[Row[Any]]:
    """Read with a server-side cursor in batches; row by row, SQLAlchemy takes much longer."""
    async with connection.stream(query, values) as result:
        async for rows in result.partitions(ROWS_PER_READ):
            for row in rows:
                yield row


def _image_frame(row: Sequence[Any]) -> FrameRef:
    position, key, etag, size, page, offset, captured = row
    return FrameRef(position, key, etag, size, None, page, offset, captured)


async def _video_frames(
    connection: AsyncConnection, dataset: DatasetFacts, selection: Selection, deinterlace: Deinterlace
) -> AsyncGenerator[FrameRef]:
    query = select(sources).where(sources.c.dataset_id == dataset.id).order_by(sources.c.number)
    for row in (await connection.execute(query)).mappings().all():
        times, packets = _picture_places(row)
        first, last = row["first_index"], min(row["first_index"] + len(times), selection.stop)
        behind = max(first - selection.start, 0)
        begin = selection.start + -(-behind // selection.stride) * selection.stride
        for index in range(begin, last, selection.stride):
            yield _video_frame(row, times, packets, index, deinterlace)


def _picture_places(row: RowMapping) -> "tuple[array[int], array[int] | None]":
    """The timestamps of a source's pictures; their packets, where timestamps do not tell them apart."""
    packets = row["packets"]
    return unpack_timestamps(row["pts"]), unpack_timestamps(packets) if packets is not None else None


def _video_frame(
    row: RowMapping, times: "array[int]", packets: "array[int] | None", index: int, deinterlace: Deinterlace
) -> FrameRef:
    """Picture `index` of the dataset, in the source video that has these timestamps and packets."""
    place = index - row["first_index"]
    packet = packets[place] if packets else None
    ref = FrameRef(index, row["key"], row["etag"], row["size"], times[place], packet=packet)
    interlaced = row["fields"] in INTERLACED
    if interlaced or row["fields"] == SEPARATE_FIELDS:
        ref = replace(ref, field_order=row["fields"])
    if deinterlace == "on" or (deinterlace == "auto" and interlaced):
        if place:
            ref = replace(ref, pts_before=times[place - 1], packet_before=packets[place - 1] if packets else None)
        if place + 1 < len(times):
            ref = replace(ref, pts_after=times[place + 1], packet_after=packets[place + 1] if packets else None)
    return ref


def unpack_timestamps(packed: bytes) -> "array[int]":
    """Presentation timestamps, one per picture, from `sources.pts`."""
    times = array("q")
    times.frombytes(zlib.decompress(packed))
    if sys.byteorder == "big":
        times.byteswap()
    return times


@dataclass(frozen=True, slots=True)
class FramePage:
    """Up to `limit` frames from index `start` on; with `unreadable`, only those with a problem; with `not_of_size`,
    only those of another (width, height)."""

    start: int
    limit: int
    unreadable: bool = False
    not_of_size: Size | None = None


async def list_page(connection: AsyncConnection, dataset: UUID, page: FramePage) -> Sequence[RowMapping]:
    query = select(frames).where(frames.c.dataset_id == dataset, frames.c.index >= page.start)
    if page.unreadable:
        query = query.where(frames.c.problem.is_not(None))
    if page.not_of_size:
        width, height = page.not_of_size
        query = query.where((frames.c.width != width) | (frames.c.height != height))
    return (await connection.execute(query.order_by(frames.c.index).limit(page.limit))).mappings().all()


async def get_frame(connection: AsyncConnection, dataset: UUID, index: int) -> RowMapping | None:
    query = select(frames).where(frames.c.dataset_id == dataset, frames.c.index == index)
    return (await connection.execute(query)).mappings().first()


async def list_frames_at(connection: AsyncConnection, dataset: UUID, indexes: range) -> list[FrameRef]:
    """The frames at these indexes, in order; those that the scan could not read, and those that are gone, without a
    `key`."""
    names = ("index", "key", "etag", "size", "page", "page_offset")
    query = select(*(frames.c[name] for name in names)).where(frames.c.dataset_id == dataset)
    query = query.where(frames.c.index.in_(indexes), frames.c.problem.is_(None))
    rows = (await connection.execute(query)).mappings().all()
    found = {row["index"]: FrameRef(**row) for row in rows}
    return [found.get(index) or FrameRef(index, None) for index in indexes]


async def list_timed_frames(
    connection: AsyncConnection, dataset: UUID, indexes: Collection[int]
) -> dict[int, FrameRef]:
    """Image frames by index, with their capture times."""
    rows = await connection.execute(SELECT_TIMED_FRAMES, {"dataset": dataset, "indexes": sorted(indexes)})
    return {row.position: _image_frame(row) for row in rows}


async def list_video_frames_at(connection: AsyncConnection, dataset: UUID, indexes: range) -> list[FrameRef]:
    """The pictures at these indexes, counted through all source videos in order; without a `key` if there is none."""
    first, count = sources.c.first_index, sources.c.frame_count
    query = select(sources).where(sources.c.dataset_id == dataset, first < indexes.stop, first + count > indexes.start)
    found: dict[int, FrameRef] = {}
    for row in (await connection.execute(query)).mappings().all():
        times, packets = _picture_places(row)
        for index in indexes:
            if row["first_index"] <= index < row["first_index"] + len(times):
                found[index] = _video_frame(row, times, packets, index, "auto")
    return [found.get(index) or FrameRef(index, None) for index in indexes]


async def get_video_frame(connection: AsyncConnection, dataset: UUID, index: int) -> FrameRef | None:
    """Picture `index`, counted through all source videos in order."""
    first = sources.c.first_index
    query = select(sources).where(sources.c.dataset_id == dataset, first <= index)
    query = query.where(first + sources.c.frame_count > index)
    row = (await connection.execute(query)).mappings().first()
    if row is None:
        return None
    return _video_frame(row, *_picture_places(row), index, "auto")
