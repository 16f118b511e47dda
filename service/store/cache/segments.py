"""The segment cache: content key -> object. All renders share its entries; playback reads them, too."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.estimate import SegmentStats
from service.plan.render_plan import PIPELINE_VERSION, RenderOptions
from service.store.cache.eviction import remove_replaced
from service.store.objects.digests import StoredSegment
from service.store.tables import segment_cache, segments
from service.stream.playlist import StreamSegment

# Each segment of a render: what its task needs, and how many output frames it has.
PLANNED_SEGMENTS = """
    SELECT s.render_id, s.number, s.reused, r.needs,
        lead(s.first_output, 1, r.frames_total) OVER (ORDER BY s.number) - s.first_output AS frames
    FROM segments s JOIN renders r ON r.id = s.render_id WHERE s.render_id = :render
"""
# New tasks for the segments of which a common table expression `again` has the numbers.
_REPLACE_TASKS = f"""
    old AS (
        DELETE FROM tasks WHERE render_id = :render AND kind = 'segment' AND number IN (SELECT number FROM again))
    INSERT INTO tasks (id, kind, render_id, number, urgent, needs, frames, due_at)
    SELECT gen_random_uuid(), 'segment', render_id, number, :urgent, needs, frames, now() + make_interval(secs => :gap)
    FROM ({PLANNED_SEGMENTS}) planned JOIN again USING (number) RETURNING id
"""
INVALIDATE_SEGMENTS = text(f"""
    WITH gone AS (
        DELETE FROM segment_cache WHERE content_key = ANY(:keys)
            AND content_key IN (SELECT content_key FROM segments WHERE render_id = :render)),
    again AS (
        UPDATE segments SET reused = false WHERE render_id = :render AND content_key = ANY(:keys) RETURNING number),
    {_REPLACE_TASKS}
""")
REPLACE_OUTDATED_TASKS = text(f"""
    WITH again AS (
        UPDATE segments SET reused = false WHERE render_id = :render AND pipeline IS DISTINCT FROM :version
        RETURNING number),
    {_REPLACE_TASKS}
