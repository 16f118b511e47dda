"""GET /health reports the state of each service, within its time limit."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import delete

from service.processes.app import create_app
from service.routers.settings import HttpSettings
from service.store.schema import migrate
from service.store.tables import workers
from service.store.workers import record_heartbeat
from tests.routers.conftest import resources

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def health_client(**more: Any) -> AsyncIterator[httpx.AsyncClient]:
    at = resources(**more)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app(at)), base_url="http://test") as client:
        yield client
    await at.database.close()


async def test_without_a_database() -> None:
    async with health_client() as client:
        response = await client.get("/health")
        body = response.json()
        assert (response.status_code, body["status"]) == (503, "unhealthy")
        assert {name: check["status"] for name, check in body["checks"].items()} == {
            "database": "failed",
            "object_store": "ok",
            "ollama": "absent",
            "workers": "failed",
            "devices": "failed",
        }
        assert all(check["detail"] and check["latency_ms"] >= 0 for check in body["checks"].values())
        assert "127.0.0.1" not in response.text
        assert (await client.get("/health/ready")).status_code == 503
        assert (await client.get("/health/live")).json() == {"status": "alive"}


async def test_with_a_database(postgres_url: str) -> None:
    await migrate(postgres_url)
    at = resources(postgres_url)
    async with at.database.service_transaction() as connection:
        await connection.execute(delete(workers))
    async with health_client(database_url=postgres_url) as client:
        response = await client.get("/health")
        assert (response.status_code, response.json()["status"]) == (200, "degraded")
        async with at.database.service_transaction() as connection:
            await record_heartbeat(connection, uuid4(), "bench", 4, "0.0.0")
        body = (await client.get("/health")).json()
        assert body["status"] == "healthy" and body["checks"]["workers"]["detail"] == "4 slots"
        assert (await client.get("/health/ready")).json()["status"] == "healthy"
    await at.database.close()


async def test_a_configured_ollama_that_hangs_is_given_up() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.read()  # no answer: who waits for one goes first
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    settings = HttpSettings.model_construct(health_timeout_s=0.3)
    async with health_client(ollama_host=host, http=settings) as client:
        check = (await client.get("/health")).json()["checks"]["ollama"]
        assert check["status"] == "failed" and check["detail"] == "no answer within 0.3 s"
    server.close()


async def test_a_database_that_many_wait_for_is_well(postgres_url: str) -> None:
    await migrate(postgres_url)
    at = resources(postgres_url)
    async with contextlib.AsyncExitStack() as taken:
        for _ in range(at.database.engine.pool.size() + 5):  # type: ignore[attr-defined]
            await taken.enter_async_context(at.database.service_transaction())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app(at)), base_url="http://test") as client:
            response = await client.get("/health/ready")
    await at.database.close()
    assert (response.status_code, response.json()["checks"]["database"]["status"]) == (200, "ok")
