"""Evict cached segments (least recently used first) and previews (oldest first)."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.render_plan import ObjectRef
from service.store.objects.keys import PREVIEW_PREFIX, segment_prefix
from service.store.objects.object_store import ObjectStore

# Segments that were rendered, looked up or played this recently are never evicted. This also settles a race: submission
# marks the segments that it reuses as used, and a row that changes during the eviction is evaluated again.
PROTECTED_MINUTES = 30


def _prefix_sql(column: str) -> str:
    """`objects.keys.segment_prefix` of the content key in this column."""
    return f"'segments/' || left({column}, 2) || '/' || {column} || '.'"


TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended('reelmill evict segments', 7))")
DELETE_LEAST_RECENTLY_USED = text(f"""
    WITH ranked AS (
        SELECT content_key, sum(bytes) OVER (ORDER BY used_at DESC, content_key) AS upto FROM segment_cache),
    gone AS (
        DELETE FROM segment_cache c USING ranked
        WHERE c.content_key = ranked.content_key
            AND (ranked.upto > :bytes OR c.used_at < now() - make_interval(secs => :seconds))
            AND c.used_at < now() - interval '{PROTECTED_MINUTES} minutes'
            AND NOT EXISTS (
                SELECT FROM segments s JOIN renders r ON r.id = s.render_id
                WHERE s.content_key = c.content_key AND r.status IN ('queued', 'running'))
        RETURNING c.content_key, c.bytes),
    marked AS (
        INSERT INTO removals (bucket, prefix)
        SELECT :bucket, {_prefix_sql("content_key")} FROM gone
        ON CONFLICT (bucket, prefix) DO NOTHING)
    SELECT count(*) AS segments, coalesce(sum(bytes), 0)::bigint AS bytes FROM gone
""")
# Left by renders that were planned anew for another encoder, and by versions that kept what deleted renders had used.
REMOVE_UNUSED = text(f"""
    INSERT INTO removals (bucket, prefix)
    SELECT :bucket, {_prefix_sql("c.content_key")} FROM segment_cache c
    WHERE NOT EXISTS (SELECT FROM segments s WHERE s.content_key = c.content_key)
    ON CONFLICT (bucket, prefix) DO NOTHING
""")
# The key that a segment's row is about to forget. An earlier attempt of its task may still write there for a day: see
# `deletion.LATE_WRITES`. Without a bucket it is in the service's own.
REMOVE_REPLACED = text(f"""
    INSERT INTO removals (bucket, prefix, repeat_until)
    SELECT '', {_prefix_sql("s.content_key")},
        (SELECT now() + interval '24 hours' FROM tasks t
            WHERE t.render_id = s.render_id AND t.kind = 'segment' AND t.number = s.number
                AND (t.state = 'running' OR t.lease > 1) LIMIT 1)
    FROM segments s WHERE s.render_id = :render AND s.number = :number AND s.content_key <> :key
    ON CONFLICT (bucket, prefix) DO UPDATE SET
        repeat_until = greatest(removals.repeat_until, excluded.repeat_until)
""")
CANCEL_REMOVAL = text("DELETE FROM removals WHERE prefix = :prefix")
CANCEL_REMOVALS = text(f"""
    DELETE FROM removals WHERE prefix IN (
        SELECT {_prefix_sql("content_key")} FROM segments WHERE render_id = :render)
""")


@dataclass(frozen=True, slots=True)
class EvictionResult:
    """What was dropped from the cache; `removal.delete_due_objects` deletes the objects."""

    segments: int
    bytes: int


async def evict_segments(
    connection: AsyncConnection, bucket: str, max_bytes: int, max_age_days: float
) -> EvictionResult | None:
    """Drop entries until the cache has at most `max_bytes` and none was last used more than `max_age_days` ago.

    None if another worker is evicting.
    """
    if not await connection.scalar(TRY_LOCK):
        return None
    values = {"bucket": bucket, "bytes": max_bytes, "seconds": max_age_days * 86_400}
    row = (await connection.execute(DELETE_LEAST_RECENTLY_USED, values)).one()
    return EvictionResult(row.segments, row.bytes)


async def remove_unused_segments(connection: AsyncConnection, bucket: str) -> int:
    """Schedule the removal of cached segments that no render uses any more; returns how many."""
    return (await connection.execute(REMOVE_UNUSED, {"bucket": bucket})).rowcount


async def remove_replaced(connection: AsyncConnection, render: UUID, number: int, content_key: str) -> None:
    """Schedule the removal of what a segment was stored as, if it is stored under another key from now on."""
    await connection.execute(REMOVE_REPLACED, {"render": render, "number": number, "key": content_key})


async def cancel_removal(connection: AsyncConnection, content_key: str) -> None:
    """Keep the objects of a segment that is about to be written under another key than its row says."""
    await connection.execute(CANCEL_REMOVAL, {"prefix": segment_prefix(content_key)})


async def cancel_removals(connection: AsyncConnection, render: object) -> None:
    """Keep the objects of these segments: a render is about to write them again."""
    await connection.execute(CANCEL_REMOVALS, {"render": render})


# Previews may take a tenth of the size that segments may.
PREVIEW_CACHE_DIVISOR = 10


async def evict_previews(objects: ObjectStore, max_bytes: int, max_age_days: float, now: datetime) -> int:
    """Delete previews older than `max_age_days` at `now`, then the oldest until the others have at most `max_bytes`.

    Returns how many were deleted. Those of the last half hour stay: somebody may be about to read them. Memory grows
    with the minutes in `max_age_days`, not with the number of previews. Workers may do this at the same time. Raises
    ObjectStoreError.
    """
    bytes_by_age: Counter[int] = Counter()
    async for page in objects.list(objects.bucket, PREVIEW_PREFIX):
        for info in page:
            age = max(int((now - info.modified).total_seconds() // 60), 0)
            bytes_by_age[min(age, int(max_age_days * 1440) + 1)] += info.size
    max_age = _max_age_minutes(bytes_by_age, max_bytes, max_age_days)
    if max(bytes_by_age, default=0) <= max_age:
        return 0
    return await _delete_older(objects, now - timedelta(minutes=max_age + 1))


def _max_age_minutes(bytes_by_age: Counter[int], max_bytes: int, max_age_days: float) -> int:
    """The age in minutes up to which previews stay."""
    max_age, total = int(max_age_days * 1440), 0
    for age in sorted(bytes_by_age):
        total += bytes_by_age[age]
        if total > max_bytes:
            max_age = min(max_age, age - 1)
            break
    return max(max_age, PROTECTED_MINUTES)


async def _delete_older(objects: ObjectStore, before: datetime) -> int:
    count = 0
    async for page in objects.list(objects.bucket, PREVIEW_PREFIX):
        for info in page:
            if info.modified <= before:
                await objects.delete(ObjectRef(objects.bucket, info.key))
                count += 1
    return count
