"""The connection pool of PostgreSQL, and transactions in which row-level security knows the caller."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from service.errors import Conflict, NotFound
from service.ids import Subject
from service.store.settings import DatabaseSettings

# Transactions on behalf of a caller run as this role. It owns nothing, so row-level security applies to it.
CALLER_ROLE = "reelmill_caller"
# One for each check that asks the database: none waits for another, also not until a connection has failed.
HEALTH_CONNECTIONS = 5
UNIQUE_VIOLATION, FOREIGN_KEY_VIOLATION = "23505", "23503"
SELECT_SIGNING_KEY = text("SELECT key FROM signing_keys WHERE name = 'api'")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling: the token's subject, and whether its scopes include `admin`."""

    subject: Subject
    admin: bool = False


def async_url(url: str) -> str:
    """The same URL, for the asyncpg driver."""
    return make_url(url).set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)


class Database:
    """A connection pool with two kinds of transaction: the service's own and a caller's.

    `direct_url` is for what lasts longer than a transaction: listening, and temporary tables. Behind a pooler it is
    another one than that of the pool.
    """

    def __init__(self, url: str, settings: DatabaseSettings) -> None:
        self.url, self._settings = url, settings
        self.direct_url = settings.direct_url if settings.pooled and settings.direct_url else url
        self.engine = _create_engine(url, settings, settings.pool_size, 5)
        # A pooler may execute the two halves of a statement on two connections, unless a transaction holds one.
        isolation = {} if settings.pooled else {"isolation_level": "AUTOCOMMIT"}
        self._health_engine = _create_engine(url, settings, HEALTH_CONNECTIONS, 0, **isolation)

    @asynccontextmanager
    async def service_transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction as the service itself, which sees every row."""
        async with self.engine.begin() as connection:
            yield connection

    @asynccontextmanager
    async def health_connection(self) -> AsyncIterator[AsyncConnection]:
        """A connection from a pool of its own, so that health checks do not wait behind requests."""
        async with self._health_engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def separate_connection(self) -> AsyncIterator[AsyncConnection]:
        """A connection of no pool, for work of minutes or with temporary tables; it is closed at the end."""
        arguments = _connect_args(self._settings)
        engine = create_async_engine(
            async_url(self.direct_url), poolclass=NullPool, hide_parameters=True, connect_args=arguments
        )
        try:
            async with engine.connect() as connection:
                yield connection
        finally:
            await engine.dispose()

    @asynccontextmanager
    async def caller_transaction(self, caller: Caller) -> AsyncIterator[AsyncConnection]:
        """A transaction as `reelmill_caller`, in which row-level security sees `caller`."""
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
        connect_args=_connect_args(settings),
    )
    install_pool_ping(engine)
    return engine


def _connect_args(settings: DatabaseSettings) -> dict[str, Any]:
    arguments = {"timeout": settings.timeout_s, "server_settings": {"application_name": "reelmill"}}
    return arguments | (UNNAMED_STATEMENTS if settings.pooled else {})


# Named statements stay with a connection of the server, which a pooler gives to another transaction afterwards.
UNNAMED_STATEMENTS: dict[str, Any] = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": lambda: "",
}


async def assume_caller_role(connection: AsyncConnection, caller: Caller) -> None:
    """Until the end of the transaction, act as `caller` under row-level security."""
    statement = text(
        f"SELECT set_config('role', '{CALLER_ROLE}', true), set_config('reelmill.subject', :subject, true),"
        " set_config('reelmill.admin', :admin, true)"
    )
    await connection.execute(statement, {"subject": caller.subject, "admin": "on" if caller.admin else "off"})


async def switch_to_service_role(connection: AsyncConnection) -> None:
    """Drop the caller's role for the rest of the transaction. Call only after the caller's rights have been checked."""
    await connection.execute(text("SET LOCAL ROLE NONE"))


async def load_signing_key(connection: AsyncConnection) -> bytes:
    """32 bytes, created with the schema. Callers cannot read the table."""
    return bytes((await connection.execute(SELECT_SIGNING_KEY)).scalar_one())


async def current_time(connection: AsyncConnection) -> datetime:
    """The time of the database. Clocks of machines differ, so what is compared with stored times is this."""
    found: datetime = (await connection.execute(text("SELECT now()"))).scalar_one()
    return found


async def acquire_advisory_lock(connection: AsyncConnection, key: str) -> None:
    """Wait for the lock named `key` and hold it until the end of the transaction."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 7))"), {"key": key})


@asynccontextmanager
async def translate_integrity_errors(conflict_detail: str) -> AsyncIterator[None]:
    """Raise Conflict with this detail for a unique value that is taken, NotFound for a parent row that is gone."""
    try:
        yield
    except IntegrityError as error:
        code = getattr(error.orig, "sqlstate", None)
        if code == UNIQUE_VIOLATION:
            raise Conflict(conflict_detail) from error
        if code == FOREIGN_KEY_VIOLATION:
            raise NotFound("there is no such experiment") from error
        raise


# A connection that was idle for longer is pinged before use: a router on the way may have dropped it silently.
PING_AFTER_IDLE_S = 10.0
_IDLE_SINCE = "idle since"


def install_pool_ping(engine: AsyncEngine) -> None:
    """Do not hand out dead connections of the pool.

    Pinging on every checkout would cost three round trips per request, so only those that were idle are pinged; a
    connection that the server closed is recognised without a ping.
    """
    event.listen(engine.sync_engine, "checkout", _on_checkout)
    event.listen(engine.sync_engine, "checkin", _on_checkin)


def _on_checkout(connection: Any, entry: ConnectionPoolEntry, _proxy: object) -> None:
    """Raise InvalidatePoolError for a dead connection; the pool then replaces it and all older ones. A new connection
    is not checked."""
    idle_since = entry.info.get(_IDLE_SINCE)
    if idle_since is None:
        return
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError("the server closed this connection")
    if time.monotonic() - idle_since > PING_AFTER_IDLE_S:
        try:
            connection.ping()
        except Exception as error:
            raise InvalidatePoolError("this connection does not answer") from error


def _on_checkin(_connection: Any, entry: ConnectionPoolEntry) -> None:
    entry.info[_IDLE_SINCE] = time.monotonic()
