"""Planning holds one batch of segments in memory, queries once per batch, and does the same work for each frame.

Measured without a clock.
"""

import cProfile
import pstats
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import Subject
from service.plan.geometry import Bins
from service.plan.render_plan import FrameRef, content_keys
from service.plan.requests.planning import RenderPlan
from service.plan.segments import Selection, split_into_segments
from service.store.renders.submission import FRAMES_A_WRITE, estimate_render, write_render
from tests.support.data.database_rows import OPTIONS, add_dataset, render_plan
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
FEW, MANY = 6_000, 30_000
FRAMES = text("""
    INSERT INTO frames (dataset_id, index, number, key, size, etag)
    SELECT :dataset, n, n, 'frames/f' || n, 900, md5(n::text) FROM generate_series(0, :count - 1) n
""")


async def make_plan(connection: AsyncConnection, count: int, bins: Bins | None = None) -> RenderPlan:
    dataset = replace(await add_dataset(connection, 0), frame_count=count)
    await connection.execute(FRAMES, {"dataset": dataset.id, "count": count})
    options = replace(OPTIONS, bins=bins)
    return render_plan(dataset, bins.size if bins else 1, options)


async def peak_megabytes(connection: AsyncConnection, new: RenderPlan) -> float:
    """Peak of Python's memory while the render is estimated and written."""
    tracemalloc.start()
    try:
        await estimate_render(connection, new)
        await write_render(connection, Subject("alice"), new, {"priority": 0})
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


@contextmanager
def statements(connection: AsyncConnection) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        seen.append(statement)

    event.listen(connection.sync_connection, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(connection.sync_connection, "before_cursor_execute", note)


@pytest.mark.parametrize("bins", [None, Bins("mean", 64, 64, 48)])
async def test_five_times_the_frames_need_no_more_memory(postgres_url: str, bins: Bins | None) -> None:
    async with fresh_database(postgres_url) as database, database.service_transaction() as connection:
        few, many = await make_plan(connection, FEW, bins), await make_plan(connection, MANY, bins)
        await peak_megabytes(connection, few)  # what is imported and cached once
        assert await peak_megabytes(connection, many) < 2 * await peak_megabytes(connection, few)


async def test_the_database_is_asked_once_a_batch_of_segments(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database, database.service_transaction() as connection:
        counted = []
        for count in (FEW, MANY):
            new = await make_plan(connection, count)
            with statements(connection) as seen:
                await write_render(connection, Subject("alice"), new, {"priority": 0})
            counted.append(len(seen))
    assert counted[1] - counted[0] <= (MANY - FEW) / FRAMES_A_WRITE + 1


async def frames(count: int) -> AsyncIterator[FrameRef]:
    for index in range(count):
        yield FrameRef(index, f"frames/{index}.jpg", f"{index:x}", 900)


async def calls(count: int) -> int:
    """Function calls to split so many frames into segments and compute the content keys."""
    profile = cProfile.Profile()
    profile.enable()
    plans = [plan async for plan in split_into_segments(frames(count), "reelmill", OPTIONS, Selection(0, count, 1))]
    content_keys(plans)
    [plan.seconds() for plan in plans]
    profile.disable()
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


async def test_each_frame_takes_the_same_work() -> None:
    few, many = await calls(FEW), await calls(MANY)
    assert many < 5.1 * few
    assert many < 25 * MANY


async def test_keys_of_many_are_those_of_each() -> None:
    plans = [plan async for plan in split_into_segments(frames(300), "reelmill", OPTIONS, Selection(0, 300, 1))]
    assert content_keys(plans) == [plan.content_key() for plan in plans]
    other = [replace(plan, options=replace(OPTIONS, quality=3)) for plan in plans]
    assert not {*content_keys(plans)} & {*content_keys(other)}
    assert content_keys([]) == []
