"""The frames of a grid are in step: by position, or by the nearest capture time."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import Subject, new_uuid
from service.plan.grid import Align, Grid, Panel
from service.plan.render_plan import FrameRef
from service.plan.requests.planning import PlannedDataset, RenderPlan
from service.store.catalog.datasets import DatasetRow, to_dataset_row
from service.store.catalog.source_access import SourceForbidden
from service.store.renders import panels
from service.store.renders.lifecycle import enqueue_assembly, mark_running
from service.store.renders.output_frames import plan_output_frame
from service.store.renders.queries import load_segment_plan
from service.store.renders.sources import require_planned_sources, require_sources
from service.store.renders.submission import plan_segments, write_render
from service.store.source_rules import parse_sources
from service.store.tables import datasets, frames, tasks
from tests.support.data.database_rows import OPTIONS, add_dataset, render_plan
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
BEGIN = datetime(2026, 5, 4, 6, tzinfo=UTC)


async def add_beside(connection: AsyncConnection, first: DatasetRow, seconds: Sequence[float | None]) -> DatasetRow:
    """Another dataset of the experiment, whose frames were captured so many seconds after the beginning."""
    values = {"id": new_uuid(), "experiment_id": first.experiment_id, "name": f"beside {new_uuid()}", "kind": "frames"}
    values |= {"bucket": first.bucket, "prefix": "beside/", "state": "ready", "frame_count": len(seconds)}
    values |= {"width": 64, "height": 48, "digest": "beside"}
    row = (await connection.execute(insert(datasets).values(**values).returning(datasets))).mappings().one()
    await connection.execute(insert(frames), [frame_row(row["id"], n, second) for n, second in enumerate(seconds)])
    return to_dataset_row(row)


def frame_row(dataset: Any, index: int, second: float | None) -> dict[str, Any]:
    captured = None if second is None else BEGIN + timedelta(seconds=second)
    row = {"dataset_id": dataset, "index": index, "number": index, "key": f"beside/{index}", "size": 1, "etag": "e"}
    return row | {"captured_at": captured}


def grid_plan(
    first: DatasetRow, beside: DatasetRow, align: Align, within_us: int | None = None, step: int = 1
) -> RenderPlan:
    grid = Grid(2, 64, 48, (Panel("frames"), Panel("frames")), align, within_us)
    planned = render_plan(first, step, replace(OPTIONS, width=128, grid=grid))
    return replace(planned, beside=(PlannedDataset(beside, "none"),), gaps="none")


async def pairs(connection: AsyncConnection, plan: RenderPlan) -> list[tuple[FrameRef, FrameRef]]:
    found = []
    async for segment in plan_segments(connection, plan):
        found += [(refs[0], refs[1]) for refs in segment.outputs()]
    return found


async def test_by_position(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panels, "ROWS_PER_READ", 7)
    async with fresh_database(postgres_url) as database, database.service_transaction() as connection:
        first = await add_dataset(connection, 200)
        beside = await add_beside(connection, first, range(120))
        found = await pairs(connection, grid_plan(first, beside, "index", step=3))
        assert [lead.index for lead, _ in found] == list(range(0, 200, 3))
        expected = [f"beside/{n}" if n < 120 else None for n in range(0, 200, 3)]
        assert [(other.key, other.panel) for _, other in found] == [(key, 1) for key in expected]


@pytest.mark.parametrize("within", [None, 700_000])
async def test_by_capture_time(postgres_url: str, within: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each were looked for among all: clocks that go back, frames at one time, frames without any."""
    monkeypatch.setattr(panels, "ROWS_PER_READ", 16)
    chance = random.Random(3)
    lead_times = [None if n % 17 == 3 else n / 2 - (20 if n > 150 else 0) + chance.random() for n in range(200)]
    other_times = [None if n % 11 == 5 else n * 0.9 + chance.choice((0, 0, 0.3)) for n in range(120)]
    async with fresh_database(postgres_url) as database, database.service_transaction() as connection:
        first = await add_dataset(connection, 200)
        for index, second in enumerate(lead_times):
            moment = None if second is None else BEGIN + timedelta(seconds=second)
            await connection.execute(
                text("UPDATE frames SET captured_at = :moment WHERE index = :index"), {"moment": moment, "index": index}
            )
        beside = await add_beside(connection, first, other_times)
        found = await pairs(connection, grid_plan(first, beside, "captured", within))
        for lead, other in found:
            second = lead_times[lead.index]
            assert other.key == nearest(second, other_times, within), lead


