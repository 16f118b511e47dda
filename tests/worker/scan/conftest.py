"""One dataset to scan."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.data.dataset_folder import DatasetFolder
from tests.support.servers.databases import fresh_database


@pytest.fixture
async def lab(postgres_url: str, tmp_path: Path) -> AsyncIterator[DatasetFolder]:
    async with fresh_database(postgres_url) as database:
        lab = DatasetFolder(database, tmp_path)
        await lab.create()
        yield lab
