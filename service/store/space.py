"""Whether there is space: on PostgreSQL's disk, in the object store, and for the temporary files of workers."""

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from service.store.database import Database

DISK_FULL = "53100"
# Failures of attempts that wait for space, by the place that has none.
FULL_PLACES = {"store_full": "object_store", "scratch_full": "scratch"}
# A little more than the longest gap between two attempts: see `worker.task_runner`.
RECENT_SECONDS = 400

LIMIT_MEMORY = text("SET LOCAL work_mem = '64kB'")
# Some 200 kB, which do not fit into that memory: PostgreSQL sorts them in a temporary file, and changes nothing.
SORT_ON_DISK = text("SELECT count(*) FROM (SELECT g FROM generate_series(1, 4000) g ORDER BY -g) sorted")
COUNT_FULL = text("""
    SELECT code, count(*) AS attempts FROM attempts
    WHERE ended_at > now() - make_interval(secs => :seconds) AND code = ANY(:codes) GROUP BY code
""")


async def is_disk_full(database: Database) -> bool:
    """Whether PostgreSQL has no space to write to. Reading goes on without, and so does what checks that it answers."""
    async with database.health_connection() as connection:
        await connection.execution_options(isolation_level="READ COMMITTED")
        try:
            await connection.execute(LIMIT_MEMORY)
            await connection.execute(SORT_ON_DISK)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != DISK_FULL:
                raise
            return True
    return False


async def count_waits(connection: AsyncConnection) -> dict[str, int]:
    """How many attempts ended lately because there was no space, by place; tasks wait for space if there are any."""
    values = {"seconds": RECENT_SECONDS, "codes": list(FULL_PLACES)}
    return {FULL_PLACES[row.code]: row.attempts for row in await connection.execute(COUNT_FULL, values)}