""")
SELECT_RECENT_STATS = text("""
    SELECT c.frames, c.bytes, c.seconds, (r.options ->> 'width')::int AS width, (r.options ->> 'height')::int AS height,
        (r.options ->> 'quality')::int AS quality
    FROM (SELECT * FROM segment_cache WHERE frames > 0 ORDER BY used_at DESC LIMIT 300) c
    CROSS JOIN LATERAL (
        SELECT r.options FROM segments s JOIN renders r ON r.id = s.render_id
        WHERE s.content_key = c.content_key LIMIT 1) r
    WHERE r.options ->> 'codec' = :codec AND coalesce(r.options ->> 'effort', 'balanced') = :effort
        AND coalesce((r.options #>> '{bins,size}')::int, jsonb_array_length(r.options #> '{grid,panels}'), 1) = :sources
        AND r.options ? 'grid' = :is_grid
    ORDER BY (r.options ->> 'width')::int = :width AND (r.options ->> 'height')::int = :height DESC, c.created_at DESC
    LIMIT 50
""")
SELECT_STAGE_SECONDS = text("""
    SELECT stage, sum(value::float8) AS seconds
    FROM segments s JOIN segment_cache c ON c.content_key = s.content_key, jsonb_each_text(c.seconds) AS t(stage, value)
    WHERE s.render_id = :render GROUP BY stage ORDER BY stage
""")
COUNT_REUSED = text("""
    SELECT count(*) AS segments, count(*) FILTER (WHERE reused) AS reused,
        count(*) FILTER (WHERE transient) AS transient
    FROM segments WHERE render_id = :render
""")
SELECT_CACHE_SIZE = text("SELECT count(*) AS segments, coalesce(sum(bytes), 0)::bigint AS bytes FROM segment_cache")


async def set_result(
    connection: AsyncConnection, render: UUID, number: int, content_key: str, *, transient: bool = False
) -> None:
    """Note under which key a segment of the render is stored, and by which version of the pipeline it was made.

    What is stored under the key before is removed, unless other segments use it.
    """
    of_row = segments.c.render_id == render, segments.c.number == number
    values = {"content_key": content_key, "transient": transient, "pipeline": PIPELINE_VERSION}
    differs = or_(*(segments.c[name].is_distinct_from(value) for name, value in values.items()))
    if await connection.scalar(select(differs).where(*of_row)):  # most are as they were planned
        await remove_replaced(connection, render, number, content_key)
        await connection.execute(update(segments).where(*of_row).values(**values))


async def find_entry(connection: AsyncConnection, content_key: str) -> RowMapping | None:
    """The entry, which is marked as used now; None if there is none."""
    query = update(segment_cache).where(segment_cache.c.content_key == content_key).values(used_at=text("now()"))
    row: RowMapping | None = (await connection.execute(query.returning(segment_cache))).mappings().first()
    return row


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A stored segment: `seconds` by stage, `duration` of its video in seconds as a fraction, if known.

    `digests` are the SHA-256 of its objects by name (see `objects.keys.artifact_key`).
    """

    content_key: str
    key: str
    bytes: int
    frames: int
    encoder: str
    seconds: dict[str, float]
    duration: str | None = None
    digests: dict[str, str] = field(default_factory=dict)


async def insert_entry(connection: AsyncConnection, entry: CacheEntry) -> None:
    """Add a stored segment. If two workers rendered it at the same time, the entry tells of what was written last."""
    query = insert(segment_cache).values(**asdict(entry))
    replaced = asdict(entry) | {"created_at": text("now()")}
    await connection.execute(query.on_conflict_do_update(index_elements=["content_key"], set_=replaced))


async def invalidate_entries(
    connection: AsyncConnection, render: UUID, content_keys: Sequence[str], *, urgent: bool = False, gap_s: float = 0.0
) -> None:
    """Delete entries whose objects are gone or damaged, and queue tasks of this render that write them again, after
    `gap_s` seconds."""
    values = {"render": render, "keys": list(content_keys), "urgent": urgent, "gap": gap_s}
    await connection.execute(INVALIDATE_SEGMENTS, values)


async def replace_outdated_tasks(connection: AsyncConnection, render: UUID) -> bool:
    """Queue tasks that render again what another version of the pipeline made; its entries stay in the cache.

    Returns whether there are any.
    """
    values = {"render": render, "version": PIPELINE_VERSION, "urgent": False, "gap": 0.0}
    return (await connection.execute(REPLACE_OUTDATED_TASKS, values)).first() is not None


async def list_render_segments(connection: AsyncConnection, render: UUID) -> list[StoredSegment]:
    """Every segment of the render, in order."""
    columns = (segments.c.content_key, segment_cache.c.bytes, segment_cache.c.digests)
    query = select(*columns).outerjoin(segment_cache, segment_cache.c.content_key == segments.c.content_key)
    query = query.where(segments.c.render_id == render).order_by(segments.c.number)
    return [
        StoredSegment(row.content_key, row.bytes or 0, row.digests or {}, row.bytes is not None)
        for row in await connection.execute(query)
    ]


async def recent_stats(connection: AsyncConnection, options: RenderOptions) -> list[SegmentStats]:
    """Recent segments of the same codec, effort, and size of bins or grids; those of the same frame size first."""
    values = {
        "codec": options.codec,
        "effort": options.effort,
        "sources": options.sources_per_output,
        "is_grid": options.grid is not None,
    }
    values |= {"width": options.width, "height": options.height}
    return [SegmentStats(**row) for row in (await connection.execute(SELECT_RECENT_STATS, values)).mappings()]


async def existing_keys(connection: AsyncConnection, content_keys: Sequence[str]) -> set[str]:
    """Which of these keys are in the cache."""
    query = select(segment_cache.c.content_key).where(segment_cache.c.content_key.in_(content_keys))
    return set(await connection.scalars(query))


async def cache_size(connection: AsyncConnection) -> tuple[int, int]:
    """(segments, bytes) of the whole cache."""
    row = (await connection.execute(SELECT_CACHE_SIZE)).one()
    return row.segments, row.bytes


async def timing_summary(connection: AsyncConnection, render: UUID) -> dict[str, Any]:
    """Seconds per stage over all segments of the render, how many there are, were reused, and are transient."""
    seconds = await connection.execute(SELECT_STAGE_SECONDS, {"render": render})
    counted = (await connection.execute(COUNT_REUSED, {"render": render})).one()
    return {
        "stage_seconds": {row.stage: round(row.seconds, 6) for row in seconds},
        "segments": counted.segments,
        "segments_reused": counted.reused,
        "segments_transient": counted.transient,
    }


SELECT_STORED = text("""
    SELECT s.content_key, c.frames, c.digests ->> 'mp4' AS sha256
    FROM segments s JOIN renders r ON r.id = s.render_id LEFT JOIN segment_cache c
        ON c.content_key = s.content_key AND (r.status = 'succeeded' OR s.pipeline = :version)
    WHERE s.render_id = :render ORDER BY s.number
""")


@dataclass(frozen=True, slots=True)
class FrameCount:
    """How many `frames` a segment has: None if it is not in the cache (yet, or any more)."""

    content_key: str
    frames: int | None
    sha256: str | None


async def list_frame_counts(connection: AsyncConnection, render: UUID) -> list[FrameCount]:
    """The segments of the render, in order."""
    rows = await connection.execute(SELECT_STORED, {"render": render, "version": PIPELINE_VERSION})
    return [FrameCount(row.content_key, row.frames, row.sha256) for row in rows]


SELECT_PARTS = text("""
    SELECT s.number, s.content_key, s.planned, c.frames, c.duration, r.options ->> 'fps' AS fps,
        c.digests ->> 'mp4' AS sha256,
        lead(s.first_output, 1, r.frames_total) OVER (ORDER BY s.number) - s.first_output AS outputs
    FROM segments s JOIN renders r ON r.id = s.render_id LEFT JOIN segment_cache c
        ON c.content_key = s.content_key AND (r.status = 'succeeded' OR s.pipeline = :version)
    WHERE s.render_id = :render ORDER BY s.number
""")
TOUCH_SEGMENTS = text("""
    UPDATE segment_cache SET used_at = now()
    WHERE used_at < now() - interval '1 minute'
        AND content_key IN (SELECT content_key FROM segments WHERE render_id = :render)
""")


async def list_playlist_parts(connection: AsyncConnection, render: UUID) -> list[StreamSegment]:
    """The segments of the render, in order, with their planned and, once in the cache, actual seconds.

    What another version made is only played for a render that has ended: another one will render it again.
    """
    parts = []
    for row in await connection.execute(SELECT_PARTS, {"render": render, "version": PIPELINE_VERSION}):
        # Rows without `planned` or `duration` are older than these columns: their renders have a constant rate.
        planned = Fraction(row.planned) if row.planned else row.outputs / Fraction(row.fps)
        encoded = None
        if row.frames is not None:
            encoded = Fraction(row.duration) if row.duration else row.frames / Fraction(row.fps)
        parts.append(StreamSegment(row.number, planned, encoded, row.content_key, row.sha256))
    return parts


async def touch_segments(connection: AsyncConnection, render: UUID) -> None:
    """Mark the render's segments as used, because somebody is watching; at most once a minute."""
    await connection.execute(TOUCH_SEGMENTS, {"render": render})
