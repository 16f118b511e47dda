"""Carries out the removal of objects that was scheduled with the deletion or eviction of their rows.

A removal is a row, written in the transaction that deletes what used the objects. So a process that is killed in
between leaves the row, and the next round of any worker goes on.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.render_plan import ObjectRef
from service.store.database import Database
from service.store.objects.keys import content_key_of
from service.store.objects.object_store import ObjectStore, ObjectStoreError

log = structlog.get_logger("store")
# A render that is submitted waits for the removals of its segments that a transaction is carrying out: keep it short.
# Uploads may be a million objects, so each transaction takes one prefix of them, and its share.
SEGMENT_REMOVALS, UPLOAD_REMOVALS = 200, 1
OBJECTS_PER_TRANSACTION = 4000
MAX_PARALLEL_REQUESTS = 16
# Seconds until a failure is tried again, and until a prefix to which something may still be written is looked at again:
# half the time since it was scheduled, within these bounds, and once more at the end of its time.
RETRY_S, MIN_REPEAT_S, MAX_REPEAT_S = 20, 30, 3600

SELECT_DUE_REMOVALS = text("""
    SELECT bucket, prefix, modified_after, coalesce(repeat_until > now(), false) AS repeats
    FROM removals WHERE due_at <= now() AND starts_with(prefix, 'frames/') = :uploads
    ORDER BY due_at, prefix LIMIT :limit FOR UPDATE SKIP LOCKED
""")
DELETE_REMOVALS = text("""
    DELETE FROM removals
    WHERE (bucket, prefix) IN (SELECT * FROM unnest(CAST(:buckets AS text[]), CAST(:prefixes AS text[])))
""")
# Seconds of 0 put a prefix behind the others that are due.
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


@dataclass(frozen=True, slots=True)
class RemovedPrefix:
    """How many objects of a removal were deleted, whether these were all, and why it failed if it did."""

    removal: Row[Any]
    count: int = 0
    finished: bool = True
    error: ObjectStoreError | None = None


async def delete_due_objects(database: Database, objects: ObjectStore) -> int:
    """Delete the objects whose removal is due; returns how many.

    Prefixes that fail do not hold up the others. Raises ObjectStoreError for the first one; they stay scheduled.
    """
    removed: list[RemovedPrefix] = []
    while True:
        more = False
        for uploads, limit in ((False, SEGMENT_REMOVALS), (True, UPLOAD_REMOVALS)):
            async with database.service_transaction() as connection:
                values = {"uploads": uploads, "limit": limit}
                rows = (await connection.execute(SELECT_DUE_REMOVALS, values)).all()
                batch = await _remove(connection, objects, rows)
            removed += batch
            unavailable = bool(batch) and all(prefix.error for prefix in batch)
            if not unavailable:
                more = more or len(rows) == limit or not all(prefix.finished for prefix in batch)
        if not more:
            break
    if failures := [prefix.error for prefix in removed if prefix.error is not None]:
        raise failures[0]
    return sum(prefix.count for prefix in removed)


async def _remove(connection: AsyncConnection, objects: ObjectStore, rows: Sequence[Row[Any]]) -> list[RemovedPrefix]:
    """What was removed of the prefixes that nothing uses."""
    used, locked = await _segments_in_use(connection, rows)
    free = [row for row in rows if content_key_of(row.prefix) not in used | locked]
    deleter = _Deleter(objects)
    removed = await asyncio.gather(*map(deleter.delete_prefix, free))
    failed = [prefix.removal for prefix in removed if prefix.error is not None]
    unfinished = [prefix.removal for prefix in removed if not prefix.finished]
    again = [row for row in free if row.repeats and row not in (*failed, *unfinished)]
    waiting = [row for row in rows if content_key_of(row.prefix) in locked]
    await _postpone(connection, unfinished, 0, 0)
    await _postpone(connection, [*failed, *waiting], RETRY_S, RETRY_S)
    await _postpone(connection, again, MIN_REPEAT_S, MAX_REPEAT_S)
    ended = [row for row in rows if row not in (*failed, *unfinished, *again, *waiting)]
    await connection.execute(DELETE_REMOVALS, _columns(ended))
    return list(removed)


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


class _Deleter:
    """Deletes objects with bounded parallelism, and at most OBJECTS_PER_TRANSACTION of them.

    A removal without a bucket is about the service's own.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects, self._left = objects, OBJECTS_PER_TRANSACTION
        self._limit = asyncio.Semaphore(MAX_PARALLEL_REQUESTS)

    async def delete_prefix(self, removal: Row[Any]) -> RemovedPrefix:
        count, after = 0, removal.modified_after
        bucket = removal.bucket or self._objects.bucket
        try:
            async for page in self._objects.list(bucket, removal.prefix):
                found = [info.key for info in page if after is None or info.modified > after]
                keys = found[: self._left]
                self._left -= len(keys)
                await asyncio.gather(*(self._delete(ObjectRef(bucket, key)) for key in keys))
                count += len(keys)
                if len(keys) < len(found):
                    return RemovedPrefix(removal, count, finished=False)
        except ObjectStoreError as error:
            log.warning("objects were not removed", prefix=removal.prefix, reason=str(error))
            return RemovedPrefix(removal, count, error=error)
        return RemovedPrefix(removal, count)

    async def _delete(self, ref: ObjectRef) -> None:
        async with self._limit:
            await self._objects.delete(ref)
