"""Rows of many unfinished renders, written by the database itself: a million tasks in about a minute."""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.render_plan import PIPELINE_VERSION, RenderOptions

# An hour of video at 30 frames a second, in segments of 2.5 s.
SEGMENTS_PER_RENDER, MAX_OWNERS = 1440, 100
OPTIONS = RenderOptions("h264", 70, Fraction(30), 1920, 1080)
# A plan names two frames instead of 75: they are written with the submit, which is not measured here.
FRAMES = '[[0, "frames/f0.jpg", "etag", 210000], [1, "frames/f1.jpg", "etag", 210000]]'
STATEMENTS = (
    """INSERT INTO experiments (id, name, owner)
        SELECT gen_random_uuid(), 'e' || o, 'caller-' || o FROM generate_series(1, :owners) o""",
    """INSERT INTO datasets (id, experiment_id, name, kind, bucket, prefix, state)
        SELECT gen_random_uuid(), id, 'frames', 'frames', 'reelmill', 'frames/' || id || '/', 'ready'
        FROM experiments""",
    """INSERT INTO renders (id, owner, experiment_id, dataset_id, render_key, request, options, frames_total, pipeline,
            priority, created_at)
        SELECT gen_random_uuid(), e.owner, e.id, d.id, 'render-' || e.owner || n, '{}', :options, :segments * 75,
            :version, n % 3, now() - make_interval(secs => n)
        FROM experiments e JOIN datasets d ON d.experiment_id = e.id,
            generate_series(1, :per_owner) n""",
    """INSERT INTO segments (render_id, number, first_output, content_key, frames, lead, pipeline)
        SELECT id, n, n * 75, encode(sha256((id::text || n)::bytea), 'hex'), CAST(:frames AS jsonb), '[]', :text_version
        FROM renders, generate_series(0, :segments - 1) n""",
    """INSERT INTO tasks (id, kind, render_id, number)
        SELECT gen_random_uuid(), 'segment', render_id, number FROM segments""",
)


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many tasks wait, of how many renders of how many callers."""

    tasks: int
    renders: int
    owners: int


async def write_backlog(connection: AsyncConnection, tasks: int) -> Backlog:
    """At least `tasks` of them, in renders of an hour by up to MAX_OWNERS callers."""
    segments = min(SEGMENTS_PER_RENDER, tasks)
    owners = min(MAX_OWNERS, ceil(tasks / segments))
    per_owner = ceil(tasks / segments / owners)
    values: dict[str, Any] = {
        "owners": owners,
        "per_owner": per_owner,
        "segments": segments,
        "options": OPTIONS.to_json(),
        "frames": FRAMES,
        "version": int(PIPELINE_VERSION),
        "text_version": PIPELINE_VERSION,
    }
    await connection.execute(text("SET LOCAL session_replication_role = replica"))  # a million keys need no check
    for statement in STATEMENTS:
        bound = text(statement)
        known = {name: values[name] for name in bound.compile().params}
        if "options" in known:
            bound = bound.bindparams(bindparam("options", type_=JSONB))
        await connection.execute(bound, known)
    return Backlog(owners * per_owner * segments, owners * per_owner, owners)


# As if other workers had done them: each row has the two dead versions that the changes of its state leave.
START_MANY = text("""
    UPDATE tasks SET state = 'running', heartbeat_at = now() WHERE state = 'queued' AND number < :below
""")
FINISH_MANY = text("UPDATE tasks SET state = 'succeeded' WHERE state = 'running' AND worker IS NULL")


async def finish_many(connection: AsyncConnection, share: float) -> int:
    """Finish this share of each render, from its beginning; returns how many tasks that were."""
    await connection.execute(text("SET LOCAL session_replication_role = replica"))
    await connection.execute(START_MANY, {"below": round(share * SEGMENTS_PER_RENDER)})
    return (await connection.execute(FINISH_MANY)).rowcount
