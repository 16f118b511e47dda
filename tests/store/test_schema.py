"""A schema is current when all of it is there."""

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from service.store.database import async_url
from service.store.schema import is_current, migrate
from tests.support.servers.databases import empty_database

pytestmark = pytest.mark.anyio


async def test_a_schema_is_current_when_all_of_it_is_there(postgres_url: str) -> None:
    async with empty_database(postgres_url) as url:
        assert not await is_current(url)
        await migrate(url)
        assert await is_current(url)
        engine = create_async_engine(async_url(url))
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        await engine.dispose()
        assert not await is_current(url), "whoever starts next upgrades it"
