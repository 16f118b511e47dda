"""A schema is current when all of it is there."""

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from service.jobs import queue
from service.store.schema import is_current, migrate
from tests.support.servers.databases import empty_database

pytestmark = pytest.mark.anyio


class Died(Exception):
    """Stands for a process that ends here."""


async def test_a_schema_without_its_queue_is_not_current(postgres_url: str) -> None:
    async def dies(_connection: AsyncConnection) -> None:
        raise Died

    async with empty_database(postgres_url) as url:
        assert not await is_current(url)
        with pytest.raises(Died):
            await migrate(url, dies)
        assert not await is_current(url), "whoever starts next would leave it as it is"
        await migrate(url, queue.install)
        assert await is_current(url)
