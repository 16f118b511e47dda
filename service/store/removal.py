"""Carries out the removal of objects that was scheduled with the deletion or eviction of their rows.

A removal is a row, written in the transaction that deletes what used the objects. So a process that is killed in
between leaves the row, and the next round of any worker goes on.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.render_plan import ObjectRef
from service.store.database import Database
from service.store.objects.keys import content_key_of
from service.store.objects.object_store import ObjectStore, ObjectStoreError

log = structlog.get_logger("store")
REMOVALS_PER_TRANSACTION = 200
MAX_PARALLEL_REQUESTS = 16
# Seconds until a failure is tried again, and until a prefix to which something may still be written is looked at again:
# half the time since it was scheduled, within these bounds, and once more at the end of its time.
RETRY_S, MIN_REPEAT_S, MAX_REPEAT_S = 20, 30, 3600

SELECT_DUE_REMOVALS = text(f"""
    SELECT bucket, prefix, modified_after, coalesce(repeat_until > now(), false) AS repeats
    FROM removals WHERE due_at <= now() ORDER BY due_at, prefix LIMIT {REMOVALS_PER_TRANSACTION} FOR UPDATE SKIP LOCKED
""")
DELETE_REMOVALS = text("""
    DELETE FROM removals
    WHERE (bucket, prefix) IN (SELECT * FROM unnest(CAST(:buckets AS text[]), CAST(:prefixes AS text[])))
""")
POSTPONE_REMOVALS = text("""
    UPDATE removals SET due_at = now() + greatest(
        least((now() - scheduled_at) / 2, make_interval(secs => :max_seconds), repeat_until - now()),
        make_interval(secs => :min_seconds))
    WHERE (bucket, prefix) IN (SELECT * FROM unnest(CAST(:buckets AS text[]), CAST(:prefixes AS text[])))
""")
# A render that is submitted at this moment holds the lock of the entry that it reuses: that entry is left alone. If it
# was submitted since this statement began, `used_at` has changed.
DELETE_UNUSED_ENTRIES = text("""
    DELETE FROM segment_cache WHERE content_key IN (
        SELECT c.content_key FROM segment_cache c
        JOIN (SELECT content_key, used_at FROM segment_cache WHERE content_key = ANY(:keys)) seen
            ON seen.content_key = c.content_key AND seen.used_at = c.used_at
        WHERE NOT EXISTS (SELECT FROM segments s WHERE s.content_key = c.content_key)
        FOR UPDATE OF c SKIP LOCKED)
""")
SELECT_SEGMENT_USE = text("""
    SELECT k.content_key, EXISTS (SELECT FROM segment_cache c WHERE c.content_key = k.content_key) AS cached,
        EXISTS (SELECT FROM segments s WHERE s.content_key = k.content_key) AS planned,
        EXISTS (SELECT FROM segments s JOIN renders r ON r.id = s.render_id
            WHERE s.content_key = k.content_key AND r.status IN ('queued', 'running')) AS awaited
    FROM unnest(CAST(:keys AS text[])) AS k(content_key)
""")


async def delete_due_objects(database: Database, objects: ObjectStore) -> int:
    """Delete the objects whose removal is due; returns how many.

    Prefixes that fail do not hold up the others. Raises ObjectStoreError for the first one; they stay scheduled.
    """
    deleted, failure = 0, None
    while True:
        async with database.service_transaction() as connection:
            rows = (await connection.execute(SELECT_DUE_REMOVALS)).all()
            counts = await _remove(connection, objects, rows)
        deleted += sum(count for count in counts if isinstance(count, int))
        failure = failure or next((count for count in counts if isinstance(count, ObjectStoreError)), None)
        if len(rows) < REMOVALS_PER_TRANSACTION:
            break
    if failure is not None:
        raise failure
    return deleted


async def _remove(
    connection: AsyncConnection, objects: ObjectStore, rows: Sequence[Row[Any]]
) -> list[int | ObjectStoreError]:
    """How many objects each prefix had, or why it failed. Raises ObjectStoreError if all failed."""
    used, locked = await _segments_in_use(connection, rows)
    free = [row for row in rows if content_key_of(row.prefix) not in used | locked]
    limit = asyncio.Semaphore(MAX_PARALLEL_REQUESTS)
    counts = await asyncio.gather(*(_delete_prefix(objects, row, limit) for row in free))
    failed = [row for row, count in zip(free, counts, strict=True) if isinstance(count, ObjectStoreError)]
    if failed and len(failed) == len(free):
        raise next(count for count in counts if isinstance(count, ObjectStoreError))
    again = [row for row in free if row.repeats and row not in failed]
    waiting = [row for row in rows if content_key_of(row.prefix) in locked]
    await _postpone(connection, [*failed, *waiting], RETRY_S, RETRY_S)
    await _postpone(connection, again, MIN_REPEAT_S, MAX_REPEAT_S)
    ended = [row for row in rows if row not in (*failed, *again, *waiting)]
    await connection.execute(DELETE_REMOVALS, _columns(ended))
    return counts


async def _segments_in_use(connection: AsyncConnection, rows: Sequence[Row[Any]]) -> tuple[set[str], set[str]]:
    """Content keys of segments that renders use, and of those whose cache entry a transaction has locked.

    Deletes the cache entries of those that no render uses.
    """
    keys = [key for row in rows if (key := content_key_of(row.prefix)) is not None]
    if not keys:
        return set(), set()
    await connection.execute(DELETE_UNUSED_ENTRIES, {"keys": keys})
    found = (await connection.execute(SELECT_SEGMENT_USE, {"keys": keys})).all()
    used = {row.content_key for row in found if row.awaited or (row.cached and row.planned)}
    return used, {row.content_key for row in found if row.cached} - used


async def _postpone(connection: AsyncConnection, rows: Sequence[Row[Any]], least: int, most: int) -> None:
    if rows:
        await connection.execute(POSTPONE_REMOVALS, _columns(rows) | {"min_seconds": least, "max_seconds": most})


def _columns(rows: Sequence[Row[Any]]) -> dict[str, Any]:
    return {"buckets": [row.bucket for row in rows], "prefixes": [row.prefix for row in rows]}


async def _delete_prefix(objects: ObjectStore, removal: Row[Any], limit: asyncio.Semaphore) -> int | ObjectStoreError:
    """How many objects were deleted, or why that failed."""

    async def delete(key: str) -> None:
        async with limit:
            await objects.delete(ObjectRef(removal.bucket, key))

    count = 0
    try:
        async for page in objects.list(removal.bucket, removal.prefix):
            after = removal.modified_after
            keys = [info.key for info in page if after is None or info.modified > after]
            await asyncio.gather(*map(delete, keys))
            count += len(keys)
    except ObjectStoreError as error:
        log.warning("objects were not removed", prefix=removal.prefix, reason=str(error))
        return error
    return count
