"""Takes the next task that is queued. Its row alone says so: `state = 'queued'`, and `due_at` is past.

There are three lanes. Webhooks have workers of their own. `urgent` tasks are what somebody is waiting for: previews,
scans, segments that a player asks for. All others belong to renders. The level of a render is its priority, and one
more for every AGEING_S seconds since it was submitted, up to the highest priority that waits: so no flow of renders of
a higher priority keeps another one waiting for ever, and among renders of one priority nobody's rises above others'. A
worker takes no task of a render that a newer version of the pipeline has planned or begun, and none that needs what the
free slot does not offer (see `routing`)."""

from collections.abc import Collection
from typing import Any, Literal

from sqlalchemy import Row, text
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

# Counted by render first: 1,600 running tasks are of few renders.
_BUSY = """
    SELECT coalesce(nullif(t.owner, ''), r.owner, '') AS owner, sum(t.tasks)::int AS tasks
    FROM (
        SELECT owner, render_id, count(*) AS tasks FROM tasks
        WHERE state = 'running' AND {of} GROUP BY owner, render_id) t
    LEFT JOIN renders r ON r.id = t.render_id GROUP BY 1
"""
SELECT_BUSY, SELECT_BUSY_WEBHOOKS = (text(_BUSY.format(of=f"lane {sign} 'webhook'")) for sign in ("<>", "="))
_WAITING_OF_RENDER = """
    SELECT id, needs FROM tasks
    WHERE render_id = {render} AND lane = 'render' AND state = 'queued' AND due_at <= now()
    ORDER BY {order} LIMIT 1
"""
# Renders are put in order first (OFFSET 0 keeps it so), then looked into until one has a task that waits: of a million
# tasks a few are looked at for each caller, not one for each render. It is its last one: before the first there are the
# dead index entries of all that were taken, which PostgreSQL cannot remove while an old transaction is open.
_LAST_WAITING = _WAITING_OF_RENDER.format(render="r.render", order="number DESC NULLS FIRST")
_FIRST_WAITING = f"""
    SELECT * FROM (
        SELECT id AS render, {{values}} FROM renders
        WHERE {{of}} AND status IN ('queued', 'running') AND pipeline <= {PIPELINE_VERSION}
        ORDER BY {{order}} OFFSET 0) r
    WHERE EXISTS (SELECT FROM ({_LAST_WAITING}) t WHERE {CAN_DO.format(needs="t.needs")}) LIMIT 1
"""
_RANK = f"""
    priority, created_at,
    frames_total <= {SMALL_RENDER_FRAMES} OR created_at < now() - make_interval(secs => {BULK_WAIT_S}) AS small,
    least(priority + floor(extract(epoch FROM now() - created_at) / {AGEING_S}), (SELECT priority FROM top)) AS level
"""
_BY_RANK = "level DESC, small DESC, created_at, id"
_HIGHEST = f"""
    SELECT h.priority FROM ({_FIRST_WAITING.format(values="priority", of="owner = c.owner", order="priority DESC")}) h
"""
SELECT_RENDERS = text(f"""
    WITH callers AS (
        SELECT owner, max(priority) AS priority FROM renders WHERE status IN ('queued', 'running') GROUP BY owner),
    top AS ({_FIRST_WAITING.format(values="priority", of="true", order="priority DESC")})
    SELECT c.owner, first.level, first.small, first.created_at, first.render, NULL::uuid AS task,
        CASE WHEN first.priority = c.priority THEN c.priority ELSE ({_HIGHEST}) END AS priority
    FROM callers c, LATERAL ({_FIRST_WAITING.format(values=_RANK, of="owner = c.owner", order=_BY_RANK)}) first
    WHERE {MAY_TAKE}
""")
# Of one caller's tasks scans come last, and pictures of one frame go before sheets of many, which take longer. The lane
# is no parameter: the planner must know that it is not that of renders.
_WAITING_TASKS = f"""
    SELECT DISTINCT ON (owner) owner, 0 AS priority, 0 AS level, false AS small, created_at, NULL::uuid AS render,
        id AS task
    FROM tasks
    WHERE lane = '{{lane}}' AND state = 'queued' AND due_at <= now() AND kind <> ALL(:except_kinds)
        AND owner <> ALL(:except_owners) AND {MAY_TAKE} AND {CAN_DO.format(needs="needs")}
        AND NOT EXISTS (SELECT FROM renders r WHERE r.id = render_id AND r.pipeline > {PIPELINE_VERSION})
    ORDER BY owner, kind = 'scan', kind = 'preview' AND frames > 1, created_at, id
"""
SELECT_URGENT, SELECT_WEBHOOKS = (text(_WAITING_TASKS.format(lane=lane)) for lane in ("urgent", "webhook"))
# No row: it has ended since it was listed, or a newer version has begun it.
LOCK_RENDER = text(f"""
    SELECT 1 FROM renders, {leases.IDLE_IN_TRANSACTION_TIMEOUT}
    WHERE renders.id = :render AND status IN ('queued', 'running') AND pipeline <= {PIPELINE_VERSION}
    FOR UPDATE OF renders
""")
_NEXT = f"""
    SELECT id FROM ({_WAITING_OF_RENDER.format(render=":render", order="number NULLS LAST")}) t
    WHERE {MAY_TAKE} AND {CAN_DO.format(needs="t.needs")}
"""
START_NEXT = text(leases.START.format(task=f"({_NEXT})"))


async def list_candidates(
    connection: AsyncConnection,
    lane: Lane,
    taker: Taker = ANYBODY,
    *,
    except_kinds: Collection[TaskKind] = (),
    except_owners: Collection[str] = (),
) -> list[Candidate]:
    """One candidate for each caller who has something queued in the lane that the taker may take and can do; those of
    the highest level first, then those of the callers with the fewest running tasks.

    Renders have no kinds to leave out.
    """
    values = _values(taker)
    if lane == "render":
        found = await connection.execute(SELECT_RENDERS, values)
    else:
        left_out = {"except_kinds": list(except_kinds), "except_owners": list(except_owners)}
        found = await connection.execute(SELECT_URGENT if lane == "urgent" else SELECT_WEBHOOKS, values | left_out)
    if not (rows := found.all()):
        return []
    counted = SELECT_BUSY_WEBHOOKS if lane == "webhook" else SELECT_BUSY
    busy = {row.owner: row.tasks for row in await connection.execute(counted)}
    rows = sorted(rows, key=lambda row: (-row.level, busy.get(row.owner, 0), row.created_at))
    return [_to_candidate(row, busy.get(row.owner, 0)) for row in rows]


def _to_candidate(row: Row[Any], busy: int) -> Candidate:
    return Candidate(
        owner=row.owner,
        priority=row.priority,
        level=int(row.level),
        small=row.small,
        busy=busy,
        render=None if row.render is None else RenderId(row.render),
        task=None if row.task is None else TaskId(row.task),
    )


async def take(connection: AsyncConnection, candidate: Candidate, taker: Taker) -> Lease | None:
    """The lease of the candidate's task; None if others were faster, or if it is not to be taken any more."""
    if candidate.render is None:
        return None if candidate.task is None else await leases.acquire(connection, candidate.task, taker.name)
    if await connection.scalar(LOCK_RENDER, {"render": candidate.render}) is None:
        return None
    values = _values(taker) | {"render": candidate.render, "name": taker.name}
    row = (await connection.execute(START_NEXT, values)).mappings().first()
    return None if row is None else leases.to_lease(row)


def _values(taker: Taker) -> dict[str, Any]:
    return {"worker": taker.id, "offers": sorted(taker.offers)}
