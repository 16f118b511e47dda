"""A migrated database of its own for a test, on the session's real PostgreSQL."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from sqlalchemy.engine import make_url

from service.jobs import queue
from service.store.database import Database, DatabaseSettings
from service.store.migrate import migrate


@asynccontextmanager
async def fresh_database(server: str) -> AsyncIterator[Database]:
    """A new database with our schema; dropped at the end, whoever is still connected."""
    name = f"test_{secrets.token_hex(6)}"
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    admin = await asyncpg.connect(server)
    await admin.execute(f"CREATE DATABASE {name}")
    database = None
    try:
        await migrate(url, queue.install)
        database = Database(url, DatabaseSettings())
        yield database
    finally:
        if database is not None:
            await database.close()
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()
