"""Takes the next task that is queued. Its row alone says so: `state = 'queued'`, and `due_at` is past.

There are three lanes. Webhooks have workers of their own. `urgent` tasks are what somebody is waiting for: previews,
scans, segments that a player asks for. All others belong to renders. The level of a render is its priority, and one
more for every AGEING_S seconds since it was submitted, up to the highest priority that waits: so no flow of renders of
a higher priority keeps another one waiting for ever, and among renders of one priority nobody's rises above others'. A
worker takes no task of a render that a newer version of the pipeline has planned or begun, and none that needs what the
free slot does not offer (see `routing`)."""

from collections.abc import Collection
from typing import Literal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import RenderId, TaskId
from service.jobs import leases
from service.jobs.fairness import Candidate
from service.jobs.leases import Lease, TaskKind
from service.jobs.routing import ANYBODY, CAN_DO, MAY_TAKE, Taker
from service.plan.render_plan import PIPELINE_VERSION

Lane = Literal["render", "urgent", "webhook"]
AGEING_S = 60
# Renders of at most so many frames go before larger ones of the same level; a larger one counts as small, too, when it
# has waited for so long.
SMALL_RENDER_FRAMES, BULK_WAIT_S = 600, 300
# Callers that are looked at for one task: those with the highest level and the fewest running tasks.
MAX_CANDIDATES = 200

# Counted by render first: 1,600 running tasks are of few renders.
_BUSY = """
    busy AS MATERIALIZED (
        SELECT coalesce(nullif(t.owner, ''), r.owner, '') AS owner, sum(t.tasks)::bigint AS tasks
        FROM (
            SELECT owner, render_id, count(*) AS tasks FROM tasks
            WHERE state = 'running' AND (lane = 'webhook') = (:lane = 'webhook') GROUP BY owner, render_id) t
        LEFT JOIN renders r ON r.id = t.render_id GROUP BY 1)
"""
_NEXT_OF_RENDER = """
    SELECT id, needs FROM tasks
    WHERE render_id = {render} AND lane = 'render' AND state = 'queued' AND due_at <= now()
    ORDER BY number NULLS LAST LIMIT 1
"""
# Renders are put in order first (OFFSET 0 keeps it so), then looked into until one has a task that waits: of a million
# tasks a few are looked at for each caller, not one for each render.
_FIRST_WAITING = f"""
    SELECT * FROM (
        SELECT id AS render, {{values}} FROM renders
        WHERE {{of}} AND status IN ('queued', 'running') AND pipeline <= {PIPELINE_VERSION}
        ORDER BY {{order}} OFFSET 0) r
    WHERE EXISTS (
        SELECT FROM ({_NEXT_OF_RENDER.format(render="r.render")}) t WHERE {CAN_DO.format(needs="t.needs")}) LIMIT 1
"""
_RANK = f"""
    created_at,
    frames_total <= {SMALL_RENDER_FRAMES} OR created_at < now() - make_interval(secs => {BULK_WAIT_S}) AS small,
    least(priority + floor(extract(epoch FROM now() - created_at) / {AGEING_S}), (SELECT priority FROM top)) AS level
"""
_BY_RANK = "level DESC, small DESC, created_at, id"
SELECT_RENDERS = text(f"""
    WITH {_BUSY},
    callers AS (SELECT DISTINCT owner FROM renders WHERE status IN ('queued', 'running')),
    top AS ({_FIRST_WAITING.format(values="priority", of="true", order="priority DESC")}),
    next AS (
        SELECT c.owner, own.priority, first.render, first.level, first.small, first.created_at FROM callers c,
            LATERAL ({_FIRST_WAITING.format(values="priority", of="owner = c.owner", order="priority DESC")}) own,
            LATERAL ({_FIRST_WAITING.format(values=_RANK, of="owner = c.owner", order=_BY_RANK)}) first
        WHERE {MAY_TAKE})
    SELECT n.owner, n.priority, n.level, n.small, coalesce(b.tasks, 0) AS busy, n.render, NULL::uuid AS task
    FROM next n LEFT JOIN busy b ON b.owner = n.owner
    ORDER BY n.level DESC, busy, n.created_at LIMIT {MAX_CANDIDATES}
""")
# Of one caller's tasks scans come last, and pictures of one frame go before sheets of many, which take longer.
SELECT_TASKS = text(f"""
    WITH {_BUSY},
    next AS (
        SELECT DISTINCT ON (owner) id, owner, created_at FROM tasks
        WHERE lane = :lane AND state = 'queued' AND due_at <= now() AND kind <> ALL(:except_kinds)
            AND owner <> ALL(:except_owners) AND {MAY_TAKE} AND {CAN_DO.format(needs="needs")}
            AND NOT EXISTS (SELECT FROM renders r WHERE r.id = render_id AND r.pipeline > {PIPELINE_VERSION})
        ORDER BY owner, kind = 'scan', kind = 'preview' AND frames > 1, created_at, id)
    SELECT n.owner, 0 AS priority, 0 AS level, false AS small, coalesce(b.tasks, 0) AS busy,
        NULL::uuid AS render, n.id AS task
    FROM next n LEFT JOIN busy b ON b.owner = n.owner
    ORDER BY busy, n.created_at LIMIT {MAX_CANDIDATES}
""")
LOCK_RENDER = text(f"""
    SELECT 1 FROM renders, {leases.IDLE_IN_TRANSACTION_TIMEOUT} WHERE renders.id = :render FOR UPDATE OF renders
""")
SELECT_NEXT_OF_RENDER = text(_NEXT_OF_RENDER.format(render=":render"))


async def list_candidates(
    connection: AsyncConnection,
    lane: Lane,
    taker: Taker = ANYBODY,
    *,
    except_kinds: Collection[TaskKind] = (),
    except_owners: Collection[str] = (),
) -> list[Candidate]:
    """One candidate for each caller who has something queued in the lane that the taker may take and can do.

    Renders have no kinds to leave out.
    """
    values = {"lane": lane, "worker": taker.id, "offers": sorted(taker.offers)}
    if lane == "render":
        rows = await connection.execute(SELECT_RENDERS, values)
    else:
        left_out = {"except_kinds": list(except_kinds), "except_owners": list(except_owners)}
        rows = await connection.execute(SELECT_TASKS, values | left_out)
    return [
        Candidate(
            owner=row.owner,
            priority=row.priority,
            level=int(row.level),
            small=row.small,
            busy=row.busy,
            render=None if row.render is None else RenderId(row.render),
            task=None if row.task is None else TaskId(row.task),
        )
        for row in rows
    ]


async def take(connection: AsyncConnection, candidate: Candidate, worker_name: str) -> Lease | None:
    """The lease of the candidate's task; None if others were faster."""
    task = candidate.task
    if candidate.render is not None:
        await connection.execute(LOCK_RENDER, {"render": candidate.render})
        task = await connection.scalar(SELECT_NEXT_OF_RENDER, {"render": candidate.render})
    return None if task is None else await leases.acquire(connection, TaskId(task), worker_name)
