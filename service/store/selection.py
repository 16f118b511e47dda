"""The chosen source frames of a render, streamed in output order; frames that are not chosen are never read."""

import sys
import zlib
from array import array
from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.planner import Selection
from service.plan.render_plan import FramePolicy, FrameRef
from service.store.tables import sources

BY_INDEX = text("""
    SELECT index AS position, key, etag, size, page, page_offset FROM frames
    WHERE dataset_id = :dataset AND index >= :start AND index < :stop AND (index - :start) % :step = 0 ORDER BY index
""")
BY_NUMBER = text("""
    SELECT position, key, etag, size, page, page_offset FROM (
        SELECT (number - :first) / :stride AS position, key, etag, size, page, page_offset FROM frames
        WHERE dataset_id = :dataset AND (number - :first) % :stride = 0) numbered
    WHERE position >= :start AND position < :stop AND (position - :start) % :step = 0 ORDER BY position
""")


def timeline(dataset: dict[str, Any], missing: FramePolicy) -> int:
    """Positions of the dataset: its frames, and its numbering's holes too unless they are skipped."""
    return int(dataset["frame_count"]) + (int(dataset["gap_frames"]) if _holes_count(dataset, missing) else 0)


def _holes_count(dataset: dict[str, Any], missing: FramePolicy) -> bool:
    return missing != "skip" and bool(dataset["gap_frames"]) and bool(dataset["number_stride"])


def frame_refs(
    connection: AsyncConnection, dataset: dict[str, Any], chosen: Selection, missing: FramePolicy
) -> AsyncIterator[FrameRef]:
    """One FrameRef per output frame; `key` is None where the numbering has a hole."""
    if dataset["kind"] == "video":
        return _pictures(connection, dataset, chosen)
    if _holes_count(dataset, missing):
        return _by_number(connection, dataset, chosen)
    return _by_index(connection, dataset, chosen)


def _values(dataset: dict[str, Any], chosen: Selection) -> dict[str, Any]:
    return {"dataset": dataset["id"], "start": chosen.start, "stop": chosen.stop, "step": chosen.step}


async def _by_index(connection: AsyncConnection, dataset: dict[str, Any], chosen: Selection) -> AsyncIterator[FrameRef]:
    async for row in await connection.stream(BY_INDEX, _values(dataset, chosen)):
        yield _image(row)


async def _by_number(
    connection: AsyncConnection, dataset: dict[str, Any], chosen: Selection
) -> AsyncIterator[FrameRef]:
    values = _values(dataset, chosen) | {"first": dataset["number_first"], "stride": dataset["number_stride"]}
    expected = chosen.start
    async for row in await connection.stream(BY_NUMBER, values):
        while expected < row.position:
            yield FrameRef(expected, None)
            expected += chosen.step
        yield _image(row)
        expected = row.position + chosen.step
    for position in range(expected, chosen.stop, chosen.step):
        yield FrameRef(position, None)


def _image(row: Row[Any]) -> FrameRef:
    return FrameRef(row.position, row.key, row.etag, row.size, page=row.page, page_offset=row.page_offset)


async def _pictures(connection: AsyncConnection, dataset: dict[str, Any], chosen: Selection) -> AsyncIterator[FrameRef]:
    query = select(sources).where(sources.c.dataset_id == dataset["id"]).order_by(sources.c.number)
    for row in (await connection.execute(query)).mappings().all():
        times = unpacked(row["pts"])
        first, last = row["first_index"], min(row["first_index"] + len(times), chosen.stop)
        behind = max(first - chosen.start, 0)
        begin = chosen.start + -(-behind // chosen.step) * chosen.step
        for index in range(begin, last, chosen.step):
            yield FrameRef(index, row["key"], row["etag"], row["size"], times[index - first])


def unpacked(packed: bytes) -> "array[int]":
    """Presentation timestamps, one a picture, out of `sources.pts`."""
    times = array("q")
    times.frombytes(zlib.decompress(packed))
    if sys.byteorder == "big":
        times.byteswap()
    return times
