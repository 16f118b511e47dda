"""Container health check: exits with 0 if a worker on this machine sent a heartbeat within 15 seconds."""

import asyncio
import platform
import sys

from service.store import workers
from service.store.database import Database
from service.store.settings import DatabaseSettings

TIMEOUT_S = 10.0


async def has_live_worker(settings: DatabaseSettings, machine: str) -> bool:
    """Whether a worker on `machine` sent a heartbeat within 15 seconds; False if the database is unavailable."""
    database = Database(settings.url or "", settings)
    try:
        async with asyncio.timeout(TIMEOUT_S), database.service_transaction() as connection:
            return await workers.has_live_worker(connection, machine)
    except Exception:
        return False
    finally:
        await database.close()


if __name__ == "__main__":
    sys.exit(not asyncio.run(has_live_worker(DatabaseSettings(), platform.node())))
