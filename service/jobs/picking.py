"""Takes the next task that is queued. Its row alone says so: `state = 'queued'`, and `due_at` is past.

There are three lanes. Webhooks have workers of their own. `urgent` tasks are what somebody is waiting for: previews,
scans, segments that a player asks for. All others belong to renders, of which those with the highest level come first:
the priority, and one more for every AGEING_S seconds since the render was submitted, so that no flow of renders of a
higher priority keeps another one waiting for ever. A worker takes no task of a render that a newer version of the
pipeline has planned or begun."""

from collections.abc import Collection
from typing import Literal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import RenderId, TaskId
from service.jobs import leases
from service.jobs.fairness import Candidate
from service.jobs.leases import Lease, TaskKind
from service.plan.render_plan import PIPELINE_VERSION

Lane = Literal["render", "urgent", "webhook"]
AGEING_S, HIGHEST_LEVEL = 60, 9
# Renders of at most so many frames go before the larger ones of the same caller and level.
SMALL_RENDER_FRAMES = 600
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
    SELECT id FROM tasks
    WHERE render_id = {render} AND lane = 'render' AND state = 'queued' AND due_at <= now()
    ORDER BY number NULLS LAST LIMIT 1
"""
# A caller's renders are put in order first (OFFSET 0 keeps it so), then looked into until one has a task that waits:
# one of a million tasks is looked at for each caller, not for each render.
SELECT_RENDERS = text(f"""
    WITH {_BUSY},
    callers AS (SELECT DISTINCT owner FROM renders WHERE status IN ('queued', 'running')),
    next AS (
        SELECT c.owner, first.* FROM callers c, LATERAL (
            SELECT * FROM (
                SELECT id, created_at, frames_total <= {SMALL_RENDER_FRAMES} AS small,
                    least(
                        priority + floor(extract(epoch FROM now() - created_at) / {AGEING_S})::int, {HIGHEST_LEVEL}
                    ) AS level
                FROM renders
                WHERE owner = c.owner AND status IN ('queued', 'running') AND pipeline <= {PIPELINE_VERSION}
                ORDER BY level DESC, small DESC, created_at, id OFFSET 0) r
            WHERE ({_NEXT_OF_RENDER.format(render="r.id")}) IS NOT NULL LIMIT 1) first)
    SELECT n.owner, n.level, coalesce(b.tasks, 0) AS busy, n.id AS render, NULL::uuid AS task
    FROM next n LEFT JOIN busy b ON b.owner = n.owner
    ORDER BY n.level DESC, busy, n.created_at LIMIT {MAX_CANDIDATES}
""")
SELECT_TASKS = text(f"""
    WITH {_BUSY},
    next AS (
        SELECT DISTINCT ON (owner) id, owner, created_at FROM tasks
        WHERE lane = :lane AND state = 'queued' AND due_at <= now() AND kind <> ALL(:except_kinds)
            AND owner <> ALL(:except_owners)
            AND NOT EXISTS (SELECT FROM renders r WHERE r.id = render_id AND r.pipeline > {PIPELINE_VERSION})
        ORDER BY owner, kind = 'scan', created_at, id)
    SELECT n.owner, 0 AS level, coalesce(b.tasks, 0) AS busy, NULL::uuid AS render, n.id AS task
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
    *,
    except_kinds: Collection[TaskKind] = (),
    except_owners: Collection[str] = (),
) -> list[Candidate]:
    """One candidate for each caller who has something queued in the lane. Renders have no kinds to leave out."""
    if lane == "render":
        rows = await connection.execute(SELECT_RENDERS, {"lane": lane})
    else:
        values = {"lane": lane, "except_kinds": list(except_kinds), "except_owners": list(except_owners)}
        rows = await connection.execute(SELECT_TASKS, values)
    return [
        Candidate(
            owner=row.owner,
            level=row.level,
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
