"""A new database per test, on the session's real PostgreSQL."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from sqlalchemy import text
from sqlalchemy.engine import make_url

from service.jobs.queue import LEASE_TIMEOUT_S
from service.store.database import Database
from service.store.schema import migrate
from service.store.settings import DatabaseSettings
from tests.support.patience import PATIENCE_S

# Server URL -> a database that is migrated once and copied for each test.
_templates: dict[str, str] = {}


@asynccontextmanager
async def fresh_database(server: str) -> AsyncIterator[Database]:
    """A new database with our schema; dropped at the end, even with open connections."""
    name = f"test_{secrets.token_hex(6)}"
    template = await _template(server)
    admin = await asyncpg.connect(server)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    database = Database(_url(server, name), DatabaseSettings())
    try:
        yield database
    finally:
        await database.close()
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()


@asynccontextmanager
async def empty_database(server: str) -> AsyncIterator[str]:
    """The URL of a new database without a schema; dropped at the end."""
    name = f"test_{secrets.token_hex(6)}"
    admin = await asyncpg.connect(server)
    await admin.execute(f"CREATE DATABASE {name}")
    try:
        yield _url(server, name)
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()


async def until_waiting(database: Database) -> None:
    """Wait until a transaction waits for a lock that another one holds."""
    query = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with database.service_transaction() as connection:
                if await connection.scalar(query):
                    return
            await asyncio.sleep(0.02)


async def until_workers_can_be_lost(database: Database) -> None:
    """Wait until the server has run for so long that a missing heartbeat means something."""
    query = text(f"SELECT {LEASE_TIMEOUT_S} + 0.1 - extract(epoch FROM now() - pg_postmaster_start_time())")
    async with database.service_transaction() as connection:
        left_s = float(await connection.scalar(query))
    await asyncio.sleep(max(left_s, 0))


async def drop_template(server: str) -> None:
    """Drop the template at the end of the session, as others may use the server."""
    if name := _templates.pop(server, None):
        admin = await asyncpg.connect(server)
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await admin.close()


async def _template(server: str) -> str:
    if server not in _templates:
        name = f"template_{secrets.token_hex(6)}"
        admin = await asyncpg.connect(server)
        await admin.execute(f"CREATE DATABASE {name}")
        await admin.close()
        await migrate(_url(server, name))
        _templates[server] = name
    return _templates[server]


def _url(server: str, name: str) -> str:
    return make_url(server).set(database=name).render_as_string(hide_password=False)
