"""Delete renders that have reached their age, as their owners would."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.store import deletion
from service.store.database import Database
from service.store.renders.queries import EXPIRES_AT

# A round ends after so many renders; the next one goes on.
MAX_DELETED = 200

# Those that are older than the retention, and those that somebody wants to be deleted earlier.
SELECT_EXPIRED = text(f"""
    SELECT r.id FROM renders r
    WHERE r.status IN ('succeeded', 'failed', 'cancelled')
        AND r.id IN (
            SELECT id FROM renders WHERE status IN ('succeeded', 'failed', 'cancelled')
                AND finished_at <= now() - make_interval(secs => CAST(:retention AS float8))
            UNION SELECT render_id FROM requesters WHERE keep_days IS NOT NULL)
        AND {EXPIRES_AT} <= now()
    ORDER BY r.finished_at LIMIT :limit
""")
LOCK_RENDER = text("""
    SELECT owner, coalesce(stored_bytes, 0) AS bytes FROM renders WHERE id = :render FOR UPDATE SKIP LOCKED
""")
IS_EXPIRED = text(f"SELECT {EXPIRES_AT} <= now() FROM renders r WHERE r.id = :render")


@dataclass(frozen=True, slots=True)
class ExpiredRender:
    """A render that was deleted because of its age."""

    id: UUID
    owner: str
    bytes: int


async def delete_expired_renders(database: Database, bucket: str, retention: timedelta | None) -> list[ExpiredRender]:
    """Delete at most MAX_DELETED renders whose age has come, the oldest first, each in a transaction of its own.

    One that is not finished, or that somebody has asked for again, stays. Workers may do this at the same time.
    """
    values = {"retention": retention.total_seconds() if retention else None}
    async with database.service_transaction() as connection:
        found = list(await connection.scalars(SELECT_EXPIRED, values | {"limit": MAX_DELETED}))
    deleted = []
    for render in found:
        async with database.service_transaction() as connection:
            expired = await _delete_if_expired(connection, render, bucket, values)
        if expired is not None:
            deleted.append(expired)
    return deleted


async def _delete_if_expired(
    connection: AsyncConnection, render: UUID, bucket: str, values: dict[str, float | None]
) -> ExpiredRender | None:
    """None if it was deleted, or a transaction is about to change it; or if it has been asked for again.

    The age is looked at when the row is locked: whoever asks for the render locks it, too.
    """
    row = (await connection.execute(LOCK_RENDER, {"render": render})).first()
    if row is None or not await connection.scalar(IS_EXPIRED, values | {"render": render}):
        return None
    plan = await deletion.lock_for_deletion(connection, "render", render, bucket)
    await deletion.execute_deletion(connection, plan, force=False)
    return ExpiredRender(render, row.owner, row.bytes)
