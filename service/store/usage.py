"""What an owner stores: uploads into his experiments, and the files of the renders that he asked for. Quotas bound it.

Uploads count from when they are announced. Until they have arrived, or cannot arrive any more, a row of
`upload_reservations` stands for them; then the objects are counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import ReelmillError
from service.store.catalog.datasets import DatasetRow
from service.store.database import Database, acquire_advisory_lock
from service.store.objects.keys import upload_prefix
from service.store.objects.object_store import ObjectStore

# Of what takes most, in an answer about the own usage.
MAX_LARGEST = 10
# An upload has ended so many seconds after it was announced, or after its address has expired.
UPLOAD_SECONDS = 3600
# Files that are uploaded once more count twice until the objects are counted, so many seconds later.
RECOUNT_SECONDS = 3600

SELECT_USAGE = text("""
    SELECT
        (SELECT coalesce(sum(bytes), 0)::bigint FROM upload_areas WHERE owner = :owner) AS uploads,
        (SELECT coalesce(sum(u.bytes), 0)::bigint FROM upload_reservations u
            JOIN upload_areas a ON a.dataset_id = u.dataset_id WHERE a.owner = :owner) AS announced,
        coalesce(sum(r.stored_bytes), 0)::bigint AS results,
        coalesce(sum((r.estimate ->> 'bytes')::float8) FILTER (
            WHERE r.stored_bytes IS NULL AND r.status IN ('queued', 'running')), 0)::bigint AS expected
    FROM requesters q JOIN renders r ON r.id = q.render_id WHERE q.subject = :owner
""")
SELECT_CACHED = text("""
    SELECT coalesce(sum(c.bytes), 0)::bigint FROM segment_cache c
    WHERE EXISTS (SELECT FROM segments s JOIN requesters q ON q.render_id = s.render_id
        WHERE s.content_key = c.content_key AND q.subject = :owner)
""")
SELECT_LARGEST = text("""
    (SELECT 'render' AS kind, r.id, r.stored_bytes AS bytes FROM requesters q JOIN renders r ON r.id = q.render_id
        WHERE q.subject = :owner AND r.stored_bytes > 0 ORDER BY r.stored_bytes DESC LIMIT :most)
    UNION ALL
    (SELECT CASE WHEN d.id IS NULL THEN 'deleted_dataset' ELSE 'dataset' END, a.dataset_id, a.bytes
        FROM upload_areas a LEFT JOIN datasets d ON d.id = a.dataset_id
        WHERE a.owner = :owner AND a.bytes > 0 ORDER BY a.bytes DESC LIMIT :most)
    ORDER BY bytes DESC, id LIMIT :most
""")
SELECT_TOTALS = text("""
    SELECT (SELECT coalesce(sum(stored_bytes), 0)::bigint FROM renders WHERE stored_bytes IS NOT NULL) AS results,
        (SELECT coalesce(sum(bytes), 0)::bigint FROM upload_areas) AS uploads,
        (SELECT coalesce(sum(bytes), 0)::bigint FROM previews) AS previews
""")
UPSERT_AREA = text("""
    INSERT INTO upload_areas (dataset_id, experiment_id, owner) VALUES (:dataset, :experiment, :owner)
    ON CONFLICT (dataset_id) DO NOTHING
""")
INSERT_RESERVATION = text("""
    INSERT INTO upload_reservations (dataset_id, bytes, expires_at)
    VALUES (:dataset, :bytes, greatest(now(), CAST(:until AS timestamptz)) + make_interval(secs => :seconds))
    RETURNING id
""")
DELETE_RESERVATION = text("DELETE FROM upload_reservations WHERE id = :id")
ADD_BYTES = text("""
    UPDATE upload_areas SET bytes = bytes + :bytes,
        recount_at = coalesce(recount_at, now() + make_interval(secs => :seconds))
    WHERE dataset_id = :dataset
""")
FORGET_AREAS = text("DELETE FROM upload_areas WHERE dataset_id = :id OR experiment_id = :id")
SELECT_DUE_RECOUNT = text("""
    SELECT a.dataset_id, a.experiment_id, a.bytes, now() AS at FROM upload_areas a
    WHERE a.recount_at <= now()
        OR EXISTS (SELECT FROM upload_reservations u WHERE u.dataset_id = a.dataset_id AND u.expires_at <= now())
    ORDER BY a.recount_at NULLS FIRST LIMIT :limit
""")
# If a file has arrived meanwhile, the listing may have it or not: the objects are counted once more.
RECORD_COUNT = text("""
    UPDATE upload_areas SET bytes = :counted, recount_at = NULL
    WHERE dataset_id = :dataset AND bytes = :bytes RETURNING dataset_id
""")
DELETE_EXPIRED_RESERVATIONS = text("""
    DELETE FROM upload_reservations WHERE dataset_id = :dataset AND expires_at <= :at
