"""Pooled connections that are known to be dead are not handed out; asking each one first would cost every request
three round trips to the database."""

import time
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

IDLE_S = 10.0
"""One that nobody used for longer is asked all the same: a router may have forgotten it."""
_SINCE = "idle since"


def watch(engine: AsyncEngine) -> None:
    """Check each connection as it leaves the pool: a server that stops closes it, which the driver notices."""
    event.listen(engine.sync_engine, "checkout", _leaving)
    event.listen(engine.sync_engine, "checkin", _back)


def _leaving(connection: Any, entry: ConnectionPoolEntry, _proxy: object) -> None:
    """Raises InvalidatePoolError: the pool then opens another one, and distrusts all it has. One that was opened just
    now is let through, whatever it is: who uses it gets the driver's own error."""
    back = entry.info.get(_SINCE)
    if back is None:
        return
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError("the server closed this connection")
    if time.monotonic() - back > IDLE_S:
        _ask(connection)


def _ask(connection: Any) -> None:
    try:
        connection.ping()
    except Exception as error:
        raise InvalidatePoolError("this connection does not answer") from error


def _back(_connection: Any, entry: ConnectionPoolEntry) -> None:
    entry.info[_SINCE] = time.monotonic()
