"""Task rows and their leases.

Acquiring a task raises its lease number. Every later write carries that number and has no effect once it is stale, so
a worker that was frozen past its lease cannot overwrite newer results. Attempts are counted on acquisition, and
taken back if the infrastructure ended them, so a task that crashes its slots ends as failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import RowMapping, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import bindparam

from service.ids import DatasetId, RenderId, TaskId
from service.jobs.attempts import RECORD_ATTEMPTS

TaskKind = Literal["segment", "assemble", "scan", "preview", "webhook"]
TaskState = Literal["queued", "running", "succeeded", "failed", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to write to a task row until another worker acquires the task.

    `token` is the column `lease`, which every write compares; `attempts` is the column `starts`.
    """

    task_id: TaskId
    kind: TaskKind
    token: int
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderLease(Lease):
    """A task of a render: every write locks the render row first."""

    render_id: RenderId


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentLease(RenderLease):
    """Encode segment `number` of the render."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembleLease(RenderLease):
    """Join the segments of the render."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanLease(Lease):
    """Register the frames or videos of a dataset.

    `known`: what the last scan knows of unchanged objects is taken over; those up to the key `after` are not listed.
    """

    dataset_id: DatasetId
    known: bool = False
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewLease(Lease):
    """Render a preview; the payload is that of `plan.preview.Preview`."""

    payload: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookLease(Lease):
    """Deliver a webhook; the payload has `url`, `body` and `owner`."""

    payload: dict[str, Any]


class LeaseLost(Exception):
    """Another worker holds the task, or it has ended: this worker's writes are rejected."""


# A worker that is frozen with a row locked loses its connection, and with it the lock, after five seconds.
IDLE_IN_TRANSACTION_TIMEOUT = "(SELECT set_config('idle_in_transaction_session_timeout', '5000', true)) AS bounded"
LOCK_RENDER = text(f"""
    SELECT 1 FROM renders, {IDLE_IN_TRANSACTION_TIMEOUT}
    WHERE renders.id = (SELECT render_id FROM tasks WHERE id = :task) FOR UPDATE OF renders
""")
# Of one task, for the parameter `name`, which is the worker's. The caller has locked the render's row, if there is one.
START = """
    UPDATE tasks SET lease = lease + 1, starts = starts + 1, state = 'running', worker = :name, progress = 0,
        device = 'cpu', started_at = now(), heartbeat_at = now()
    WHERE id = {task} AND state = 'queued'
    RETURNING id, kind, render_id, dataset_id, number, lease, starts, payload
"""
START_ONE = text(START.format(task=":task"))
# A row that somebody else has locked, for example to cancel the task, gets its heartbeat a second later. `= ANY` has
# each task looked up: the planner does not know how many run, and would read all of them.
HEARTBEAT = text(f"""
    WITH beats AS (
        SELECT * FROM unnest(CAST(:tasks AS uuid[]), CAST(:tokens AS bigint[]), CAST(:progress AS bigint[]))
            AS given(id, lease, progress)),
    free AS (
        SELECT t.id, b.progress FROM tasks t JOIN beats b ON (b.id, b.lease) = (t.id, t.lease),
            {IDLE_IN_TRANSACTION_TIMEOUT}
        WHERE t.id = ANY(:tasks) AND t.state = 'running' ORDER BY t.id FOR NO KEY UPDATE OF t SKIP LOCKED),
    written AS (UPDATE tasks t SET heartbeat_at = now(), progress = f.progress FROM free f WHERE t.id = f.id)
    SELECT t.id, t.cancel_requested
    FROM beats b JOIN tasks t ON (t.id, t.lease) = (b.id, b.lease) WHERE t.id = ANY(:tasks) AND t.state = 'running'
""")
HELD = text("SELECT 1 FROM tasks WHERE id = :task AND lease = :lease AND state = 'running'")
FINISH = text("""
    UPDATE tasks SET state = :state, finished_at = now(), progress = coalesce(:progress, progress), error = :error,
        dismissed_at = NULL
    WHERE id = :task AND lease = :lease AND state = 'running' RETURNING id
""").bindparams(bindparam("error", type_=JSONB(none_as_null=True)))
# A task that was asked to stop meanwhile is not tried again.
BACK_TO_QUEUE = """
    state = CASE WHEN cancel_requested THEN 'cancelled' ELSE 'queued' END,
    finished_at = CASE WHEN cancel_requested THEN now() END
"""
RELEASE = text(f"""
    WITH ended AS (
        UPDATE tasks SET {BACK_TO_QUEUE}, error = :error, progress = 0, starts = starts - :uncounted,
            due_at = now() + make_interval(secs => :delay)
        WHERE id = :task AND lease = :lease AND state = 'running' RETURNING *)
    {RECORD_ATTEMPTS.format(counted=":counted")} RETURNING task_id
""").bindparams(bindparam("error", type_=JSONB(none_as_null=True)))
RECORD_FAILURE = text(f"""
    WITH ended AS (SELECT * FROM tasks WHERE id = :task) {RECORD_ATTEMPTS.format(counted="true")}
""")
SET_DEVICE = text("UPDATE tasks SET device = :device WHERE id = :task AND lease = :lease AND state = 'running'")


