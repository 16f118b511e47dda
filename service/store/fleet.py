"""The workers as an operator sees them: who is there, who takes tasks, and what nobody of them can do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import Conflict, NotFound
from service.jobs.routing import IS_ACTIVE, IS_LIVE, OFFERS, PIPELINE
from service.plan.needs import GPU_ENCODER
from service.plan.render_plan import PIPELINE_VERSION
from service.store.workers import WorkerState

# Clocks further from the database's are told. An S3 server refuses requests that are 15 minutes off.
MAX_CLOCK_OFFSET_S = 30
SELECT_WORKERS = text(f"""
    SELECT id, name, version, slots, started_at, facts, {PIPELINE} AS pipeline,
        CASE WHEN {IS_LIVE} THEN state ELSE 'lost' END AS state,
        extract(epoch FROM now() - heartbeat_at)::float8 AS age,
        (SELECT count(*) FROM tasks t
            WHERE t.worker = w.name AND t.state = 'running' AND t.lane <> 'webhook') AS running
    FROM workers w WHERE CAST(:id AS uuid) IS NULL OR id = :id ORDER BY name, id
""")
# A worker that drains does not come back, and those of earlier versions do not read their state.
SET_STATE = text(f"""
    UPDATE workers SET state = :state WHERE id = :id AND {IS_LIVE} AND state <> 'draining' AND facts ? 'offers'
""")
IS_SUPERSEDED = text(f"""
    SELECT EXISTS (SELECT FROM workers WHERE {IS_ACTIVE} AND {PIPELINE} > {PIPELINE_VERSION})
        AND NOT EXISTS (SELECT FROM renders WHERE status IN ('queued', 'running') AND pipeline <= {PIPELINE_VERSION})
""")
# What the next task of a render needs. Without the encoder of a GPU the render is planned for a CPU.
NEEDS_NOW = f"""
    CASE r.phase WHEN 'assembling' THEN '{{}}' ELSE ARRAY(
        SELECT need FROM unnest(r.needs) AS need WHERE need NOT LIKE '{GPU_ENCODER} %') END
"""
# Why no worker can go on with a render of this pipeline and these needs; null if one can.
OBSTACLE = f"""
    (SELECT CASE
        WHEN bool_or(fits AND state = 'active') THEN NULL
        WHEN count(*) = 0 THEN 'no worker is alive'
        WHEN bool_or(fits) THEN 'the workers that can do it are cordoned or drain: '
            || string_agg(name, ', ' ORDER BY name) FILTER (WHERE fits)
        WHEN max(pipeline) < {{pipeline}} THEN 'no live worker has version ' || {{pipeline}} || ' of the pipeline'
        ELSE 'no live worker offers ' || coalesce(nullif(array_to_string(ARRAY(
            SELECT need FROM unnest({{needs}}) AS need WHERE NOT EXISTS (
                SELECT FROM workers WHERE {IS_LIVE} AND {OFFERS.format(needs="ARRAY[need]")})), ' or '), ''),
            array_to_string({{needs}}, ' together with ')) END
    FROM (SELECT name, state, {PIPELINE} AS pipeline,
            {PIPELINE} >= {{pipeline}} AND {OFFERS} AS fits FROM workers WHERE {IS_LIVE}) live)
"""
SUMMARIZE_FLEET = text(f"""
    SELECT count(*) AS workers, coalesce(sum(slots) FILTER (WHERE state = 'active'), 0) AS slots,
        coalesce(array_agg(name ORDER BY name) FILTER (WHERE state = 'cordoned'), '{{}}') AS cordoned,
        coalesce(array_agg(name ORDER BY name) FILTER (WHERE state = 'draining'), '{{}}') AS draining,
        coalesce(array_agg(name ORDER BY name) FILTER (WHERE pipeline < newest), '{{}}') AS outdated,
        coalesce(jsonb_object_agg(name, facts -> 'clock_offset_s')
            FILTER (WHERE abs((facts ->> 'clock_offset_s')::float8) > {MAX_CLOCK_OFFSET_S}), '{{}}') AS clocks,
        coalesce(jsonb_object_agg(name, facts -> 'trouble')
            FILTER (WHERE facts ->> 'trouble' <> ''), '{{}}') AS troubles
    FROM (SELECT *, {PIPELINE} AS pipeline, greatest(max({PIPELINE}) OVER (), {PIPELINE_VERSION}) AS newest
        FROM workers WHERE {IS_LIVE}) live
