"""The presence rows of live workers."""

from uuid import UUID

from sqlalchemy import delete, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.store.tables import workers

BEAT = text("""
    INSERT INTO workers (id, name, slots, version) VALUES (:id, :name, :slots, :version)
    ON CONFLICT (id) DO UPDATE SET heartbeat_at = now(), slots = :slots
""")
PRUNE = text("DELETE FROM workers WHERE heartbeat_at < now() - interval '5 minutes'")
SLOTS = text("SELECT coalesce(sum(slots), 0) FROM workers WHERE heartbeat_at > now() - interval '15 seconds'")
ALIVE_ON = text("""
    SELECT EXISTS (SELECT 1 FROM workers WHERE split_part(name, ':', 1) = :machine
        AND heartbeat_at > now() - interval '15 seconds')
""")


async def beat(connection: AsyncConnection, worker: UUID, name: str, slots: int, version: str) -> None:
    await connection.execute(BEAT, {"id": worker, "name": name, "slots": slots, "version": version})
    await connection.execute(PRUNE)


async def leave(connection: AsyncConnection, worker: UUID) -> None:
    await connection.execute(delete(workers).where(workers.c.id == worker))


async def live_slots(connection: AsyncConnection) -> int:
    """Slots of all workers heard of within 15 seconds."""
    return int(await connection.scalar(SLOTS) or 0)


async def alive_on(connection: AsyncConnection, machine: str) -> bool:
    """Whether a worker named `machine:pid` was heard of within 15 seconds."""
    return bool(await connection.scalar(ALIVE_ON, {"machine": machine}))
