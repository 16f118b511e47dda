"""GET /health reports the state of each service, within its time limit."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import delete

from service.identity.tokens import issue_token
from service.plan.render_plan import PIPELINE_VERSION
from service.processes.app import create_app
from service.routers.ops import health as health_module
from service.routers.settings import HttpSettings
from service.store.objects.files import FileObjectStore
from service.store.schema import migrate
from service.store.tables import workers
from service.store.workers import record_heartbeat, update_facts
from tests.routers.conftest import SECRET, EmptyStore, resources

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def health_client(**more: Any) -> AsyncIterator[httpx.AsyncClient]:
    at = resources(**more)
    headers = {"Authorization": f"Bearer {issue_token(SECRET, 'operator', ['ops:read'], timedelta(minutes=5))}"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(at)), base_url="http://test", headers=headers
    ) as client:
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
            "space": "failed",
            "consistency": "failed",
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
        async with at.database.service_transaction() as connection:
            await record_heartbeat(connection, old := uuid4(), "old:1", 2, "0.0.0")
            await update_facts(connection, old, {"pipeline": int(PIPELINE_VERSION) - 1})
        check = (await client.get("/health")).json()["checks"]["workers"]
        assert check["status"] == "degraded"
        assert check["detail"] == "6 slots; of an older version, take no new renders: old:1"
    await at.database.close()


async def test_little_space_is_told_before_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "LOW_SPACE_BYTES", 1 << 60)
    async with health_client(objects=FileObjectStore(tmp_path, "reelmill")) as client:
        check = (await client.get("/health")).json()["checks"]["object_store"]
    assert check["status"] == "degraded" and "MiB are free in REELMILL_HOME" in check["detail"]


async def test_a_configured_ollama_that_hangs_is_given_up() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):  # given up before it was asked
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


NOBODY = {"Authorization": ""}


class CountingStore(EmptyStore):
    """Counts how often it was tested; fails if it is `away`."""

    tested, away = 0, False

    async def check(self) -> None:
        self.tested += 1
        await asyncio.sleep(0.01)
        if self.away:
            raise OSError("s3.internal:9000 refused")


@contextlib.asynccontextmanager
async def anonymous_client(store: EmptyStore, **more: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with health_client(**more) as client:
        del client.headers["Authorization"]
        app = client._transport.app  # type: ignore[attr-defined]
        app.state.resources = dataclasses.replace(app.state.resources, objects=store)
        yield client


async def test_a_caller_without_a_token_is_told_little(postgres_url: str) -> None:
    await migrate(postgres_url)
    async with anonymous_client(CountingStore(), database_url=postgres_url) as client:
        answer = await client.get("/health")
        ok = {"status": "ok"}
        assert (answer.status_code, answer.json()["checks"]) == (
            200,
            {"database": ok, "object_store": ok, "ollama": {"status": "absent"}},
        )
        assert set(answer.json()) == {"status", "checks"}
        ready = (await client.get("/health/ready")).json()
        assert ready == {"status": "healthy", "checks": {"database": ok, "object_store": ok}}


async def test_a_caller_without_a_token_is_told_what_failed() -> None:
    store = CountingStore()
    store.away = True
    async with anonymous_client(store) as client:
        for path in ("/health", "/health/ready"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["status"]) == (503, "unhealthy")
            assert answer.json()["checks"]["object_store"] == {
                "status": "failed",
                "detail": "not reachable; the log has the reason",
            }
            assert "s3.internal" not in answer.text and "127.0.0.1" not in answer.text


async def test_many_callers_without_a_token_cost_one_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "MAX_AGE_S", 60.0)  # a second may pass on a slow machine
    store = CountingStore()
    async with anonymous_client(store) as client:
        await asyncio.gather(*(client.get("/health") for _ in range(50)))
        await asyncio.gather(*(client.get("/health") for _ in range(50)))
        assert store.tested == 1


async def test_who_may_see_the_details(token: Callable[..., dict[str, str]]) -> None:
    async with anonymous_client(CountingStore()) as client:
        for scopes, details in (((), False), (("catalog:read",), False), (("ops:read",), True), (("admin",), True)):
            body = (await client.get("/health", headers=token(*scopes))).json()
            assert ("workers" in body["checks"], "version" in body) == (details, details), scopes
        for bad in ({"Authorization": "Bearer x.y.z"}, NOBODY):
            assert (await client.get("/health", headers=bad)).status_code == 401
        assert (await client.get("/health/live", headers=NOBODY)).status_code == 200
