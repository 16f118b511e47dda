"""The presence rows of live workers."""

from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, delete, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from service.store.tables import workers

UPSERT_WORKER = text("""
    INSERT INTO workers (id, name, slots, version) VALUES (:id, :name, :slots, :version)
    ON CONFLICT (id) DO UPDATE SET heartbeat_at = now(), slots = :slots
""")
UPDATE_FACTS = text("UPDATE workers SET facts = facts || :facts WHERE id = :id").bindparams(
    bindparam("facts", type_=JSONB)
)
SELECT_METRICS = text("""
    SELECT name, facts -> 'figures' AS figures FROM workers
    WHERE heartbeat_at > now() - interval '15 seconds' AND facts ? 'figures' ORDER BY name
""")
DELETE_DEAD_WORKERS = text("DELETE FROM workers WHERE heartbeat_at < now() - interval '5 minutes'")
SUM_LIVE_SLOTS = text("SELECT coalesce(sum(slots), 0) FROM workers WHERE heartbeat_at > now() - interval '15 seconds'")
EXISTS_LIVE_WORKER = text("""
    SELECT EXISTS (SELECT 1 FROM workers WHERE split_part(name, ':', 1) = :machine
        AND heartbeat_at > now() - interval '15 seconds')
""")


async def record_heartbeat(connection: AsyncConnection, worker: UUID, name: str, slots: int, version: str) -> None:
    await connection.execute(UPSERT_WORKER, {"id": worker, "name": name, "slots": slots, "version": version})
    await connection.execute(DELETE_DEAD_WORKERS)


async def update_facts(connection: AsyncConnection, worker: UUID, facts: dict[str, Any]) -> None:
    """Add to what is known about this worker."""
    await connection.execute(UPDATE_FACTS, {"id": worker, "facts": facts})


async def list_worker_metrics(connection: AsyncConnection) -> list[tuple[str, list[dict[str, Any]]]]:
    """The counters of each live worker, by its name."""
    return [(row.name, row.figures) for row in await connection.execute(SELECT_METRICS)]


async def unregister_worker(connection: AsyncConnection, worker: UUID) -> None:
    await connection.execute(delete(workers).where(workers.c.id == worker))


async def count_live_slots(connection: AsyncConnection) -> int:
    """Slots of all workers heard of within 15 seconds."""
    return int(await connection.scalar(SUM_LIVE_SLOTS) or 0)


async def has_live_worker(connection: AsyncConnection, machine: str) -> bool:
    """Whether a worker named `machine:pid` was heard of within 15 seconds."""
    return bool(await connection.scalar(EXISTS_LIVE_WORKER, {"machine": machine}))
