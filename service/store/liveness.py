"""Pooled connections that are known to be dead are not handed out; asking each one first would cost every request
three round trips to the database."""

import time
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

PING_AFTER_IDLE_S = 10.0
"""One that nobody used for longer is asked all the same: a router may have forgotten it."""
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
