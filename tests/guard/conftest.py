"""One migrated database for all tests of the guard, and the tables that the guard reflects from it."""

import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy import func, insert, update

from service.guard.guard import Guard
from service.guard.schema import Tables
from service.guard.settings import GuardSettings
from service.ids import new_uuid
from service.store.database import Database
from service.store.settings import DatabaseSettings
from service.store.tables import datasets, query_audit, sources
from tests.support.data.database_rows import add_dataset, add_render
from tests.support.servers.databases import fresh_database


@pytest.fixture(scope="session")
def guard_url(postgres_url: str) -> Iterator[str]:
    """Only the URL: connections belong to the event loop of a test."""
    with asyncio.Runner() as runner:
        fresh = fresh_database(postgres_url)
        database = runner.run(fresh.__aenter__())
        runner.run(_fill(database))
        yield database.url
        runner.run(fresh.__aexit__(None, None, None))


async def _fill(database: Database) -> None:
    """A few rows in every table, so that conditions are evaluated."""
    async with database.service_transaction() as connection:
        dataset = await add_dataset(connection, 5)
        await add_render(connection, dataset)
        source = {"dataset_id": dataset.id, "number": 0, "key": "a.mp4", "size": 1, "etag": "e", "pts": b""}
        await connection.execute(insert(sources).values(**source, first_index=0, frame_count=0))
        facts = {"formats": ["jpeg"], "sizes": [{"width": 64}], "captured_from": func.now()}
        await connection.execute(update(datasets).values(**facts))
        record = {"id": new_uuid(), "subject": "alice", "document": {}, "outcome": "answered", "elapsed_ms": 1.5}
        await connection.execute(insert(query_audit).values(**record))


@pytest.fixture(scope="session")
def tables(guard_url: str) -> Tables:
    async def reflect() -> Tables:
        database = Database(guard_url, DatabaseSettings.model_construct())
        try:
            return await Guard(database, GuardSettings.model_construct()).tables()
        finally:
            await database.close()

    return asyncio.run(reflect())
