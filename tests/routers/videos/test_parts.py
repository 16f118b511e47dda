"""The status of one render says which frames are made, reused, being made, and to be made."""

from typing import Any

import httpx
import pytest
from sqlalchemy import text

from tests.support.data.database_rows import add_dataset
from tests.support.processes.catalogue_api import CatalogueApi

pytestmark = pytest.mark.anyio
FRAMES = 600


async def parts_after(api: CatalogueApi, alice: httpx.AsyncClient, job: str, change: str = "SELECT 1") -> list[Any]:
    async with api.database.service_transaction() as connection:
        await connection.execute(text(change), {"render": job} if ":render" in change else {})
    status = (await alice.get(f"/api/videos/{job}")).raise_for_status().json()
    return [(part["first"], part["frames"], part["state"]) for part in status["parts"]]


async def test_segments_of_one_state_are_one_part(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    async with api.database.service_transaction() as connection:
        dataset = await add_dataset(connection, FRAMES)
    body = {"experiment_id": str(dataset.experiment_id), "decimation_factor": 1, "fps": 30}
    job = (await alice.post("/api/videos/generate", json=body)).raise_for_status().json()["job_id"]
    assert await parts_after(api, alice, job) == [(0, FRAMES, "pending")]
    set_state = "UPDATE tasks SET state = '{}' WHERE render_id = :render AND kind = 'segment' AND number = {}"
    running = await parts_after(api, alice, job, set_state.format("running", 1))
    assert [state for _first, _frames, state in running] == ["pending", "making", "pending"]
    first = running[1][0]
    assert running[1] == (first, running[1][1], "making") and first == running[0][1] > 0
    await parts_after(api, alice, job, set_state.format("running", 0))
    done = await parts_after(api, alice, job, set_state.format("succeeded", 0))
    assert done[:2] == [(0, first, "made"), running[1]]
    assert sum(frames for _first, frames, _state in done) == FRAMES
    reused = "UPDATE segments SET reused = true WHERE render_id = :render AND number = 0"
    assert (await parts_after(api, alice, job, reused))[0] == (0, first, "reused")
    (listed,) = [each for each in (await alice.get("/api/videos")).json() if each["job_id"] == job]
    assert "parts" not in listed
