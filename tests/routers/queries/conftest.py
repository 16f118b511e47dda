"""One database for all tests: alice owns much, bob a little, and neither may see what the other owns."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from sqlalchemy import insert, text, update

from service.store.tables import experiments, sources
from tests.support.data.database_rows import add_dataset, add_render
from tests.support.processes.catalogue_api import ALICE_FRAME_COUNT, QUERY_SCOPE, CatalogueApi, catalogue_api


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def api(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[CatalogueApi]:
    """alice has a private dataset with 200 000 frames, a source and a render; bob a private one with 3 frames."""
    async with catalogue_api(postgres_url, tmp_path_factory.mktemp("home")) as api:
        async with api.database.service_transaction() as connection:
            dataset = await add_dataset(connection, 0)
            many = """INSERT INTO frames (dataset_id, index, number, key, size, etag)
                SELECT :id, n, n, 'secret/' || n, 100, 'e' FROM generate_series(0, :last) n"""
            await connection.execute(text(many), {"id": dataset.id, "last": ALICE_FRAME_COUNT - 1})
            source = {"dataset_id": dataset.id, "number": 0, "key": "secret.mp4", "size": 1, "etag": "e", "pts": b""}
            await connection.execute(insert(sources).values(**source, first_index=0, frame_count=0))
            await add_render(connection, replace(dataset, frame_count=3))
            values = {"name": "alice's secret", "shared_with": ["carol"]}
            await connection.execute(
                update(experiments).where(experiments.c.id == dataset.experiment_id).values(**values)
            )
            await add_dataset(connection, 3, owner="bob")
        async with api.database.engine.connect() as connection:
            await (await connection.execution_options(isolation_level="AUTOCOMMIT")).execute(text("ANALYZE"))
        yield api


@pytest.fixture(scope="module")
async def alice(api: CatalogueApi) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client("alice", QUERY_SCOPE) as client:
        yield client


@pytest.fixture(scope="module")
async def bob(api: CatalogueApi) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client("bob", QUERY_SCOPE) as client:
        yield client
