"""Evict cached segments (least recently used first) and previews (oldest first)."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.render_plan import ObjectRef
from service.store.objects.object_store import ObjectInfo, ObjectStore

# Whatever was made, looked up or watched this recently stays, however full the cache is. It also settles the race with
# a render that is being planned: that marks what it reuses as used, and a row that changed under the eviction is judged
# anew.
PROTECTED_MINUTES = 30

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
        SELECT :bucket, 'segments/' || left(content_key, 2) || '/' || content_key || '.' FROM gone
        ON CONFLICT (bucket, prefix) DO NOTHING)
    SELECT count(*) AS segments, coalesce(sum(bytes), 0)::bigint AS bytes FROM gone
""")
CANCEL_REMOVALS = text("""
    DELETE FROM removals WHERE prefix IN (
        SELECT 'segments/' || left(content_key, 2) || '/' || content_key || '.'
        FROM segments WHERE render_id = :render)
""")


@dataclass(frozen=True, slots=True)
class EvictionResult:
    """What went out of the cache: its objects are marked, and `removals.sweep` deletes them."""

    segments: int
    bytes: int


async def evict_segments(
    connection: AsyncConnection, bucket: str, max_bytes: int, max_age_days: float
) -> EvictionResult | None:
    """Drop rows until the cache has at most `most_bytes` and none is older than `days` (since its last use).

    None when another worker is at it.
    """
    if not await connection.scalar(TRY_LOCK):
        return None
    values = {"bucket": bucket, "bytes": max_bytes, "seconds": max_age_days * 86_400}
    row = (await connection.execute(DELETE_LEAST_RECENTLY_USED, values)).one()
    return EvictionResult(row.segments, row.bytes)


async def cancel_removals(connection: AsyncConnection, render: object) -> None:
    """A new render makes these segments again: their objects must not be removed under it."""
    await connection.execute(CANCEL_REMOVALS, {"render": render})


PREVIEW_PREFIX = "previews/"
# Previews may take a tenth of what segments may.
PREVIEW_CACHE_DIVISOR = 10


async def evict_previews(objects: ObjectStore, max_bytes: int, max_age_days: float) -> int:
    """Delete previews older than `days`, then the oldest until the rest takes at most `most_bytes`; how many went.

    Those of the last half hour stay: somebody is about to read them. Memory is bounded by the minutes in `days`, not by
    how many previews there are. Raises ObjectStoreError; safe beside other workers doing the same.
    """
    now = datetime.now(UTC)
    bytes_of: Counter[int] = Counter()
    async for page in objects.list(objects.bucket, PREVIEW_PREFIX):
        for info in page:
            bytes_of[min(_age_minutes(info, now), int(max_age_days * 1440) + 1)] += info.size
    kept = _max_age_minutes(bytes_of, max_bytes, max_age_days)
    return 0 if max(bytes_of, default=0) <= kept else await _delete_older(objects, now - timedelta(minutes=kept + 1))


def _age_minutes(info: ObjectInfo, now: datetime) -> int:
    """Age in whole minutes."""
    return max(int((now - info.modified).total_seconds() // 60), 0)


def _max_age_minutes(bytes_of: Counter[int], max_bytes: int, max_age_days: float) -> int:
    """The greatest age, in minutes, that may stay."""
    kept, total = int(max_age_days * 1440), 0
    for age in sorted(bytes_of):
        total += bytes_of[age]
        if total > max_bytes:
            kept = min(kept, age - 1)
            break
    return max(kept, PROTECTED_MINUTES)


async def _delete_older(objects: ObjectStore, before: datetime) -> int:
    count = 0
    async for page in objects.list(objects.bucket, PREVIEW_PREFIX):
        for info in page:
            if info.modified <= before:
                await objects.delete(ObjectRef(objects.bucket, info.key))
                count += 1
    return count
