"""The facts of a render are read as the caller may see them, and only those that the request needs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text, update

from service.ids import Subject, new_uuid
from service.plan.facts import CapturedFrames, ClusterCapabilities, RenderLimits
from service.plan.request import RenderRequest
from service.plan.segments import FrameRangeSpec
from service.store.database import Caller
from service.store.renders.facts import read_render_facts
from service.store.tables import datasets, experiments
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
