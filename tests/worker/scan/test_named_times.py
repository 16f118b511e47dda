"""Frames whose names are times: nothing is missing between digits, but between captures."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from service.plan.facts import RenderFacts, RenderLimits
from service.plan.render_plan import FramePolicy, FrameRef, Gaps
from service.plan.requests.planning import RenderPlan, plan
from service.plan.requests.request import RenderRequest
from service.plan.segments import Selection
from service.store.catalog import datasets
from service.store.catalog.frames import stream_frames
from tests.support.data import media
from tests.support.data.dataset_folder import JPEG, DatasetFolder

pytestmark = pytest.mark.anyio

START = datetime(2024, 6, 1, 22, 30, tzinfo=UTC)
LIMITS = RenderLimits.model_construct(max_frames=1_000_000, max_pixels=100_000_000, max_queued=20)


def write_minutes(lab: DatasetFolder, minutes: Iterable[int], layout: str = "image-%Y%m%d%H%M%S.jpg") -> None:
    for minute in minutes:
        lab.write_at((START + timedelta(minutes=minute)).strftime(layout), JPEG)


async def planned(lab: DatasetFolder, missing: FramePolicy = "hold", gaps: Gaps = "numbers") -> RenderPlan:
    async with lab.database.service_transaction() as connection:
        dataset = await datasets.get(connection, lab.id)
    assert dataset is not None
    request = RenderRequest(dataset.experiment_id, 1, fps=30, missing=missing, gaps=gaps)
    return plan(request, RenderFacts(LIMITS, datasets=(dataset,)))


async def refs_of(lab: DatasetFolder, render: RenderPlan, selection: Selection | None = None) -> list[FrameRef]:
    async with lab.database.service_transaction() as connection:
        found = stream_frames(connection, render.dataset, selection or render.selection, render.gaps)
        return [ref async for ref in found]


async def test_a_picture_a_minute_has_no_gaps_across_hours_and_midnight(lab: DatasetFolder) -> None:
    write_minutes(lab, range(130))
    summary, row = await lab.scan(), await lab.row()
    assert (summary.gap_frames, row["gaps"], row["number_first"], row["number_stride"]) == (0, [], None, None)
    assert (row["captured_from"], row["captured_to"]) == (START, START + timedelta(minutes=129))
    assert row["cadence"] == {"interval_us": 60_000_000, "from_names": True, "missing": 0, "pauses": 0, "gaps": []}
    assert {frame["number"] for frame in await lab.rows()} == {None}
    for missing in ("skip", "hold", "fail"):
        render = await planned(lab, missing)  # type: ignore[arg-type]
        assert render.selection.output_count() == 130
    assert all(ref.key for ref in await refs_of(lab, await planned(lab)))


async def test_gaps_by_interval_are_shown_on_request_and_nights_never(lab: DatasetFolder) -> None:
    kept = [*range(10), *range(12, 20), *range(620, 630)]
    write_minutes(lab, kept, "%Y-%m-%d/%H-%M-%S.jpg")
    await lab.scan()
    cadence = (await lab.row())["cadence"]
    assert (cadence["missing"], cadence["pauses"], cadence["gaps"]) == (2, 1, [{"after_index": 9, "count": 2}])
    assert (await planned(lab)).selection.output_count() == 28
    render = await planned(lab, gaps="interval")
    assert render.key != (await planned(lab)).key
    assert [ref.index for ref in await refs_of(lab, render) if ref.key is None] == [10, 11]
    part = await refs_of(lab, render, Selection(1, 30, 3))
    assert [ref.index for ref in part] == list(range(1, 30, 3))
    assert [ref.index for ref in part if ref.key is None] == [10]
    assert (await planned(lab, "skip", "interval")).key == (await planned(lab, "skip")).key
    with pytest.raises(Exception, match="after index 9 is missing"):
        await planned(lab, "fail", "interval")


def _positions(steps: list[int]) -> list[int]:
    """With an interval of 1: a step of up to 101 leaves room for what is missing, a longer one is a pause."""
    places = [0]
    for step in steps:
        places.append(places[-1] + (step if step <= 101 else 1))
    return places


@pytest.mark.parametrize("odd", [(2, 3), (101,), (102,), (100, 1, 5), ()], ids=str)
async def test_the_sql_places_frames_as_defined(lab: DatasetFolder, odd: tuple[int, ...]) -> None:
    steps = [*[1] * 12, *odd, *[1] * 12]
    write_minutes(lab, [sum(steps[:count]) for count in range(len(steps) + 1)])
    await lab.scan()
    missing = _positions(steps)[-1] + 1 - (len(steps) + 1)
    assert (await lab.row())["cadence"]["missing"] == missing
    found = await refs_of(lab, await planned(lab, gaps="interval"))
    assert [ref.index for ref in found if ref.key] == _positions(steps)
    assert [ref.index for ref in found] == list(range(len(steps) + 1 + missing))


async def test_times_of_the_files_come_before_those_of_their_names(lab: DatasetFolder) -> None:
    exif = media.oriented_jpeg(media.numbered_picture(1), 1, "2020:01:02 03:04:05")
    lab.write_at("image-20240601134510.jpg", exif)
    lab.write_at("image-20240601134610.jpg", JPEG)
    await lab.scan()
    first, second = [frame["captured_at"] for frame in await lab.rows()]
    assert first == datetime(2020, 1, 2, 1, 4, 5, 250_000, tzinfo=UTC), "it has an offset of two hours"
    assert second == datetime(2024, 6, 1, 13, 46, 10, tzinfo=UTC)


async def test_counters_keep_their_gaps(lab: DatasetFolder) -> None:
    for number in (*range(20_240_601, 20_240_640), *range(20_240_645, 20_240_660)):
        lab.write_at(f"{number}.jpg", JPEG)
    await lab.scan()
    row = await lab.row()
    assert (row["gap_frames"], row["number_first"], row["captured_from"], row["cadence"]) == (5, 20_240_601, None, None)
    render = await planned(lab)
    assert (render.gaps, render.selection.output_count()) == ("numbers", 59)
    assert (await planned(lab, gaps="none")).selection.output_count() == 54
    with pytest.raises(Exception, match="not captured at one interval"):
        await planned(lab, gaps="interval")


async def test_a_scan_again_of_fewer_frames(lab: DatasetFolder) -> None:
    write_minutes(lab, range(5))
    await lab.scan()
    for path in sorted(lab.folder.iterdir())[1:]:
        path.unlink()
    await lab.scan()
    row = await lab.row()
    assert (row["frame_count"], row["cadence"], row["captured_from"]) == (1, None, START)
    async with lab.database.service_transaction() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM frames")) == 1