async def acquire(connection: AsyncConnection, task: TaskId, worker_name: str) -> Lease | None:
    """Take the task. None if another worker has it, or if it has ended or was cancelled in the meantime.

    The render row is locked first, as in every write that touches both, so that no two writes deadlock.
    """
    await connection.execute(LOCK_RENDER, {"task": task})
    row = (await connection.execute(START_ONE, {"task": task, "name": worker_name})).mappings().first()
    return None if row is None else to_lease(row)


def to_lease(row: RowMapping) -> Lease:
    """The lease of the row's kind. Raises ValueError if a column that the kind needs is empty."""
    fence = {"task_id": TaskId(row["id"]), "kind": row["kind"], "token": row["lease"], "attempts": row["starts"]}
    match dict(row):
        case {"kind": "segment", "render_id": render, "number": int(number)} if render is not None:
            return SegmentLease(**fence, render_id=RenderId(render), number=number)
        case {"kind": "assemble", "render_id": render} if render is not None:
            return AssembleLease(**fence, render_id=RenderId(render))
        case {"kind": "scan", "dataset_id": dataset} if dataset is not None:
            return ScanLease(**fence, dataset_id=DatasetId(dataset), **(row["payload"] or {}))
        case {"kind": "preview", "payload": dict(payload)}:
            return PreviewLease(**fence, payload=payload)
        case {"kind": "webhook", "payload": dict(payload)}:
            return WebhookLease(**fence, payload=payload)
    raise ValueError(f"task {row['id']} of kind {row['kind']} lacks a column that its kind needs")


# Until a task is tried again that could not even be started.
POSTPONED_S = 10
POSTPONE = text(f"""
    UPDATE tasks SET starts = starts + 1, error = :error, due_at = now() + make_interval(secs => {POSTPONED_S})
    WHERE id = :task AND state = 'queued'
""").bindparams(bindparam("error", type_=JSONB(none_as_null=True)))


async def postpone(connection: AsyncConnection, task: TaskId, error: dict[str, Any]) -> None:
    """Leave a queued task for POSTPONED_S, and count this as an attempt."""
    await connection.execute(POSTPONE, {"task": task, "error": error})


async def set_device(connection: AsyncConnection, lease: Lease, device: str) -> None:
    """Note that the attempt uses this GPU."""
    await connection.execute(SET_DEVICE, {"task": lease.task_id, "lease": lease.token, "device": device})


async def previous_error(connection: AsyncConnection, task: TaskId) -> str:
    """Why the previous attempt of the task failed."""
    query = text("SELECT error ->> 'reason' FROM tasks WHERE id = :task")
    return str(await connection.scalar(query, {"task": task}) or "unknown")


async def heartbeat(connection: AsyncConnection, progress: Sequence[tuple[Lease, int]]) -> dict[TaskId, bool]:
    """Keep these leases, and write how many frames of each task are finished.

    Returns the tasks whose lease is held, and whether they should be cancelled.
    """
    values = {
        "tasks": [lease.task_id for lease, _ in progress],
        "tokens": [lease.token for lease, _ in progress],
        "progress": [frames for _, frames in progress],
    }
    return {TaskId(row.id): row.cancel_requested for row in await connection.execute(HEARTBEAT, values)}


async def require(connection: AsyncConnection, lease: Lease) -> None:
    """Check that the lease is held; another worker may take the task right after. Raises LeaseLost."""
    if await connection.scalar(HELD, {"task": lease.task_id, "lease": lease.token}) is None:
        raise LeaseLost


async def finish(
    connection: AsyncConnection,
    lease: Lease,
    state: TaskState,
    *,
    progress: int | None = None,
    error: dict[str, Any] | None = None,
) -> None:
    """End the task. Raises LeaseLost."""
    values = {"task": lease.task_id, "lease": lease.token, "state": state, "progress": progress, "error": error}
    if (await connection.execute(FINISH, values)).first() is None:
        raise LeaseLost
    if state == "failed":
        await connection.execute(RECORD_FAILURE, {"task": lease.task_id})


@dataclass(frozen=True, slots=True)
class Failure:
    """How an attempt ended that did not succeed: `code` and `reason`, and the frame or object (`item`) it died of.

    `uncounted` starts are taken back. `counted=False`: the infrastructure ended it, as when the object store is away;
    it is taken back.
    """

    code: str
    reason: str
    item: str = ""
    counted: bool = True
    uncounted: int = 0


async def release(connection: AsyncConnection, lease: Lease, failure: Failure, delay_s: float = 0) -> None:
    """Return the task to the queue for another attempt, after a delay. Raises LeaseLost."""
    values = {
        "task": lease.task_id,
        "lease": lease.token,
        "error": {"code": failure.code, "reason": failure.reason, "item": failure.item},
        "delay": delay_s,
        "counted": failure.counted,
        "uncounted": failure.uncounted if failure.counted else 1,
    }
    if (await connection.execute(RELEASE, values)).first() is None:
        raise LeaseLost
