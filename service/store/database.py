"""The connection pool of PostgreSQL, and transactions in which row-level security knows the caller."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from service.ids import Subject
from service.store.settings import DatabaseSettings

# One that nobody used for longer is asked all the same: a router may have forgotten it.
PING_AFTER_IDLE_S = 10.0
_IDLE_SINCE = "idle since"


def install_pool_ping(engine: AsyncEngine) -> None:
    """Check each connection as it leaves the pool: a server that stops closes it, which the driver notices."""
    event.listen(engine.sync_engine, "checkout", _on_checkout)
    event.listen(engine.sync_engine, "checkin", _on_checkin)


def _on_checkout(connection: Any, entry: ConnectionPoolEntry, _proxy: object) -> None:
    """Raises InvalidatePoolError: the pool then opens another one, and distrusts all it has. One that was opened just
    now is let through, whatever it is: who uses it gets the driver's own error."""
    back = entry.info.get(_IDLE_SINCE)
    if back is None:
        return
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError("the server closed this connection")
    if time.monotonic() - back > PING_AFTER_IDLE_S:
        _ping(connection)


def _ping(connection: Any) -> None:
    try:
        connection.ping()
    except Exception as error:
        raise InvalidatePoolError("this connection does not answer") from error


def _on_checkin(_connection: Any, entry: ConnectionPoolEntry) -> None:
    entry.info[_IDLE_SINCE] = time.monotonic()


# Owns nothing; every transaction on behalf of a caller runs as this role, under the policies.
CALLER_ROLE = "reelmill_caller"


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


SELECT_SIGNING_KEY = text("SELECT key FROM signing_keys WHERE name = 'api'")


async def load_signing_key(connection: AsyncConnection) -> bytes:
    """32 bytes; made with the schema. Callers cannot read the table."""
    return bytes((await connection.execute(SELECT_SIGNING_KEY)).scalar_one())


async def acquire_advisory_lock(connection: AsyncConnection, key: str) -> None:
    """Until the end of the transaction, be the only one that plans this render."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 7))"), {"key": key})
