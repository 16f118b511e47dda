"""The API in this process, and a caller who may do everything with pictures."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.routers.pictures.renders import SCOPES
from tests.support.processes.catalogue_api import CatalogueApi, catalogue_api


@pytest.fixture
async def api(postgres_url: str, tmp_path: Path) -> AsyncIterator[CatalogueApi]:
    async with catalogue_api(postgres_url, tmp_path, sources="camera") as api:
        yield api


@pytest.fixture
async def alice(api: CatalogueApi) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client("alice", *SCOPES) as client:
        yield client