def nearest(second: float | None, times: Sequence[float | None], within: int | None) -> str | None:
    known = [
        (abs(round(time * 1e6) - round(second * 1e6)), time, n)
        for n, time in enumerate(times)
        if second is not None and time is not None
    ]
    if not known or (within is not None and min(known)[0] > within):
        return None
    return f"beside/{min(known)[2]}"


async def test_frames_of_one_second_are_shown_in_turn(postgres_url: str) -> None:
    """Cameras that count whole seconds: the second frame of a second is shown with the second."""
    async with fresh_database(postgres_url) as database, database.service_transaction() as connection:
        first = await add_dataset(connection, 20)
        await connection.execute(
            text("UPDATE frames SET captured_at = CAST(:begin AS timestamptz) + (index / 5) * interval '1 second'"),
            {"begin": BEGIN},
        )
        same = await add_beside(connection, first, [n // 5 for n in range(20)])
        slower = await add_beside(connection, first, [n // 2 for n in range(8)])
        for beside, expected in (
            (same, list(range(20))),
            (slower, [min(2 * (n // 5) + min(n % 5, 1), 7) for n in range(20)]),
        ):
            plan = grid_plan(first, beside, "captured")
            assert [other.index for _, other in await pairs(connection, plan)] == expected
            shown = await plan_output_frame(connection, plan, 13)
            assert shown.frames[1].index == expected[13]


async def test_a_segment_knows_the_last_frame_of_each_panel(postgres_url: str) -> None:
    """However far back it is: a slow camera has none in most segments."""
    async with fresh_database(postgres_url) as database, database.service_transaction() as connection:
        first = await add_dataset(connection, 300)
        plan = grid_plan(first, await add_beside(connection, first, range(10)), "index")
        plan = replace(plan, options=replace(plan.options, missing="hold"))
        *_, last = [segment async for segment in plan_segments(connection, plan)]
        earlier = last.lead_outputs()[0]
        assert [(ref.panel, ref.key) for ref in earlier] == [(None, None), (1, "beside/9")]
        assert all(len(refs) == 2 for refs in last.lead_outputs())
        assert [refs[0].index for refs in last.lead_outputs()[1:]] == [last.frames[0].index - n for n in (4, 3, 2, 1)]
        preview = await plan_output_frame(connection, plan, 250)
        assert any(ref.key == "beside/9" for ref in preview.lead)


async def test_what_joins_a_grid_must_know_grids(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database, database.service_transaction() as connection:
        first = await add_dataset(connection, 10)
        grid = grid_plan(first, await add_beside(connection, first, range(10)), "index")
        for plan, needs in ((grid, ["grid"]), (render_plan(first, 1, OPTIONS), [])):
            render = await write_render(connection, Subject("alice"), plan, {})
            await enqueue_assembly(connection, render)
            found = select(tasks.c.needs).where(tasks.c.render_id == render, tasks.c.kind == "assemble")
            assert await connection.scalar(found) == needs


async def test_a_stored_grid_is_what_was_planned(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database, database.service_transaction() as connection:
        first = await add_dataset(connection, 100)
        beside = await add_beside(connection, first, range(50))
        plan = grid_plan(first, beside, "index")
        render = await write_render(connection, Subject("alice"), plan, {})
        planned = [segment async for segment in plan_segments(connection, plan)]
        for number, segment in enumerate(planned):
            assert (await load_segment_plan(connection, render, number))[0] == segment
        shown = await plan_output_frame(connection, plan, 60)
        assert [(ref.index, ref.panel, ref.key is None) for ref in shown.frames] == [(60, None, False), (60, 1, True)]
        assert len(shown.lead) % 2 == 0


async def test_every_dataset_of_a_grid_must_be_allowed(postgres_url: str) -> None:
    """Also for each task: the rules may have changed since."""
    rules = parse_sources("", "reelmill")
    async with fresh_database(postgres_url) as database, database.service_transaction() as connection:
        first = await add_dataset(connection, 10)
        plain = await write_render(connection, Subject("alice"), render_plan(first, 1, OPTIONS), {})
        assert await require_sources(connection, plain, rules), "nothing of it was begun"
        await mark_running(connection, plain)
        assert not await require_sources(connection, plain, rules)
        plan = grid_plan(first, await add_beside(connection, first, range(5)), "index")
        grid = await write_render(connection, Subject("alice"), plan, {})
        with pytest.raises(SourceForbidden):
            await require_sources(connection, grid, rules)
        with pytest.raises(SourceForbidden):
            await require_planned_sources(connection, plan, rules)
