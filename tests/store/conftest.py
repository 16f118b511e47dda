"""A database and a folder of objects."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.store.objects.files import FileObjectStore
from tests.support.data.removable_objects import Store
from tests.support.servers.databases import fresh_database


@pytest.fixture
async def store(postgres_url: str, tmp_path: Path) -> AsyncIterator[Store]:
    async with fresh_database(postgres_url) as database:
        objects = FileObjectStore(tmp_path, "reelmill")
        await objects.check()
        yield Store(database, objects)
