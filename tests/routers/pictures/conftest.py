"""The API in this process with a running worker, for all tests of a file, and a caller who may do everything."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.routers.pictures.renders import SCOPES, worker
from tests.support.processes.catalogue_api import CatalogueApi, catalogue_api


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def api(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[CatalogueApi]:
    async with catalogue_api(postgres_url, tmp_path_factory.mktemp("home"), sources="camera") as api, worker(api):
        yield api


@pytest.fixture
async def alice(api: CatalogueApi) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client("alice", *SCOPES) as client:
        yield client
