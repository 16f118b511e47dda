"""A failed start leaves nothing open; a successful one passes on every setting."""

import asyncio
import dataclasses
from asyncio import StreamReader, StreamWriter

import pytest
from pydantic import SecretStr

from service import config
from service.errors import StartupError
from service.processes.api import build_resources
from service.processes.startup import SharedState, open_shared_state
from service.routers.http.dependencies import Resources

pytestmark = pytest.mark.anyio


async def test_a_store_that_answered_is_let_go_when_the_database_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    answered, left = asyncio.Event(), asyncio.Event()

    async def store(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        answered.set()
        await reader.read()
        left.set()
        writer.close()

    async def database(_reader: StreamReader, writer: StreamWriter) -> None:
        await answered.wait()
        writer.close()

    here = "127.0.0.1"
    async with (
        await asyncio.start_server(store, here, 0) as objects,
        await asyncio.start_server(database, here, 0) as sql,
    ):
        ports = [server.sockets[0].getsockname()[1] for server in (objects, sql)]
        monkeypatch.setenv("MINIO_ENDPOINT", f"http://{here}:{ports[0]}")
        monkeypatch.setenv("MINIO_ACCESS_KEY", "key")
        monkeypatch.setenv("MINIO_SECRET_KEY", "secret")
        monkeypatch.setenv("DATABASE_URL", f"postgresql://user:word@{here}:{ports[1]}/name")
        monkeypatch.setenv("JWT_SECRET", "x" * 48)
        with pytest.raises(StartupError, match="DATABASE_URL"):
            await open_shared_state(config.load())
        async with asyncio.timeout(5):
            await left.wait()


@pytest.mark.parametrize("address", ["video.example", "ftp://video.example", "https://", "https://[video.example"])
def test_an_address_that_no_browser_shows(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("REELMILL_URL", address)
    state = SharedState(None, None, SecretStr("x" * 48), None)  # type: ignore[arg-type]
    with pytest.raises(StartupError, match="REELMILL_URL must be an address"):
        build_resources(config.load(), state)


def test_the_routers_get_the_settings_that_were_read_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later changes of the environment have no effect."""
    monkeypatch.setenv("MINIO_SOURCES", " scope/ = alice, camera,,")
    settings = config.load()
    monkeypatch.setenv("MINIO_SOURCES", "secrets")
    state = SharedState(None, None, SecretStr("x" * 48), None)  # type: ignore[arg-type]
    given = build_resources(settings, state)
    areas = {field.name for field in dataclasses.fields(config.Settings)} & {
        field.name for field in dataclasses.fields(Resources)
    } - {"database", "objects"}
    assert areas >= {"http", "catalog", "limits", "queries", "agent", "webhooks"}
    assert [name for name in areas if getattr(given, name) is not getattr(settings, name)] == []
    assert sorted(rule.bucket for rule in given.sources.rules) == ["camera", "scope"]
