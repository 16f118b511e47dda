"""Is a worker of this machine alive? For container health checks: exit code 0 when its presence row is fresh."""

import asyncio
import platform
import sys

from service.store import worker_rows
from service.store.database import Database
from service.store.database_settings import DatabaseSettings

TIMEOUT_S = 10.0


async def has_live_worker(settings: DatabaseSettings, machine: str) -> bool:
    """Whether a worker on `machine` was heard of within 15 seconds; a database that is away is a no."""
    database = Database(settings.url or "", settings)
    try:
        async with asyncio.timeout(TIMEOUT_S), database.service_transaction() as connection:
            return await worker_rows.has_live_worker(connection, machine)
    except Exception:
        return False
    finally:
        await database.close()


if __name__ == "__main__":
    sys.exit(not asyncio.run(has_live_worker(DatabaseSettings(), platform.node())))