""")
DELETE_EMPTY_AREA = text("""
    DELETE FROM upload_areas a WHERE dataset_id = :dataset AND bytes = 0
        AND NOT EXISTS (SELECT FROM datasets d WHERE d.id = a.dataset_id)
        AND NOT EXISTS (SELECT FROM upload_reservations u WHERE u.dataset_id = a.dataset_id)
""")


class QuotaExceeded(ReelmillError):
    """What the owner stores, together with this, is more than he may store."""

    status, slug, title = 409, "quota-exceeded", "There is no room left in the quota"


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes of one owner. `announced`: of uploads that may still arrive; `expected`: of renders that are unfinished, by
    their estimates."""

    uploads: int
    results: int
    announced: int
    expected: int

    @property
    def used(self) -> int:
        """What counts for the quota."""
        return self.uploads + self.results + self.announced + self.expected


async def measure_usage(connection: AsyncConnection, owner: str) -> Usage:
    row = (await connection.execute(SELECT_USAGE, {"owner": owner})).one()
    return Usage(row.uploads, row.results, row.announced, row.expected)


async def measure_cached(connection: AsyncConnection, owner: str) -> int:
    """Bytes of cached segments that the owner's renders use, perhaps with those of others. They count for nobody."""
    return int(await connection.scalar(SELECT_CACHED, {"owner": owner}) or 0)


async def list_largest(connection: AsyncConnection, owner: str) -> Sequence[Row[tuple[str, UUID, int]]]:
    """`kind`, `id` and `bytes` of what takes most."""
    return (await connection.execute(SELECT_LARGEST, {"owner": owner, "most": MAX_LARGEST})).all()


async def measure_totals(connection: AsyncConnection) -> dict[str, int]:
    """Bytes of all owners together by kind; a render that several asked for counts once."""
    return dict((await connection.execute(SELECT_TOTALS)).mappings().one())


async def require_room(connection: AsyncConnection, owner: str, quota: int | None, needed: int = 0) -> None:
    """Raises QuotaExceeded if the owner has reached the quota, or would exceed it with `needed` bytes more.

    Until the transaction ends, no other one measures the owner's usage: call it last of all that lock something.
    """
    if quota is None:
        return
    await acquire_advisory_lock(connection, f"quota of {owner}")
    used = (await measure_usage(connection, owner)).used
    if used >= quota or used + needed > quota:
        detail = (
            f"uploads and renders take {used} of {quota} bytes, and this needs {needed} more: delete renders, or "
            "datasets with frames=true (GET /api/usage lists the largest)"
        )
        raise QuotaExceeded(detail, extensions={"used_bytes": used, "allowed_bytes": quota, "needed_bytes": needed})


async def reserve_upload(
    connection: AsyncConnection, dataset: DatasetRow, size: int, quota: int | None, until: datetime | None = None
) -> int:
    """Announce uploads into a dataset of this size, which begin by `until` (None: now); returns the reservation.

    Raises QuotaExceeded.
    """
    assert dataset.owner is not None
    await require_room(connection, dataset.owner, quota, size)
    area = {"dataset": dataset.id, "experiment": dataset.experiment_id, "owner": dataset.owner}
    await connection.execute(UPSERT_AREA, area)
    values = {"dataset": dataset.id, "bytes": size, "until": until, "seconds": UPLOAD_SECONDS}
    reservation: int = (await connection.execute(INSERT_RESERVATION, values)).scalar_one()
    return reservation


async def end_reservation(connection: AsyncConnection, reservation: int, dataset: UUID, stored: int) -> None:
    """The upload has ended; `stored` bytes of it were kept."""
    await connection.execute(DELETE_RESERVATION, {"id": reservation})
    await connection.execute(ADD_BYTES, {"dataset": dataset, "bytes": stored, "seconds": RECOUNT_SECONDS})


async def forget_uploads(connection: AsyncConnection, dataset_or_experiment: UUID) -> None:
    """Its uploads are deleted: they count no more."""
    await connection.execute(FORGET_AREAS, {"id": dataset_or_experiment})


async def recount_uploads(database: Database, objects: ObjectStore, limit: int = 1) -> int:
    """Count the objects of datasets into which uploads have ended; returns of how many. Raises ObjectStoreError."""
    async with database.service_transaction() as connection:
        due = (await connection.execute(SELECT_DUE_RECOUNT, {"limit": limit})).all()
    for area in due:
        pages = objects.list(objects.bucket, upload_prefix(area.experiment_id, area.dataset_id))
        counted = sum([info.size async for page in pages for info in page])
        values = {"dataset": area.dataset_id, "bytes": area.bytes, "counted": counted}
        async with database.service_transaction() as connection:
            if await connection.scalar(RECORD_COUNT, values) is not None:
                await connection.execute(DELETE_EXPIRED_RESERVATIONS, {"dataset": area.dataset_id, "at": area.at})
                await connection.execute(DELETE_EMPTY_AREA, {"dataset": area.dataset_id})
    return len(due)
