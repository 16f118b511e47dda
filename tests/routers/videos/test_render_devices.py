"""The device of a render, in the response and in a real database, follows from the capabilities of live workers."""

from typing import Any

import httpx
import pytest

from service.ids import new_uuid
from service.plan.render_plan import CPU_ONLY, Backend, RenderOptions
from service.store import workers
from service.store.renders import queries
from tests.support.data.database_rows import add_dataset, capability_row, device_row
from tests.support.processes.catalogue_api import CatalogueApi

pytestmark = pytest.mark.anyio
GPU_CAPABILITIES = [("decode", "jpeg"), ("transform", "nv12")]


async def register_gpu(api: CatalogueApi, state: str = "ok", nvenc: dict[str, Any] | None = None) -> None:
    """Insert a live worker with four slots and one GPU."""
    worker = new_uuid()
    rows = [
        capability_row("cuda:0", stage=stage, what=what, state=state, reason="hang", rate=5e4)
        for stage, what in GPU_CAPABILITIES
    ]
    encode = {"state": "absent", "reason": "none"} | (nvenc or {})
    rows.append(capability_row("cuda:0", stage="encode", what="h264", **encode))
    async with api.database.service_transaction() as connection:
        await workers.record_heartbeat(connection, worker, "w", 4, "1")
        await workers.write_devices(connection, worker, [device_row("cuda:0")], rows)


async def request_render(api: CatalogueApi, alice: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    async with api.database.service_transaction() as connection:
        dataset = await add_dataset(connection, 4)
    body = {"experiment_id": str(dataset.experiment_id), "decimation_factor": 1, "fps": 30}
    return await alice.post("/api/videos/generate", json=body | fields)


async def render_backend(api: CatalogueApi, answer: httpx.Response) -> Backend:
    async with api.database.service_transaction() as connection:
        row = await queries.get_render(connection, answer.json()["job_id"])
    assert row is not None
    return RenderOptions.from_json(row["options"]).family


async def test_without_a_gpu_nothing_changes(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    answer = await request_render(api, alice)
    assert answer.json()["plan"]["decode"] == {
        "device": "cpu",
        "reason": "no CUDA device is proven on a live worker",
    }
    assert await render_backend(api, answer) == CPU_ONLY
    refused = await request_render(api, alice, device="cuda")
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/device")


async def test_a_proven_gpu_is_in_the_plan_of_the_job(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    await register_gpu(api)
    answer = await request_render(api, alice)
    plan = answer.json()["plan"]
    assert [plan[stage]["device"] for stage in ("fetch", "decode", "transform", "encode")] == [
        "cpu",
        "cuda:0",
        "cuda:0",
        "cpu",
    ]
    assert "cuda:0 encode h264: none" in plan["encode"]["reason"]
    assert await render_backend(api, answer) == Backend("cuda", "cpu")


async def test_the_cpu_s_render_and_the_gpu_s_are_two(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    """The bytes of the two devices may differ, so a render of one is not reused for the other."""
    await register_gpu(api)
    async with api.database.service_transaction() as connection:
        dataset = await add_dataset(connection, 4)
    body = {"experiment_id": str(dataset.experiment_id), "decimation_factor": 1, "fps": 30}
    wishes = ("auto", "cpu", "cuda", "cpu")
    answers = [await alice.post("/api/videos/generate", json=body | {"device": wish}) for wish in wishes]
    jobs = [answer.json()["job_id"] for answer in answers]
    assert jobs[0] == jobs[2] != jobs[1] == jobs[3]


async def test_a_quarantined_gpu_is_named_to_who_asks_for_it(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    await register_gpu(api, state="quarantined")
    refused = await request_render(api, alice, device="cuda")
    assert refused.status_code == 422
    assert "cuda:0 decode jpeg: hang" in refused.json()["errors"][0]["detail"]
    answer = await request_render(api, alice, dry_run=True)
    assert answer.json()["plan"]["decode"] == {"device": "cpu", "reason": "cuda:0 decode jpeg: hang"}


async def test_a_small_picture_is_not_for_nvenc(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    await register_gpu(api, nvenc={"state": "ok", "reason": "", "rate": 5e4})
    answer = await request_render(api, alice, device="cuda")
    assert "not at this size" in answer.json()["plan"]["encode"]["reason"]
