"""One test for each scenario of specification.md, through HTTP, over real PostgreSQL and a real object store."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes.api_process import ApiProcess, api_process
from tests.support.servers.databases import fresh_database


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """A migrated database of the test's own."""
    with asyncio.Runner() as runner:
        context = fresh_database(postgres_url)
        yield runner.run(context.__aenter__()).url
        runner.run(context.__aexit__(None, None, None))


@pytest.fixture
def api(database_url: str, tmp_path: Path) -> Iterator[ApiProcess]:
    """An API process on a database that a test may harm."""
    with api_process(database_url, tmp_path) as running:
        yield running
