"""SIGTERM to a real API process: requests in flight finish, event streams are closed, then the process exits."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from service.store.database import Database
from service.store.objects.keys import upload_prefix
from tests.support.data.database_rows import add_dataset, add_render
from tests.support.processes.api_process import ApiProcess, api_process
from tests.support.processes.running_service import SCOPES
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def running_api(postgres_url: str, home: Path) -> AsyncIterator[tuple[ApiProcess, Database]]:
    async with fresh_database(postgres_url) as database:
        with api_process(database.url, home) as api:
            yield api, database


async def wait_exit(api: ApiProcess) -> int:
    return await asyncio.to_thread(api.process.wait, 30)


async def test_event_streams_are_told(postgres_url: str, tmp_path: Path) -> None:
    async with running_api(postgres_url, tmp_path) as (api, database), api.async_client("alice", *SCOPES) as client:
        async with database.service_transaction() as connection:
            render = await add_render(connection, await add_dataset(connection, 8))
        lines = []
        async with client.stream("GET", f"/api/videos/{render}/events") as stream:
            async for line in stream.aiter_lines():
                lines.append(line)
                if line == "event: status":
                    api.process.terminate()
        events = [line[7:] for line in lines if line.startswith("event: ")]
        assert events == ["status", "stopping"]
        assert any(line.startswith("retry: ") for line in lines)
        assert await wait_exit(api) == 0


async def test_a_request_under_way_is_answered(postgres_url: str, tmp_path: Path) -> None:
    async with running_api(postgres_url, tmp_path) as (api, database), api.async_client("alice", *SCOPES) as client:
        async with database.service_transaction() as connection:
            dataset = await add_dataset(connection, 0)
            area = upload_prefix(dataset.experiment_id, dataset.id)
            await connection.execute(text("UPDATE datasets SET prefix = :area"), {"area": area})
        half_sent, go_on = asyncio.Event(), asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield b"a" * 1000
            half_sent.set()
            await go_on.wait()
            yield b"b" * 1000

        upload = asyncio.create_task(client.put(f"/api/datasets/{dataset.id}/objects/f.jpg", content=slowly()))
        await half_sent.wait()
        api.process.terminate()
        await wait_until_refused(api.url)
        go_on.set()
        answer = await upload
        assert (answer.status_code, answer.json()["size"]) == (200, 2000)
        assert await wait_exit(api) == 0
        assert (tmp_path / "objects" / "reelmill" / area / "f.jpg").read_bytes() == b"a" * 1000 + b"b" * 1000


async def wait_until_refused(url: str) -> None:
    """Wait until no new connection is accepted."""
    async with asyncio.timeout(10):
        while True:
            try:
                async with httpx.AsyncClient(trust_env=False) as client:
                    await client.get(f"{url}/health/live")
            except httpx.TransportError:
                return
            await asyncio.sleep(0.02)


async def test_what_is_no_http_is_a_problem_too(postgres_url: str, tmp_path: Path) -> None:
    async with running_api(postgres_url, tmp_path) as (api, _):
        host, _, port = api.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n")
        answer = (await reader.read()).decode()
        writer.close()
        assert answer.startswith("HTTP/1.1 400") and "application/problem+json" in answer
        assert '"type": "/problems/bad-request"' in answer
        async with api.async_client("alice", *SCOPES) as client:
            upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x" * 24}
            response = await client.get("/api/nothing", headers=upgrade | {"Sec-WebSocket-Version": "13"})
            assert (response.status_code, response.json()["type"]) == (404, "/problems/not-found")
