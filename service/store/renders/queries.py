"""Read renders: pages of a list, statuses, the plan of a segment."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, Select, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import Subject
from service.plan.render_plan import PIPELINE_VERSION, FrameRef, RenderOptions, SegmentPlan
from service.store.database import Caller
from service.store.fleet import NEEDS_NOW, OBSTACLE
from service.store.keyset import PageRequest, fetch_page
from service.store.tables import datasets, render_panels, render_presets, renders, requesters, segments

# What `lifecycle.remake_render` calls the video, as opposed to the files beside it.
VIDEO_FILE = "video"


@dataclass(frozen=True, slots=True)
class RenderFilter:
    """Which renders to list; None: any. `preset_id`: those that a request has named this preset for."""

    status: str | None = None
    experiment_id: UUID | None = None
    dataset_id: UUID | None = None
    preset_id: UUID | None = None
    requester: Subject | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


async def page(
    connection: AsyncConnection, conditions: RenderFilter, part: PageRequest
) -> tuple[list[RowMapping], int]:
    """`id` and `created_at` of one page of the renders that the caller may see, and how many of them it shows: see
    `fetch_page`."""
    query = _apply_filter(select(renders.c.id, renders.c.created_at), conditions)
    documents = (renders.c.request, renders.c.summary, renders.c.error)
    return await fetch_page(connection, query, renders, part, documents)


async def count_renders(connection: AsyncConnection, conditions: RenderFilter) -> int:
    """How many match, on all pages together."""
    return int(await connection.scalar(_apply_filter(select(func.count()).select_from(renders), conditions)) or 0)


def _apply_filter(query: Select[Any], conditions: RenderFilter) -> Select[Any]:
    for name in ("status", "experiment_id"):
        value = getattr(conditions, name)
        if value is not None:
            query = query.where(renders.c[name] == value)
    if (dataset := conditions.dataset_id) is not None:
        grids = select(render_panels.c.render_id).where(render_panels.c.dataset_id == dataset)
        query = query.where((renders.c.dataset_id == dataset) | renders.c.id.in_(grids))
    if conditions.preset_id is not None:
        named = select(render_presets.c.render_id).where(render_presets.c.preset_id == conditions.preset_id)
        query = query.where(renders.c.id.in_(named))
    if conditions.requester is not None:
        asked = select(requesters.c.render_id).where(requesters.c.subject == conditions.requester)
        query = query.where(renders.c.id.in_(asked))
    if conditions.created_after is not None:
        query = query.where(renders.c.created_at > conditions.created_after)
    if conditions.created_before is not None:
        query = query.where(renders.c.created_at < conditions.created_before)
    return query


async def find_latest(connection: AsyncConnection, conditions: RenderFilter) -> UUID | None:
    """The newest finished render that the caller may see. One of which a file beside the video is made again is
    finished, one whose video is made again is not."""
    file = renders.c.remake["file"].as_string()
    finished = or_(renders.c.status == "succeeded", renders.c.status.in_(("queued", "running")) & (file != VIDEO_FILE))
    query = _apply_filter(select(renders.c.id), conditions).where(finished)
    query = query.order_by(renders.c.created_at.desc(), renders.c.id.desc()).limit(1)
    found: UUID | None = await connection.scalar(query)
    return found


# The first preset that who asked first for the render `r` named.
FIRST_PRESET = """(
    SELECT jsonb_build_object('id', p.preset_id, 'name', p.name) FROM render_presets p
    WHERE p.render_id = r.id AND p.subject = r.owner ORDER BY p.created_at, p.preset_id LIMIT 1)"""
SELECT_FIRST_PRESET = text(f"SELECT {FIRST_PRESET} FROM renders r WHERE r.id = :render")


async def first_preset(connection: AsyncConnection, render: UUID) -> dict[str, str] | None:
    """`id` and `name` of the first preset that who asked first for the render named; None if he named none."""
    found: dict[str, str] | None = await connection.scalar(SELECT_FIRST_PRESET, {"render": render})
    return found


# When the render `r` is deleted; null: never. It belongs to each who asked for it, for as long as he asked for or the
# service keeps all (`:retention` seconds; null: for ever), from when it ended or he asked last.
EXPIRES_AT = """(
    SELECT CASE WHEN count(*) = 0 THEN r.finished_at + make_interval(secs => CAST(:retention AS float8))
        WHEN bool_or(q.keep_days IS NULL AND CAST(:retention AS float8) IS NULL) THEN NULL
        ELSE max(greatest(r.finished_at, q.asked_at)
            + coalesce(make_interval(days => q.keep_days), make_interval(secs => CAST(:retention AS float8)))) END
    FROM requesters q
    WHERE q.render_id = r.id AND r.finished_at IS NOT NULL)"""
# Of the attempts that did not succeed, in a status and in a receipt.
MAX_SHOWN_ATTEMPTS = 20
SELECT_STATUSES = text(f"""
    SELECT r.*, {EXPIRES_AT} AS expires_at, {FIRST_PRESET} AS preset, e.owner AS experiment_owner,
        ARRAY(SELECT subject FROM requesters WHERE render_id = r.id) AS requesters,
        CASE e.visibility WHEN 'private' THEN '{{}}' WHEN 'shared' THEN e.shared_with END AS guests,
        d.name AS dataset_name, (coalesce(t.done, 0) + coalesce(s.reused_frames, 0))::bigint AS frames_done,
        coalesce(t.done, 0)::bigint AS frames_fresh, coalesce(a.attempts, t.started, 0) AS attempts, t.problem,
        coalesce(f.attempts, '[]') AS failed_attempts, extract(epoch FROM now() - r.started_at)::float8 AS running_s,
        CASE WHEN r.status IN ('queued', 'running') AND NOT t.any_running
            THEN {OBSTACLE.format(pipeline="r.pipeline", needs=f"({NEEDS_NOW})")} END AS waiting_for
    FROM renders r JOIN datasets d ON d.id = r.dataset_id JOIN experiments e ON e.id = r.experiment_id
    LEFT JOIN LATERAL (
        SELECT sum(progress) FILTER (WHERE kind = 'segment') AS done,
            least(max(starts), 1) AS started, coalesce(bool_or(state = 'running'), false) AS any_running,
            (array_agg(error - 'segments' ORDER BY heartbeat_at DESC) FILTER (WHERE error IS NOT NULL))[1] AS problem
        FROM tasks WHERE render_id = r.id) t ON true
    LEFT JOIN LATERAL (
        SELECT sum(outputs) FILTER (WHERE reused) AS reused_frames FROM (
            SELECT reused, lead(first_output, 1, r.frames_total) OVER (ORDER BY number) - first_output AS outputs
            FROM segments WHERE render_id = r.id) planned) s ON true
    LEFT JOIN LATERAL (
        SELECT max(ended.attempts + (t.state IN ('running', 'succeeded'))::int) AS attempts
        FROM (SELECT task_id, count(*) AS attempts FROM attempts WHERE render_id = r.id GROUP BY task_id) ended
        JOIN tasks t ON t.id = ended.task_id) a ON true
    LEFT JOIN LATERAL (
        SELECT jsonb_agg(to_jsonb(last)) AS attempts FROM (
            SELECT kind AS task, number AS segment, worker, device, started_at, ended_at, code, reason, counted
            FROM attempts WHERE render_id = r.id ORDER BY ended_at DESC, id DESC LIMIT :attempts) last) f ON true
    WHERE r.id = ANY(:ids) ORDER BY r.created_at DESC, r.id DESC
