"""The connection to PostgreSQL, and the transactions in which row-level security knows the caller."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from service.ids import Subject
from service.store.database_settings import DatabaseSettings
from service.store.liveness import install_pool_ping

CALLER_ROLE = "reelmill_caller"
"""Owns nothing; every transaction on behalf of a caller runs as this role, under the policies."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the token's subject, and whether `admin` is among the scopes."""

    subject: Subject
    admin: bool = False


def async_url(url: str) -> str:
    """The same URL with the asyncpg driver chosen."""
    return make_url(url).set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)


class Database:
    """A pool, and the two kinds of transaction: the service's own and a caller's."""

    def __init__(self, url: str, settings: DatabaseSettings) -> None:
        self.url = url
        self.engine = _create_engine(url, settings, settings.pool_size, 5)
        self._health_engine = _create_engine(url, settings, 3, 0, isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def service_transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction as the service itself: sees every row."""
        async with self.engine.begin() as connection:
            yield connection

    @asynccontextmanager
    async def health_connection(self) -> AsyncIterator[AsyncConnection]:
        """As the service itself, each statement for itself, on a connection that no request takes: whether the database
        is well does not depend on how many wait for it."""
        async with self._health_engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def caller_transaction(self, caller: Caller) -> AsyncIterator[AsyncConnection]:
        """A transaction as `reelmill_caller`, in which the policies see `caller`."""
        async with self.engine.begin() as connection:
            await assume_caller_role(connection, caller)
            yield connection

    async def close(self) -> None:
        await self.engine.dispose()
        await self._health_engine.dispose()


def _create_engine(
    url: str, settings: DatabaseSettings, pool_size: int, max_overflow: int, **options: Any
) -> AsyncEngine:
    engine = create_async_engine(
        async_url(url),
        pool_size=pool_size,
        max_overflow=max_overflow,
        hide_parameters=True,
        **options,
        connect_args={"timeout": settings.timeout_s, "server_settings": {"application_name": "reelmill"}},
    )
    install_pool_ping(engine)
    return engine


async def assume_caller_role(connection: AsyncConnection, caller: Caller) -> None:
    """Until the end of the transaction, be `caller` under row-level security."""
    statement = text(
        f"SELECT set_config('role', '{CALLER_ROLE}', true), set_config('reelmill.subject', :subject, true),"
        " set_config('reelmill.admin', :admin, true)"
    )
    await connection.execute(statement, {"subject": caller.subject, "admin": "on" if caller.admin else "off"})
