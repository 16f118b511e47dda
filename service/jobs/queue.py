"""The task queue: PgQueuer on PostgreSQL. No other file imports it.

A queue entry carries only a task id; the task row (see `leases`) says what to do and who may write."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from pgqueuer import PgQueuer
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.settings import DBSettings
from pgqueuer.domain.types import Channel
from pgqueuer.errors import RetryRequested
from pgqueuer.models import Job
from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import TaskId

log = structlog.get_logger("worker")
# `model_construct` reads no environment variables: PGQUEUER_PREFIX, or a bare FUNCTION, would rename the tables.
PGQUEUER_SETTINGS = DBSettings.model_construct(db_schema="queue", channel=Channel("reelmill_queue"))
DEQUEUE_TIMEOUT = timedelta(seconds=1)
# Priority of previews that a user waits for; renders have 0 to 9.
INTERACTIVE_PRIORITY = 10
HEARTBEAT_TIMEOUT = timedelta(seconds=6)
RECONNECT_DELAY_S = 1.0


class Retry(Exception):
    """Raised by a handler to run the task again after a delay."""

    def __init__(self, delay_s: float, reason: str) -> None:
        super().__init__(reason)
        self.delay_s, self.reason = delay_s, reason


TaskHandler = Callable[[TaskId], Awaitable[None]]


def _open_queries(connection: Any) -> Queries:
    return Queries(
        AsyncpgDriver(connection),
        qbe=QueryBuilderEnvironment(PGQUEUER_SETTINGS),
        qbq=QueryQueueBuilder(PGQUEUER_SETTINGS),
        qbs=QuerySchedulerBuilder(PGQUEUER_SETTINGS),
    )


async def _driver_connection(connection: AsyncConnection) -> Any:
    return (await connection.get_raw_connection()).driver_connection


async def install(connection: AsyncConnection) -> None:
    """Create or upgrade the queue's own schema. The caller holds the migration lock."""
    queries = _open_queries(await _driver_connection(connection))
    if await queries.schema_is_installed():
        await queries.upgrade()
    else:
        await queries.install()


async def enqueue(connection: AsyncConnection, kind: str, tasks: Sequence[TaskId], priority: int = 0) -> None:
    """Queue tasks inside the caller's open transaction: they exist if and only if it commits."""
    if tasks:
        queries = _open_queries(await _driver_connection(connection))
        payloads: list[bytes | None] = [task.bytes for task in tasks]
        await queries.enqueue([kind] * len(tasks), payloads, [priority] * len(tasks))


async def change_priority(connection: AsyncConnection, tasks: Sequence[TaskId], priority: int) -> None:
    """Change the priority of those tasks that are still waiting."""
    query = text("UPDATE queue.pgqueuer SET priority = :priority WHERE status = 'queued' AND payload = ANY(:payloads)")
    await connection.execute(query, {"priority": priority, "payloads": [task.bytes for task in tasks]})


class QueueConsumer:
    """Takes tasks off the queue and hands them to handlers; reconnects when the database connection fails."""

    def __init__(self, url: str, handlers: Mapping[str, TaskHandler], concurrency: int) -> None:
        self._url, self._handlers, self._concurrency = url, handlers, max(2, concurrency)
        self._stopping = asyncio.Event()
        self._engine: PgQueuer | None = None

    async def run(self) -> None:
        """Run until `stop`. Returns when the running handlers have ended."""
        while not self._stopping.is_set():
            try:
                await self._consume()
            except Exception as error:
                log.warning("queue connection lost", reason=f"{type(error).__name__}: {error}")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), RECONNECT_DELAY_S)

    def stop(self) -> None:
        """Take no more tasks."""
        self._stopping.set()
        if self._engine is not None:
            self._engine.shutdown.set()

    async def _consume(self) -> None:
        """Consume over one connection, until `stop` or until the connection fails."""
        connection = await asyncpg.connect(self._url, timeout=10)
        try:
            self._engine = self._build_engine(connection)
            if self._stopping.is_set():  # `stop` was called before there was an engine to shut down
                return
            await self._engine.qm.run(
                batch_size=1,
                dequeue_timeout=DEQUEUE_TIMEOUT,
                max_concurrent_tasks=self._concurrency,
                shutdown_on_listener_failure=True,
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
            )
        finally:
            self._engine = None
            with suppress(Exception):
                await connection.close(timeout=2)

    def _build_engine(self, connection: Any) -> PgQueuer:
        engine = PgQueuer(
            connection=AsyncpgDriver(connection), channel=PGQUEUER_SETTINGS.channel, queries=_open_queries(connection)
        )
        for kind, handler in self._handlers.items():
            engine.entrypoint(kind)(_to_entrypoint(handler))
        return engine


def _to_entrypoint(handler: TaskHandler) -> Callable[[Job], Awaitable[None]]:
    async def run(job: Job) -> None:
        try:
            await handler(TaskId(UUID(bytes=job.payload or b"")))
        except Retry as retry:
            raise RetryRequested(delay=timedelta(seconds=retry.delay_s), reason=retry.reason) from retry

    return run


COUNT_ACTIVE_TASKS = text("""
    SELECT kind, state, count(*) AS count, extract(epoch FROM now() - min(created_at))::float8 AS oldest_s
    FROM tasks WHERE state IN ('queued', 'running') GROUP BY kind, state
""")


async def count_active_tasks(connection: AsyncConnection) -> Sequence[RowMapping]:
    """Rows of kind, state, count and the age of the oldest task in seconds (`oldest_s`)."""
    return (await connection.execute(COUNT_ACTIVE_TASKS)).mappings().all()


SELECT_LOST_TASKS = text(f"""
    SELECT t.id, t.kind,
        CASE t.kind WHEN 'preview' THEN {INTERACTIVE_PRIORITY} ELSE coalesce(r.priority, 0) END AS priority
    FROM tasks t LEFT JOIN renders r ON r.id = t.render_id
    WHERE t.state IN ('queued', 'running')
        AND greatest(t.created_at, t.started_at, t.heartbeat_at) < now() - interval '15 seconds'
        AND NOT EXISTS (SELECT 1 FROM queue.pgqueuer q WHERE q.payload = uuid_send(t.id))
    ORDER BY t.created_at FOR UPDATE OF t SKIP LOCKED LIMIT 500
""")
DELETE_OLD_LOG = text("DELETE FROM queue.pgqueuer_log WHERE created < now() - interval '1 day'")
DELETE_FINISHED_TASKS = text("""
    DELETE FROM tasks WHERE kind IN ('preview', 'webhook') AND finished_at < now() - interval '1 day'
""")


async def requeue_lost_tasks(connection: AsyncConnection) -> int:
    """Queue unfinished tasks that have no queue entry; returns how many.

    Several workers may do this at the same time: a task id is in the queue at most once.
    """
    rows = (await connection.execute(SELECT_LOST_TASKS)).all()
    for row in rows:
        await enqueue(connection, row.kind, [TaskId(row.id)], row.priority)
    return len(rows)


async def prune(connection: AsyncConnection) -> None:
    """Delete queue logs, previews and webhook tasks that are more than a day old."""
    await connection.execute(DELETE_OLD_LOG)
    await connection.execute(DELETE_FINISHED_TASKS)
