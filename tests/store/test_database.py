"""Connections that died in the pool are not handed out."""

import asyncpg
import pytest
from sqlalchemy import text

import service.store.database as database_module
from service.store.database import Database
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
OWN = "SELECT pg_backend_pid()"


async def backend(database: Database) -> int:
    async with database.service_transaction() as connection:
        return int(await connection.scalar(text(OWN)) or 0)


async def test_a_connection_is_used_again(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database:
        assert await backend(database) == await backend(database)


@pytest.mark.parametrize("idle_s", [database_module.PING_AFTER_IDLE_S, -1.0], ids=["used just now", "idle for long"])
async def test_one_that_the_server_has_closed_is_replaced(
    postgres_url: str, idle_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "PING_AFTER_IDLE_S", idle_s)
    async with fresh_database(postgres_url) as database:
        first = await backend(database)
        other = await asyncpg.connect(database.url)
        await other.execute("SELECT pg_terminate_backend($1)", first)
        while await other.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", first):
            pass
        await other.close()
        assert await backend(database) != first
