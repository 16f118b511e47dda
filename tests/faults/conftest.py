"""A real API, a real supervisor with a real slot process, a real database, and a folder of objects."""

from collections.abc import AsyncIterator

import pytest

from tests.support.data.footage import add_footage
from tests.support.processes.catalogue_api import SCOPES, catalogue_api
from tests.support.processes.finished_render import FPS, FRAMES, FinishedRender, read_files
from tests.support.processes.supervisor import running_supervisor


@pytest.fixture(scope="module")
async def service(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FinishedRender]:
    home = tmp_path_factory.mktemp("kept")
    async with catalogue_api(postgres_url, home) as api, running_supervisor(api.database, home):
        async with api.database.service_transaction() as connection:
            dataset = await add_footage(connection, home, FRAMES)
        body = {"experiment_id": str(dataset.experiment_id), "decimation_factor": 1, "fps": FPS}
        async with api.client("alice", *SCOPES, "videos:read", "videos:render") as client:
            yield FinishedRender(api, client, body | {"outputs": ["preview_strip", "keogram"]}, dataset, "", {})


@pytest.fixture
async def render(service: FinishedRender) -> FinishedRender:
    service.job = (await service.submit()).json()["job_id"]
    assert (await service.wait())["status"] == "succeeded"
    service.contents = service.contents or await read_files(service)
    await service.let_time_pass()
    return service
