"""Making room among previews: the oldest go first. They have no rows, so the store itself is asked what there is."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from service.plan.render_plan import ObjectRef
from service.store.eviction import PROTECTED_MINUTES
from service.store.objects import ObjectInfo, ObjectStore

PREVIEW_PREFIX = "previews/"
PREVIEW_CACHE_DIVISOR = 10
"""Previews may take a tenth of what segments may."""


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