""")
COUNT_STRANDED = text(f"""
    SELECT obstacle, sum(renders)::int AS renders FROM (
        SELECT renders, {OBSTACLE.format(pipeline="waiting.pipeline", needs="waiting.needs")} AS obstacle FROM (
            SELECT r.pipeline, {NEEDS_NOW} AS needs, count(*) AS renders FROM renders r
            WHERE r.status IN ('queued', 'running') GROUP BY 1, 2) waiting) found
    WHERE obstacle IS NOT NULL GROUP BY obstacle ORDER BY obstacle
""")


@dataclass(frozen=True, slots=True)
class Fleet:
    """The live workers together: how many, the `slots` of those that take tasks, and the names of others.

    `outdated` have an older version of the pipeline. `clocks` are seconds ahead of the database, of those that are far
    off; `troubles` what keeps workers from taking tasks. `stranded` counts the unfinished renders that no worker can go
    on with, by the reason.
    """

    workers: int
    slots: int
    cordoned: Sequence[str]
    draining: Sequence[str]
    outdated: Sequence[str]
    clocks: Mapping[str, float]
    troubles: Mapping[str, str]
    stranded: Mapping[str, int]


async def summarize_fleet(connection: AsyncConnection) -> Fleet:
    row = (await connection.execute(SUMMARIZE_FLEET)).mappings().one()
    stranded = await connection.execute(COUNT_STRANDED)
    return Fleet(**row, stranded={each.obstacle: each.renders for each in stranded})


async def list_workers(connection: AsyncConnection) -> Sequence[RowMapping]:
    """All that sent a heartbeat within five minutes; those that sent none for 15 seconds are `lost`."""
    return (await connection.execute(SELECT_WORKERS, {"id": None})).mappings().all()


async def change_state(connection: AsyncConnection, worker: UUID, state: WorkerState) -> RowMapping:
    """The row of the worker in its new state. Raises NotFound, Conflict if it drains, is lost or of an old version."""
    changed = (await connection.execute(SET_STATE, {"id": worker, "state": state})).rowcount
    row = (await connection.execute(SELECT_WORKERS, {"id": worker})).mappings().first()
    if row is None:
        raise NotFound("there is no such worker")
    if not changed and row["state"] != state:
        reasons = {"lost": "has sent no heartbeat for 15 seconds", "draining": "drains, and ends then"}
        raise Conflict(f"the worker {reasons.get(row['state'], 'is of a version that cannot be told so')}")
    return row


async def is_superseded(connection: AsyncConnection) -> bool:
    """Whether workers of a newer pipeline are there, and no unfinished render is left for this one to go on with."""
    return bool(await connection.scalar(IS_SUPERSEDED))


async def start_draining(connection: AsyncConnection, worker: UUID) -> None:
    """Note that the worker drains by itself."""
    await connection.execute(SET_STATE, {"id": worker, "state": "draining"})


def worker_facts(row: RowMapping) -> dict[str, Any]:
    """What the worker has told of itself; workers of earlier versions tell less."""
    defaults = {"zone": "", "offers": None, "gpus": None, "memory_mb": None, "clock_offset_s": None, "trouble": ""}
    return {name: row["facts"].get(name, default) for name, default in defaults.items()}


# A worker may come a little early: its own interval is not exact either.
BEGIN_ROUND = text("""
    INSERT INTO maintenance_rounds (name, begun_at) VALUES (:name, now())
    ON CONFLICT (name) DO UPDATE SET begun_at = now()
        WHERE maintenance_rounds.begun_at <= now() - make_interval(secs => 0.9 * :interval)
    RETURNING name
""")


async def begin_round(connection: AsyncConnection, name: str, interval_s: float) -> bool:
    """Whether it is this worker's turn to do what all workers would do at this interval.

    Whoever is killed meanwhile is missed for one interval only.
    """
    return await connection.scalar(BEGIN_ROUND, {"name": name, "interval": interval_s}) is not None
