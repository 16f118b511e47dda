"""The facts of a render are read as the caller may see them, and only those that the request needs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, null, text, update

from service.ids import Subject, new_uuid
from service.plan.colour import Colour
from service.plan.facts import CapturedFrames, ClusterCapabilities, RenderLimits
from service.plan.requests.request import RenderRequest
from service.plan.segments import FrameRangeSpec
from service.store.database import Caller
from service.store.renders.facts import read_render_facts
from service.store.tables import datasets, experiments, sources
from tests.support.data.database_rows import add_dataset
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
LIMITS = RenderLimits()
ALICE = Caller(Subject("alice"))
MORNING = datetime(2026, 5, 4, 6, tzinfo=UTC)


async def test_everything_is_read_once(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            row = await add_dataset(connection, 10)
            await connection.execute(
                text("UPDATE frames SET captured_at = CAST(:morning AS timestamptz) + index * interval '1 minute'"),
                {"morning": MORNING},
            )
            span = {"captured_from": MORNING, "captured_to": MORNING + timedelta(minutes=9)}
            await connection.execute(update(datasets).values(**span))
            await connection.execute(update(experiments).values(metadata={"pixel_size_um": 2.5}))
        window = FrameRangeSpec(since=MORNING + timedelta(minutes=2), until=datetime(2026, 5, 4, 6, 5))
        request = RenderRequest(row.experiment_id, 1, fps=30, frames=window)
        facts = await read_render_facts(database, ALICE, request, LIMITS)
        assert facts.limits == LIMITS and facts.experiment_exists and facts.cluster == ClusterCapabilities()
        assert facts.pixel_size_um == 2.5
        (dataset,) = facts.datasets
        assert dataset == replace(row, captured=(span["captured_from"], span["captured_to"]))
        assert facts.captured == CapturedFrames(2, 4, 2, 4)
        refused = replace(request, frames=replace(window, start=1))
        assert (await read_render_facts(database, ALICE, refused, LIMITS)).captured is None


async def test_a_stranger_sees_nothing(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            row = await add_dataset(connection, 1)
        request = RenderRequest(row.experiment_id, 1, fps=30)
        facts = await read_render_facts(database, Caller(Subject("mallory")), request, LIMITS)
        assert (facts.experiment_exists, facts.datasets, facts.pixel_size_um) == (False, (), None)
        other = replace(request, dataset_id=new_uuid())
        assert (await read_render_facts(database, ALICE, other, LIMITS)).datasets == ()


async def test_colours_of_source_videos_in_their_order(postgres_url: str) -> None:
    """Each once; unreadable sources have none; a source of an older scan makes them unknown."""
    pq, sdr = ({"matrix": m, "primaries": m, "transfer": t, "range": 1} for m, t in ((9, 16), (1, 1)))
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            row = await add_dataset(connection, 1)
            await connection.execute(update(datasets).values(kind="video"))
            base = {"dataset_id": row.id, "key": "k", "size": 1, "etag": "e", "first_index": 0, "frame_count": 1}
            for number, (colour, problem) in enumerate([(None, "broken"), (pq, None), (sdr, None), (pq, None)]):
                more = {"number": number, "colour": colour, "problem": problem, "pts": b""}
                await connection.execute(insert(sources).values(base | more))
        request = RenderRequest(row.experiment_id, 1, fps=30)
        found = await read_render_facts(database, ALICE, request, LIMITS)
        assert found.colours == (Colour(9, 9, 16), Colour(1, 1, 1))
        async with database.service_transaction() as connection:
            await connection.execute(update(sources).where(sources.c.number == 2).values(colour=null()))
        assert (await read_render_facts(database, ALICE, request, LIMITS)).colours == ()
