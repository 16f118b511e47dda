"""Task rows and their leases.

Acquiring a task raises its lease number. Every later write carries that number and has no effect once it is stale, so
a worker that was frozen past its lease cannot overwrite newer results. Attempts are counted on acquisition, so a task
that kills its workers ends as failed."""

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import bindparam

from service.ids import TaskId

# A task that was started this often and never ended is poison.
MAX_ATTEMPTS = 3

TaskKind = Literal["segment", "assemble", "scan", "preview", "webhook"]
TaskState = Literal["queued", "running", "succeeded", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write about one task until somebody else starts it."""

    task: TaskId
    kind: TaskKind
    render_id: UUID | None
    dataset_id: UUID | None
    number: int | None
    lease: int
    starts: int
    payload: dict[str, Any] | None = None


FIELDS = tuple(name for name in Lease.__dataclass_fields__ if name != "task")


class LeaseLost(Exception):
    """Another worker holds the task now (or it has ended): this one's writes no longer count."""


# A worker that is frozen with a row locked loses its connection, and with it the lock, after five seconds.
IDLE_IN_TRANSACTION_TIMEOUT = "(SELECT set_config('idle_in_transaction_session_timeout', '5000', true)) AS bounded"
LOCK_RENDER = text(f"""
    SELECT 1 FROM renders, {IDLE_IN_TRANSACTION_TIMEOUT}
    WHERE renders.id = (SELECT render_id FROM tasks WHERE id = :task) FOR UPDATE OF renders
""")
START = text("""
    UPDATE tasks SET lease = lease + 1, starts = starts + 1, state = 'running', worker = :worker, progress = 0,
        started_at = now(), heartbeat_at = now()
    WHERE id = :task AND state IN ('queued', 'running')
    RETURNING id, kind, render_id, dataset_id, number, lease, starts, payload
""")
HEARTBEAT = text(f"""
    UPDATE tasks SET heartbeat_at = now(), progress = :progress FROM {IDLE_IN_TRANSACTION_TIMEOUT}
    WHERE id = :task AND lease = :lease AND state = 'running' RETURNING cancel_requested
""")
FINISH = text("""
    UPDATE tasks SET state = :state, finished_at = now(), progress = coalesce(:progress, progress), error = :error
    WHERE id = :task AND lease = :lease AND state = 'running' RETURNING id
""").bindparams(bindparam("error", type_=JSONB(none_as_null=True)))
RELEASE = text("""
    UPDATE tasks SET state = 'queued', error = :error, progress = 0, starts = starts - :forgiven
    WHERE id = :task AND lease = :lease AND state = 'running' RETURNING id
""").bindparams(bindparam("error", type_=JSONB(none_as_null=True)))


async def acquire(connection: AsyncConnection, task: TaskId, worker_name: str) -> Lease | None:
    """Take the task: None when it has ended or was cancelled meanwhile.

    The render row is locked first, as in every write that touches both, so that none deadlocks with another.
    """
    await connection.execute(LOCK_RENDER, {"task": task})
    row: RowMapping | None = (await connection.execute(START, {"task": task, "worker": worker_name})).mappings().first()
    if row is None:
        return None
    return Lease(TaskId(row["id"]), **{name: row[name] for name in FIELDS})


async def previous_error(connection: AsyncConnection, task: TaskId) -> str:
    """Why the task's last start did not end well."""
    query = text("SELECT error ->> 'reason' FROM tasks WHERE id = :task")
    return str(await connection.scalar(query, {"task": task}) or "unknown")


async def heartbeat(connection: AsyncConnection, lease: Lease, progress: int) -> bool:
    """Say that the task is alive; returns whether it should be cancelled. Raises Fenced."""
    values = {"task": lease.task, "lease": lease.lease, "progress": progress}
    row = (await connection.execute(HEARTBEAT, values)).first()
    if row is None:
        raise LeaseLost
    return bool(row.cancel_requested)


async def finish(
    connection: AsyncConnection,
    lease: Lease,
    state: TaskState,
    *,
    progress: int | None = None,
    error: dict[str, Any] | None = None,
) -> None:
    """The final write. Raises Fenced."""
    values = {"task": lease.task, "lease": lease.lease, "state": state, "progress": progress, "error": error}
    if (await connection.execute(FINISH, values)).first() is None:
        raise LeaseLost


async def release(connection: AsyncConnection, lease: Lease, error: dict[str, Any], *, forgiven: bool) -> None:
    """Put the task back for another try; `forgiven` starts (a store outage) do not count as deaths. Raises Fenced."""
    values = {"task": lease.task, "lease": lease.lease, "error": error, "forgiven": int(forgiven)}
    if (await connection.execute(RELEASE, values)).first() is None:
        raise LeaseLost
