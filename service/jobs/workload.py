"""What the fleet has to do, and what it did in the last hour; and whether there is anything left for one worker."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from sqlalchemy import RowMapping, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.jobs.leases import TaskKind
from service.jobs.queue import count_active_tasks
from service.jobs.routing import CAN_DO, IS_LIVE, Taker
from service.plan.render_plan import PIPELINE_VERSION

WINDOW_S = 3600
# Above a million tasks an hour, the plan must not depend on statistics: each kind is a range of `tasks_finished`.
KINDS = get_args(TaskKind)
SELECT_FINISHED = text("""
    SELECT kind, device, count(*) AS count, sum(CASE kind WHEN 'segment' THEN progress ELSE 0 END)::bigint AS frames,
        coalesce(sum(extract(epoch FROM finished_at - started_at)), 0)::float8 AS seconds
    FROM tasks WHERE kind = ANY(:kinds) AND state = 'succeeded' AND finished_at > now() - make_interval(secs => :window)
    GROUP BY kind, device ORDER BY kind, device
""")
# Of segments that were made in this time, not found in the cache.
SELECT_STAGES = text("""
    SELECT stage, t.device, count(*) AS segments, sum(c.frames)::bigint AS frames, sum(value::float8) AS seconds
    FROM tasks t JOIN segments s ON (s.render_id, s.number) = (t.render_id, t.number)
        JOIN segment_cache c ON c.content_key = s.content_key AND c.created_at >= t.started_at,
        jsonb_each_text(c.seconds) AS spent(stage, value)
    WHERE t.kind = 'segment' AND t.state = 'succeeded' AND t.finished_at > now() - make_interval(secs => :window)
    GROUP BY stage, t.device ORDER BY stage, t.device
""")
SELECT_PLACEMENTS = text("""
    SELECT stage, placed ->> 'device' AS device, coalesce(placed ->> 'reason', '') AS reason, count(*) AS renders
    FROM renders, jsonb_each(stages) AS t(stage, placed)
    WHERE created_at > now() - make_interval(secs => :window) AND placed ? 'device'
    GROUP BY 1, 2, 3 ORDER BY renders DESC, stage, device LIMIT 50
""")
SELECT_FAILURES = text("""
    SELECT kind, device, code, count(*) AS count, (array_agg(reason ORDER BY id DESC))[1] AS reason
    FROM attempts WHERE ended_at > now() - make_interval(secs => :window)
    GROUP BY kind, device, code ORDER BY count DESC, kind, code LIMIT 50
""")
# Counters of live workers, since each began.
SELECT_FALLBACKS = text(f"""
    SELECT sample -> 'labels' ->> 'stage' AS stage, sample -> 'labels' ->> 'reason' AS reason,
        sum((sample ->> 'value')::float8)::bigint AS frames
    FROM workers, jsonb_array_elements(facts -> 'figures') AS t(sample)
    WHERE {IS_LIVE} AND facts ? 'figures' AND sample ->> 'name' = 'reelmill_fallbacks_total'
    GROUP BY 1, 2 ORDER BY frames DESC
""")

# What it runs, and what it could take now or later; webhooks are tried again for days.
SELECT_WORK_LEFT = text(f"""
    SELECT EXISTS (
        SELECT FROM tasks t LEFT JOIN renders r ON r.id = t.render_id
        WHERE (t.state = 'running' AND t.worker = :name)
            OR (t.state = 'queued' AND (t.kind <> 'webhook' OR t.due_at <= now()) AND {CAN_DO.format(needs="t.needs")}
                AND (t.kind IN ('webhook', 'preview') OR r.id IS NULL
                    OR (r.status IN ('queued', 'running') AND r.pipeline <= {PIPELINE_VERSION}))))
""")

Rows = Sequence[RowMapping]


@dataclass(frozen=True, slots=True)
class Workload:
    """Rows of each query above, and the queue by kind and state."""

    queue: Rows
    finished: Rows
    stages: Rows
    placements: Rows
    failures: Rows
    fallbacks: Rows


async def has_work_left(connection: AsyncConnection, worker: Taker) -> bool:
    """Whether the worker has tasks, or there are queued ones that it could do, also those put off for later."""
    values = {"name": worker.name, "offers": sorted(worker.offers)}
    return bool(await connection.scalar(SELECT_WORK_LEFT, values))


async def measure_workload(connection: AsyncConnection) -> Workload:
    """Run as the service."""

    async def rows(query: TextClause, **values: Any) -> Rows:
        return (await connection.execute(query, values)).mappings().all()

    return Workload(
        queue=await count_active_tasks(connection),
        finished=await rows(SELECT_FINISHED, kinds=list(KINDS), window=WINDOW_S),
        stages=await rows(SELECT_STAGES, window=WINDOW_S),
        placements=await rows(SELECT_PLACEMENTS, window=WINDOW_S),
        failures=await rows(SELECT_FAILURES, window=WINDOW_S),
        fallbacks=await rows(SELECT_FALLBACKS),
    )
