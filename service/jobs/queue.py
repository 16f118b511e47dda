"""The task queue: wakes workers when something is queued, takes back what dead workers have left, counts and prunes.

What is queued is a row of `tasks` (see `picking`); who may write about it is decided by its lease (see `leases`)."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import asyncpg
import structlog
from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.jobs import leases
from service.jobs.attempts import RECORD_ATTEMPTS

log = structlog.get_logger("worker")
CHANNEL = "reelmill_tasks"
# Workers look so often without being notified: for tasks that are due again, and where nothing can be listened to.
POLL_INTERVAL_S = 1.0
RECONNECT_DELAY_S = 1.0
CONNECT_TIMEOUT_S = 10.0
# A worker that has sent no heartbeat for so long is dead, or as good as dead.
LEASE_TIMEOUT_S = 6

NOTIFY = text(f"SELECT pg_notify('{CHANNEL}', '')")


async def wake_workers(connection: AsyncConnection) -> None:
    """Tell the workers that tasks are queued, when and if the caller's transaction commits."""
    await connection.execute(NOTIFY)


class WakeUpCall:
    """Waits until something is queued; reconnects when the connection that listens fails.

    `rings` counts how often something was. It says nothing unless the call `is_listening`.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._rung = asyncio.Event()
        self.rings, self.is_listening = 0, False

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await self._listen()
            await asyncio.sleep(RECONNECT_DELAY_S)

    def ring(self) -> None:
        """Wake whoever waits."""
        self.rings += 1
        self._rung.set()

    async def wait(self, timeout_s: float = POLL_INTERVAL_S) -> None:
        """Until something was queued since the last `wait`, or until the timeout."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._rung.wait()
        self._rung.clear()

    async def _listen(self) -> None:
        connection = await asyncpg.connect(self._url, timeout=CONNECT_TIMEOUT_S)
        closed = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: closed.set())
            await connection.add_listener(CHANNEL, lambda *_: self.ring())
            self.ring()  # something may have been queued before
            self.is_listening = True
            await closed.wait()
        finally:
            self.is_listening = False
            with suppress(Exception):
                await connection.close(timeout=2)


COUNT_ACTIVE_TASKS = text("""
    SELECT kind, state, count(*) AS count, extract(epoch FROM now() - min(created_at))::float8 AS oldest_s
    FROM tasks WHERE state IN ('queued', 'running') GROUP BY kind, state
""")


async def count_active_tasks(connection: AsyncConnection) -> Sequence[RowMapping]:
    """Rows of kind, state, count and the age of the oldest task in seconds (`oldest_s`)."""
    return (await connection.execute(COUNT_ACTIVE_TASKS)).mappings().all()


# After a restart of PostgreSQL the workers first get the time to send a heartbeat.
RELEASE_LOST_TASKS = text(f"""
    WITH ended AS (
        UPDATE tasks SET {leases.BACK_TO_QUEUE}, starts = starts - 1, progress = 0,
            error = jsonb_build_object('code', 'worker_lost', 'reason', 'no heartbeat of the worker ' || worker)
        WHERE id IN (
            SELECT id FROM tasks
            WHERE state = 'running' AND heartbeat_at < now() - make_interval(secs => {LEASE_TIMEOUT_S})
                AND pg_postmaster_start_time() < now() - make_interval(secs => {LEASE_TIMEOUT_S})
            ORDER BY id FOR UPDATE SKIP LOCKED)
        RETURNING *)
    {RECORD_ATTEMPTS.format(counted="false")} RETURNING kind
""")


async def release_lost_tasks(connection: AsyncConnection) -> Counter[str]:
    """Queue the tasks of workers that send no heartbeats any more; returns how many of each kind.

    That is not the tasks' fault: the start does not count. The worker's lease ends when another one takes the task.
    """
    kinds = Counter(await connection.scalars(RELEASE_LOST_TASKS))
    if kinds:
        await wake_workers(connection)
    return kinds


# A webhook that was given up is a dead letter for longer: it may be about a render of weeks.
DELETE_FINISHED_TASKS = text("""
    DELETE FROM tasks WHERE kind IN ('preview', 'webhook') AND finished_at < now() - CASE
        WHEN kind = 'webhook' AND state = 'failed' AND dismissed_at IS NULL THEN interval '30 days'
        ELSE interval '1 day' END
""")

DELETE_OLD_ATTEMPTS = text("""
    DELETE FROM attempts WHERE kind IN ('preview', 'webhook') AND ended_at < now() - interval '1 day'
""")


async def prune(connection: AsyncConnection) -> None:
    """Delete previews and webhook tasks that ended more than a day ago (dead letters of webhooks: 30 days), and their
    failed attempts."""
    await connection.execute(DELETE_FINISHED_TASKS)
    await connection.execute(DELETE_OLD_ATTEMPTS)
