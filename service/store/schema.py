"""Upgrade the database schema with Alembic, one process at a time, and check whether it is current."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from service.errors import StartupError
from service.store.database import async_url

# The key of the advisory lock: "Reel" in ASCII.
MIGRATION_LOCK_ID = 0x5265656C

LOCK_TIMEOUT_S = 60.0
MIGRATIONS_FOLDER = Path(__file__).parent / "migrations"


async def migrate(url: str) -> None:
    """Upgrade the schema to the newest revision, under a lock."""
    async with migration_transaction(url) as connection:
        await upgrade(connection)


@asynccontextmanager
async def migration_transaction(url: str) -> AsyncIterator[AsyncConnection]:
    """A transaction, and during it the lock of migrations. Raises StartupError.

    The lock is polled, on an autocommit connection of its own: waiting in the database would deadlock with CREATE INDEX
    CONCURRENTLY.
    """
    engine = create_async_engine(async_url(url), poolclass=NullPool, hide_parameters=True)
    try:
        async with (
            engine.connect() as holder,
            _migration_lock(await holder.execution_options(isolation_level="AUTOCOMMIT")),
            engine.begin() as connection,
        ):
            yield connection
    finally:
        await engine.dispose()


async def upgrade(connection: AsyncConnection, revision: str = "head") -> None:
    """Upgrade the schema, which is older, in the connection's transaction. The revision is written last, so that
    `is_current` means that everything is there."""
    await connection.run_sync(_run_alembic, revision)


async def is_current(url: str) -> bool:
    """Whether the database has the newest schema."""
    engine = create_async_engine(async_url(url), poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            return str(await connection.scalar(text("SELECT version_num FROM alembic_version"))) == newest_revision()
    except ProgrammingError:  # no such table: the database is new
        return False
    finally:
        await engine.dispose()


def newest_revision() -> str:
    """The number of the last revision."""
    return max(revisions())


def revisions() -> set[str]:
    """The numbers of all revisions, with which the names of their files begin."""
    return {path.name.partition("_")[0] for path in (MIGRATIONS_FOLDER / "versions").glob("[0-9]*.py")}


@asynccontextmanager
async def _migration_lock(connection: AsyncConnection) -> AsyncIterator[None]:
    deadline = asyncio.get_running_loop().time() + LOCK_TIMEOUT_S
    while not await connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": MIGRATION_LOCK_ID}):
        if asyncio.get_running_loop().time() > deadline:
            raise StartupError(f"DATABASE_URL: another process has been migrating for over {LOCK_TIMEOUT_S:.0f} s")
        await asyncio.sleep(0.05)
    try:
        yield
    finally:
        await connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": MIGRATION_LOCK_ID})


def _run_alembic(connection: Connection, revision: str) -> None:
    from alembic import command  # takes 8 MB, which only a migration needs
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS_FOLDER))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
