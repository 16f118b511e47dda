"""Requirement: FastAPI Service Architecture."""

import asyncio
import time
from typing import Any

import httpx

from service import config
from tests.specification.scenario import scenario
from tests.support.data.footage import frame_jpeg
from tests.support.patience import PATIENCE_S
from tests.support.processes import api as steps
from tests.support.processes.clean_environment import clean_environment
from tests.support.processes.running_service import RunningService


@scenario("FastAPI service startup")
def test_fastapi_service_startup(service: RunningService) -> None:
    with clean_environment():
        assert config.load().process.port == 5003, "the default"
    docs = httpx.get(f"{service.url}/docs", trust_env=False)
    assert docs.status_code == 200 and "swagger" in docs.text.lower()
    health = httpx.get(f"{service.url}/health", trust_env=False)
    assert health.status_code == 200
    assert {health.json()["checks"][name]["status"] for name in ("database", "object_store")} == {"ok"}


@scenario("Request validation with Pydantic")
def test_request_validation_with_pydantic(service: RunningService) -> None:
    with service.client("alice", "agent:ask", "query:run", "catalog:read") as alice:
        good = alice.post("/api/agent/query", json={"query": "how many experiments are there?"})
        assert good.status_code == 200, good.text
        assert good.json()["answer"]
        for body, code in (({}, "missing"), ({"query": 7}, "string_type")):
            bad = alice.post("/api/agent/query", json=body)
            (place,) = bad.json()["errors"]
            assert (bad.status_code, place["pointer"], place["code"]) == (422, "#/query", code)


@scenario("Async request handling")
def test_async_request_handling(service: RunningService) -> None:
    """While an event stream is open and a render is under way, many clients are answered, and the stream stays open."""
    with service.client() as alice:
        dataset = steps.make_dataset(alice, {f"f{n:03d}.jpg": frame_jpeg(n, (320, 240)) for n in range(120)})
        body = {"experiment_id": dataset["experiment_id"], "decimation_factor": 1, "fps": 30, "scale": 6}
        job = alice.post("/api/videos/generate", json=body).raise_for_status().json()["job_id"]
        answers, told_meanwhile = asyncio.run(_send_many(service, job))
        assert answers == [200] * len(answers) and len(answers) == 200
        assert told_meanwhile, "the stream was served at the same time"
        assert steps.wait_until_ended(alice, job)["status"] == "succeeded"


async def _send_many(service: RunningService, job: str) -> tuple[list[int], list[str]]:
    headers = {"Authorization": f"Bearer {service.token('alice', ('catalog:read', 'videos:read'))}"}
    told: list[str] = []
    async with httpx.AsyncClient(base_url=service.url, headers=headers, timeout=60, trust_env=False) as client:
        follower = asyncio.create_task(_follow_events(client, job, told))
        requests = [client.get("/api/experiments") for _ in range(100)] + [client.get("/health") for _ in range(100)]
        answers = [answer.status_code for answer in await asyncio.gather(*requests)]
        until = time.monotonic() + PATIENCE_S
        while not told and time.monotonic() < until:
            await asyncio.sleep(0.05)
        follower.cancel()
    return answers, told


async def _follow_events(client: httpx.AsyncClient, job: str, told: list[str]) -> Any:
    async with client.stream("GET", f"/api/videos/{job}/events") as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data:"):
                told.append(line)  # noqa: PERF401 (seen while the stream goes on)
