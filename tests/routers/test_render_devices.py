"""Where a render runs, as it is told and as it is kept: by what live workers have proven, in a real database."""

from typing import Any

import httpx
import pytest

from service.ids import new_uuid
from service.plan.render_plan import CPU_ONLY, Backend
from service.store import device_rows, renders, worker_rows
from tests.support.catalogue import add_dataset
from tests.support.catalogue_api import CatalogueApi
from tests.support.device_rows import capability, device

pytestmark = pytest.mark.anyio
CARD = [("decode", "jpeg"), ("transform", "nv12")]


async def card(api: CatalogueApi, state: str = "ok", nvenc: dict[str, Any] | None = None) -> None:
    """A live worker of four slots with one GPU."""
    worker = new_uuid()
    rows = [capability("cuda:0", stage=stage, what=what, state=state, reason="hang", rate=5e4) for stage, what in CARD]
    encode = {"state": "absent", "reason": "none"} | (nvenc or {})
    rows.append(capability("cuda:0", stage="encode", what="h264", **encode))
    async with api.database.service() as connection:
        await worker_rows.beat(connection, worker, "w", 4, "1")
        await device_rows.write(connection, worker, [device("cuda:0")], rows)


async def ask(api: CatalogueApi, alice: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    async with api.database.service() as connection:
        dataset = await add_dataset(connection, 4)
    body = {"experiment_id": str(dataset["experiment_id"]), "decimation_factor": 1, "fps": 30}
    return await alice.post("/api/videos/generate", json=body | fields)


async def family(api: CatalogueApi, answer: httpx.Response) -> Backend:
    async with api.database.service() as connection:
        row = await renders.get(connection, answer.json()["job_id"])
    assert row is not None
    return renders.options_of(row).family


async def test_without_a_gpu_nothing_changes(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    answer = await ask(api, alice)
    assert answer.json()["plan"]["decode"] == {
        "device": "cpu",
        "reason": "no CUDA device is proven on a live worker",
    }
    assert await family(api, answer) == CPU_ONLY
    refused = await ask(api, alice, device="cuda")
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/device")


async def test_a_proven_gpu_is_in_the_plan_of_the_job(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    await card(api)
    answer = await ask(api, alice)
    plan = answer.json()["plan"]
    assert [plan[stage]["device"] for stage in ("fetch", "decode", "transform", "encode")] == [
        "cpu",
        "cuda:0",
        "cuda:0",
        "cpu",
    ]
    assert "cuda:0 encode h264: none" in plan["encode"]["reason"]
    assert await family(api, answer) == Backend("cuda", "cpu")


async def test_the_cpu_s_render_and_the_gpu_s_are_two(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    """Their bytes may differ, so one is never given out for the other."""
    await card(api)
    async with api.database.service() as connection:
        dataset = await add_dataset(connection, 4)
    body = {"experiment_id": str(dataset["experiment_id"]), "decimation_factor": 1, "fps": 30}
    wishes = ("auto", "cpu", "cuda", "cpu")
    answers = [await alice.post("/api/videos/generate", json=body | {"device": wish}) for wish in wishes]
    jobs = [answer.json()["job_id"] for answer in answers]
    assert jobs[0] == jobs[2] != jobs[1] == jobs[3]


async def test_a_quarantined_gpu_is_named_to_who_asks_for_it(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    await card(api, state="quarantined")
    refused = await ask(api, alice, device="cuda")
    assert refused.status_code == 422
    assert "cuda:0 decode jpeg: hang" in refused.json()["errors"][0]["detail"]
    answer = await ask(api, alice, dry_run=True)
    assert answer.json()["plan"]["decode"] == {"device": "cpu", "reason": "cuda:0 decode jpeg: hang"}


async def test_a_small_picture_is_not_for_nvenc(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    await card(api, nvenc={"state": "ok", "reason": "", "rate": 5e4})
    answer = await ask(api, alice, device="cuda")
    assert "not at this size" in answer.json()["plan"]["encode"]["reason"]