""")
SELECT_ESTIMATE_RATIO = text("""
    SELECT extract(epoch FROM finished_at - started_at)::float8 / (estimate ->> 'seconds')::float8 AS ratio
    FROM renders WHERE id = :render AND status = 'succeeded' AND (estimate ->> 'seconds')::float8 > 0
        AND remade_at IS NULL
""")


async def list_statuses(
    connection: AsyncConnection, ids: Sequence[UUID], retention: timedelta | None = None
) -> Sequence[RowMapping]:
    """Rows of these renders with their progress, newest first. Run as the service: check the caller's rights before.

    `expires_at` is null for those that are kept for ever, which most are without a `retention`.
    `owner`, `experiment_owner`, `requesters` and `guests` (null: everybody) are not for every caller.
    """
    seconds = retention.total_seconds() if retention else None
    values = {"ids": list(ids), "attempts": MAX_SHOWN_ATTEMPTS, "retention": seconds}
    return (await connection.execute(SELECT_STATUSES, values)).mappings().all()


SELECT_FAILED_ATTEMPTS = text("""
    SELECT kind AS task, number AS segment, worker, device, started_at::text, ended_at::text, code, reason
    FROM attempts WHERE render_id = :render ORDER BY id DESC LIMIT :most
""")


async def list_failed_attempts(connection: AsyncConnection, render: UUID) -> list[dict[str, Any]]:
    """The latest attempts that did not succeed, newest first, as JSON."""
    values = {"render": render, "most": MAX_SHOWN_ATTEMPTS}
    return [dict(row) for row in (await connection.execute(SELECT_FAILED_ATTEMPTS, values)).mappings()]


def may_read(row: RowMapping, caller: Caller) -> bool:
    """Whether the caller may see the render of such a row: what row-level security says of it at that moment."""
    guests = row["guests"]
    return caller.admin or caller.subject == row["experiment_owner"] or guests is None or caller.subject in guests


async def get_render(connection: AsyncConnection, render: UUID) -> RowMapping | None:
    return (await connection.execute(select(renders).where(renders.c.id == render))).mappings().first()


async def has_running_task(connection: AsyncConnection, render: UUID) -> bool:
    """Whether a worker still works for the render; an ended one may have a task that was cancelled too late."""
    query = text("SELECT EXISTS (SELECT FROM tasks WHERE render_id = :render AND state = 'running')")
    return bool(await connection.scalar(query, {"render": render}))


async def update_video_etag(connection: AsyncConnection, render: UUID, sha256: str, etag: str) -> None:
    """Note that the object with this ETag has the bytes of the render's video, if that still has this digest."""
    query = update(renders).where(renders.c.id == render, renders.c.video_sha256 == sha256)
    await connection.execute(query.values(video_etag=etag))


async def load_segment_plan(connection: AsyncConnection, render: UUID, number: int) -> tuple[SegmentPlan, str | None]:
    """The plan of one segment as it was submitted, and its content key.

    None: it has to be computed, because another version planned the segment, or the row names a transient one.
    """
    query = (
        select(segments, renders.c.options, datasets.c.bucket)
        .join(renders, renders.c.id == segments.c.render_id)
        .join(datasets, datasets.c.id == renders.c.dataset_id)
        .where(segments.c.render_id == render, segments.c.number == number)
    )
    row = (await connection.execute(query)).mappings().one()
    options = RenderOptions.from_json(row["options"])
    known_key = row["content_key"] if row["pipeline"] == PIPELINE_VERSION and not row["transient"] else None
    frames, lead = (tuple(FrameRef(*packed) for packed in row[name]) for name in ("frames", "lead"))
    return SegmentPlan(number, row["first_output"], row["bucket"], options, frames, lead), known_key


async def estimate_ratio(connection: AsyncConnection, render: UUID) -> float | None:
    """Actual over estimated seconds of a render; None until it has succeeded, or without an estimate."""
    ratio = await connection.scalar(SELECT_ESTIMATE_RATIO, {"render": render})
    return None if ratio is None else float(ratio)
