"""A real API, database, queue and slot, and a dataset of a bucket of the laboratory."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.client.datasets import AsyncDataset
from service.client.mill import AsyncReelmill
from tests.client.mills import open_mill
from tests.support.data.footage import frame_jpeg
from tests.support.processes.catalogue_api import CatalogueApi, catalogue_api
from tests.support.processes.running_service import SCOPES
from tests.support.processes.supervisor import running_supervisor


@pytest.fixture
async def api(postgres_url: str, tmp_path: Path) -> AsyncIterator[CatalogueApi]:
    async with (
        catalogue_api(postgres_url, tmp_path, sources="lab") as api,
        running_supervisor(api.database, tmp_path, sources="lab"),
    ):
        yield api


@pytest.fixture
async def mill(api: CatalogueApi) -> AsyncIterator[AsyncReelmill]:
    """That of alice."""
    async with open_mill(api, "alice", *SCOPES) as mill:
        yield mill


@pytest.fixture
async def camera(api: CatalogueApi, mill: AsyncReelmill) -> AsyncDataset:
    """Six frames of long ago."""
    for number in range(6):
        await api.put(f"run 7/2020-03-01T06-00-0{number}Z.jpg", frame_jpeg(number), bucket="lab")
    experiment = await mill.experiments.create("run 7")
    dataset = await experiment.datasets.register("camera", "run 7/", bucket="lab")
    await dataset.wait_until_scanned()
    return dataset
