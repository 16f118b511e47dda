"""The chosen source frames of a render, streamed in output order; frames that are not chosen are never read."""

import sys
import zlib
from array import array
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, TextClause, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.planner import Selection
from service.plan.render_plan import FramePolicy, FrameRef
from service.store.tables import sources

ROWS_A_READ = 1000
CAPTURED = "(extract(epoch FROM captured_at) * 1000000)::bigint AS captured"
WINDOW = text("""
    SELECT min(index) AS first, max(index) AS last, min(number) AS first_number, max(number) AS last_number
    FROM frames WHERE dataset_id = :dataset
        AND captured_at >= coalesce(CAST(:since AS timestamptz), captured_at)
        AND captured_at < coalesce(CAST(:until AS timestamptz), 'infinity')
""")
BY_INDEX = text(
    """
    SELECT index AS position, key, etag, size, page, page_offset, """
    + CAPTURED
    + """ FROM frames
    WHERE dataset_id = :dataset AND index >= :start AND index < :stop AND (index - :start) % :step = 0 ORDER BY index
"""
)
BY_NUMBER = text(
    """
    SELECT position, key, etag, size, page, page_offset, captured FROM (
        SELECT (number - :first) / :stride AS position, key, etag, size, page, page_offset, """
    + CAPTURED
    + """ FROM frames
        WHERE dataset_id = :dataset AND (number - :first) % :stride = 0) numbered
    WHERE position >= :start AND position < :stop AND (position - :start) % :step = 0 ORDER BY position
"""
)


class Window(NamedTuple):
    """Capture times, `since` included and `until` excluded; None: open."""

    since: datetime | None
    until: datetime | None


def timeline(dataset: dict[str, Any], missing: FramePolicy) -> int:
    """Positions of the dataset: its frames, and its numbering's holes too unless they are skipped."""
    return int(dataset["frame_count"]) + (int(dataset["gap_frames"]) if _holes_count(dataset, missing) else 0)


def _holes_count(dataset: dict[str, Any], missing: FramePolicy) -> bool:
    return missing != "skip" and bool(dataset["gap_frames"]) and bool(dataset["number_stride"])


async def captured_within(
    connection: AsyncConnection, dataset: dict[str, Any], window: Window, missing: FramePolicy
) -> tuple[int, int] | None:
    """Positions (start, stop) from the first to the last frame captured within the window; None when there is none."""
    row = (await connection.execute(WINDOW, {"dataset": dataset["id"], **window._asdict()})).one()
    if row.first is None:
        return None
    if not _holes_count(dataset, missing):
        return row.first, row.last + 1
    first, stride = dataset["number_first"], dataset["number_stride"]
    return (row.first_number - first) // stride, (row.last_number - first) // stride + 1


def frame_refs(
    connection: AsyncConnection,
    dataset: dict[str, Any],
    chosen: Selection,
    missing: FramePolicy,
) -> AsyncIterator[FrameRef]:
    """One FrameRef per source frame that is read; `key` is None where the numbering has a hole."""
    if dataset["kind"] == "video":
        return _pictures(connection, dataset, chosen)
    if _holes_count(dataset, missing):
        return _by_number(connection, dataset, chosen)
    return _by_index(connection, dataset, chosen)


def _values(dataset: dict[str, Any], chosen: Selection) -> dict[str, Any]:
    span = {"start": chosen.start, "stop": chosen.stop, "step": chosen.stride}
    return {"dataset": dataset["id"]} | span


async def _by_index(connection: AsyncConnection, dataset: dict[str, Any], chosen: Selection) -> AsyncIterator[FrameRef]:
    async for row in _rows(connection, BY_INDEX, _values(dataset, chosen)):
        yield _image(row)


async def _by_number(
    connection: AsyncConnection, dataset: dict[str, Any], chosen: Selection
) -> AsyncIterator[FrameRef]:
    values = _values(dataset, chosen) | {"first": dataset["number_first"], "stride": dataset["number_stride"]}
    expected = chosen.start
    async for row in _rows(connection, BY_NUMBER, values):
        while expected < row.position:
            yield FrameRef(expected, None)
            expected += chosen.stride
        yield _image(row)
        expected = row.position + chosen.stride
    for position in range(expected, chosen.stop, chosen.stride):
        yield FrameRef(position, None)


async def _rows(connection: AsyncConnection, query: TextClause, values: dict[str, Any]) -> AsyncIterator[Row[Any]]:
    """By a server-side cursor, some at a time: one by one, SQLAlchemy takes much longer for each."""
    async with connection.stream(query, values) as found:
        async for rows in found.partitions(ROWS_A_READ):
            for row in rows:
                yield row


def _image(row: Sequence[Any]) -> FrameRef:
    position, key, etag, size, page, offset, captured = row
    return FrameRef(position, key, etag, size, None, page, offset, captured)


async def _pictures(connection: AsyncConnection, dataset: dict[str, Any], chosen: Selection) -> AsyncIterator[FrameRef]:
    query = select(sources).where(sources.c.dataset_id == dataset["id"]).order_by(sources.c.number)
    for row in (await connection.execute(query)).mappings().all():
        times = unpacked(row["pts"])
        first, last = row["first_index"], min(row["first_index"] + len(times), chosen.stop)
        behind = max(first - chosen.start, 0)
        begin = chosen.start + -(-behind // chosen.stride) * chosen.stride
        for index in range(begin, last, chosen.stride):
            yield FrameRef(index, row["key"], row["etag"], row["size"], times[index - first])


def unpacked(packed: bytes) -> "array[int]":
    """Presentation timestamps, one a picture, out of `sources.pts`."""
    times = array("q")
    times.frombytes(zlib.decompress(packed))
    if sys.byteorder == "big":
        times.byteswap()
    return times
