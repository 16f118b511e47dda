"""SIGTERM to a real API process: requests in flight finish, event streams are closed, then the process exits."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from service.store.database import Database
from service.store.objects.keys import upload_prefix
from tests.support.data.database_rows import add_dataset, add_render
from tests.support.patience import PATIENCE_S
from tests.support.processes.api_process import ApiProcess, api_process, bearer
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
    async with running_api(postgres_url, tmp_path) as (api, database):
        async with database.service_transaction() as connection:
            dataset = await add_dataset(connection, 0)
            area = upload_prefix(dataset.experiment_id, dataset.id)
            await connection.execute(text("UPDATE datasets SET prefix = :area"), {"area": area})
        upload = await begin_upload(api, f"/api/datasets/{dataset.id}/objects/f.jpg", 2000)
        upload.write(b"a" * 1000)
        api.process.terminate()
        await wait_until_refused(api.url)
        upload.write(b"b" * 1000)
        answer = await upload.answer()
        assert answer.startswith("HTTP/1.1 200") and '"size":2000' in answer
        assert await wait_exit(api) == 0
        assert (tmp_path / "objects" / "reelmill" / area / "f.jpg").read_bytes() == b"a" * 1000 + b"b" * 1000


@dataclass(frozen=True)
class Upload:
    """A request whose handler waits for its body."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> str:
        data = await self.reader.read()
        self.writer.close()
        return data.decode()


async def begin_upload(api: ApiProcess, path: str, size: int) -> Upload:
    """Wait for the answer 100, which is sent when the body is read."""
    host, _, port = api.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    fields = bearer("alice", SCOPES) | {"Host": host, "Content-Length": str(size), "Expect": "100-continue"}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"PUT {path} HTTP/1.1\r\n{head}\r\n".encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
    return Upload(reader, writer)


async def wait_until_refused(url: str) -> None:
    """Wait until no new connection is accepted."""
    async with asyncio.timeout(PATIENCE_S):
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
