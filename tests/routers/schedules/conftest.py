"""Alice has a dataset with a frame for every twelve hours of 2028, and the scopes to make schedules of it."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import RowMapping, select, text

from service.plan.facts import RenderLimits
from service.routers.http.dependencies import Resources
from service.store.schedules.tables import schedule_runs
from tests.support.data.database_rows import add_dataset
from tests.support.processes.catalogue_api import CatalogueApi, catalogue_api

LEAP_YEAR = datetime(2028, 1, 1, tzinfo=UTC)
# Some days more before and after the year.
FIRST_FRAME, FRAMES = LEAP_YEAR - timedelta(days=7), 2 * 387
ADD_FRAMES = """
    INSERT INTO frames (dataset_id, index, number, key, size, etag, captured_at)
    SELECT :dataset, n, n, :prefix || n || '.jpg', 100, n::text, CAST(:first AS timestamptz) + n * interval '12 hours'
    FROM generate_series(0, :count - 1) AS n
"""
SET_SPAN = "UPDATE datasets SET frame_count = :count, captured_from = :first, captured_to = :last WHERE id = :dataset"


@dataclass(frozen=True)
class Scheduled:
    """The API with the dataset, and what a schedule asks for."""

    api: CatalogueApi
    alice: httpx.AsyncClient
    request: dict[str, Any]

    @property
    def resources(self) -> Resources:
        resources: Resources = self.api.app.state.resources
        return resources

    def limited(self, max_queued: int) -> Resources:
        """The same with so many places for unfinished renders."""
        return replace(self.resources, limits=RenderLimits.model_construct(max_queued=max_queued))

    async def make(self, **fields: Any) -> dict[str, Any]:
        body = {"name": "s", "request": self.request, "cron": "0 6 * * *"} | fields
        response = await self.alice.post("/api/schedules", json=body)
        assert response.status_code == 201, response.text
        made: dict[str, Any] = response.json()
        return made

    async def execute(self, statement: str, **values: Any) -> Any:
        async with self.api.database.service_transaction() as connection:
            return await connection.execute(text(statement), values)

    async def rows(self) -> list[RowMapping]:
        """All runs, of each schedule in their order."""
        async with self.api.database.service_transaction() as connection:
            query = select(schedule_runs).order_by(schedule_runs.c.schedule_id, schedule_runs.c.number)
            return list((await connection.execute(query)).mappings())

    async def listed(self, schedule: str) -> list[dict[str, Any]]:
        """Its runs as the API lists them."""
        runs: list[dict[str, Any]] = (await self.alice.get(f"/api/schedules/{schedule}/runs")).raise_for_status().json()
        return runs


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def catalogue(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[CatalogueApi]:
    async with catalogue_api(postgres_url, tmp_path_factory.mktemp("home")) as api:
        yield api


@pytest.fixture
async def scheduled(catalogue: CatalogueApi, log_lines: Callable[[], Any]) -> AsyncIterator[Scheduled]:
    """Nothing of the tests before is left."""
    async with catalogue.database.service_transaction() as connection:
        await connection.execute(text("DELETE FROM experiments"))
        dataset = await add_dataset(connection, 0)
        facts = {"dataset": dataset.id, "first": FIRST_FRAME, "count": FRAMES}
        await connection.execute(text(ADD_FRAMES), facts | {"prefix": dataset.prefix})
        await connection.execute(text(SET_SPAN), facts | {"last": FIRST_FRAME + FRAMES * timedelta(hours=12)})
    request = {"experiment_id": str(dataset.experiment_id), "decimation_factor": 1, "fps": 10}
    scopes = ("videos:read", "videos:render", "catalog:read", "catalog:write")
    async with catalogue.client("alice", *scopes) as alice:
        yield Scheduled(catalogue, alice, request)
