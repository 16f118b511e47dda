"""Delete an experiment, dataset or render: cancel its renders, delete rows, schedule the removal of objects.

`removal` carries it out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Row, RowMapping, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import Conflict
from service.store.catalog.datasets import DatasetRow, fetch_datasets
from service.store.objects.keys import experiment_prefix, preview_prefix, render_prefix, segment_prefix, upload_prefix
from service.store.renders.lifecycle import cancel_render
from service.store.tables import datasets, experiments, renders, tasks

ResourceKind = Literal["experiment", "dataset", "render"]
ACTIVE_STATUSES = ("queued", "running")
# A slot may still write files of what was deleted, until its worker's next heartbeat.
LATE_WRITE_GRACE_S = 120

# Uploads that were kept and arrived up to this long after the deletion stay, too: the clocks of stores differ.
KEPT_UPLOADS_MARGIN_S = 60

SCHEDULE_REMOVALS = text("""
    INSERT INTO removals (bucket, prefix, repeat_until, modified_after)
    SELECT :bucket, prefix, greatest(now() + make_interval(secs => :grace), CAST(:uploads_until AS timestamptz)),
        now() + make_interval(secs => :margin)
    FROM unnest(CAST(:prefixes AS text[])) AS prefix
    ON CONFLICT (bucket, prefix) DO UPDATE SET
        due_at = least(removals.due_at, excluded.due_at), modified_after = excluded.modified_after,
        repeat_until = greatest(removals.repeat_until, excluded.repeat_until)
""")
# `removal` looks again before it removes one: a render may be submitted at this moment.
SELECT_UNSHARED_SEGMENTS = text("""
    SELECT s.content_key, bool_or(c.content_key IS NOT NULL) AS cached, bool_or(s.render_id = ANY(:late)) AS late
    FROM segments s LEFT JOIN segment_cache c ON c.content_key = s.content_key
    WHERE s.render_id = ANY(:renders) AND NOT EXISTS (
        SELECT FROM segments o WHERE o.content_key = s.content_key AND NOT o.render_id = ANY(:renders))
    GROUP BY s.content_key
""")
SELECT_OTHER_READERS = text("""
    SELECT o.name FROM datasets d JOIN datasets o ON o.experiment_id = d.experiment_id AND o.id <> d.id
    WHERE d.id = :dataset AND o.bucket = :bucket
        AND (starts_with(d.prefix, o.prefix) OR starts_with(o.prefix, d.prefix))
    ORDER BY o.name LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class DeletionPlan:
    """The rows that are deleted with `id`, locked until the end of the transaction, and the service's own bucket.

    `segments` are those that no other render uses: `content_key`, whether they are `cached`, and whether slots may
    still write them (`late`), as they may files of `late_renders`.
    """

    kind: ResourceKind
    id: UUID
    bucket: str
    renders: Sequence[RowMapping]
    datasets: Sequence[DatasetRow]
    late_renders: Sequence[UUID]
    segments: Sequence[Row[Any]]

    @property
    def active_renders(self) -> list[UUID]:
        return [row["id"] for row in self.renders if row["status"] in ACTIVE_STATUSES]

    @property
    def object_count(self) -> int:
        """How many videos, posters and receipts are deleted."""
        return sum(row[name] is not None for row in self.renders for name in ("video_key", "poster_key", "receipt_key"))

    @property
    def upload_prefixes(self) -> list[str]:
        """Where uploads into the datasets are stored; other places that they read from are not ours to delete."""
        if self.kind == "experiment":
            return [experiment_prefix(self.id)]
        return [row.prefix for row in self.datasets if is_upload_area(row, self.bucket)]


def is_upload_area(row: DatasetRow, own_bucket: str) -> bool:
    """Whether the dataset was registered without a prefix, so that files are uploaded into it."""
    return (row.bucket, row.prefix) == (own_bucket, upload_prefix(row.experiment_id, row.id))


async def lock_for_deletion(
    connection: AsyncConnection, kind: ResourceKind, resource_id: UUID, bucket: str
) -> DeletionPlan:
    """Run as the service. Renders are locked before their tasks, in the order workers use, to avoid deadlocks."""
    belongs = renders.c.id if kind == "render" else renders.c[f"{kind}_id"]
    query = select(renders).where(belongs == resource_id).order_by(renders.c.id).with_for_update()
    found = (await connection.execute(query)).mappings().all()
    deleted_datasets = await _select_datasets(connection, kind, resource_id)
    of_renders = tasks.c.render_id.in_([row["id"] for row in found])
    of_datasets = tasks.c.dataset_id.in_([dataset.id for dataset in deleted_datasets])
    query = select(tasks.c.id).where(or_(of_renders, of_datasets)).order_by(tasks.c.id)
    await connection.execute(query.with_for_update())
    late = [row["id"] for row in found if _may_be_written(row)]
    values = {"renders": [row["id"] for row in found], "late": late}
    unshared = (await connection.execute(SELECT_UNSHARED_SEGMENTS, values)).all()
    return DeletionPlan(kind, resource_id, bucket, found, deleted_datasets, late, unshared)


def _may_be_written(render: RowMapping) -> bool:
    """Whether a slot may still write files of this render."""
    ended: datetime | None = render["finished_at"]
    if render["status"] == "succeeded":
        return False
    return ended is None or datetime.now(UTC) - ended < timedelta(seconds=LATE_WRITE_GRACE_S)


async def _select_datasets(connection: AsyncConnection, kind: ResourceKind, resource_id: UUID) -> list[DatasetRow]:
    if kind == "render":
        return []
    belongs = datasets.c.id if kind == "dataset" else datasets.c.experiment_id
    query = select(datasets).where(belongs == resource_id).order_by(datasets.c.created_at, datasets.c.id)
    return await fetch_datasets(connection, query)


async def execute_deletion(
    connection: AsyncConnection, plan: DeletionPlan, *, force: bool, uploads: bool = False
) -> None:
    """Delete the row and all that depend on it, with `uploads` also the files that were uploaded.

    Raises Conflict for active renders, unless `force` cancels them, and if other datasets read the uploads.
    """
    active = plan.active_renders
    if active and not force:
        what = "the render is" if plan.kind == "render" else f"{len(active)} renders are"
        raise Conflict(f"{what} under way: cancel first, or delete with force=true")
    if uploads and plan.kind == "dataset" and plan.upload_prefixes:
        await _require_no_other_reader(connection, plan)
    for render in active:
        await cancel_render(connection, render)
    uploads_until = await _lock_uploads_until(connection, plan)
    table = {"experiment": experiments, "dataset": datasets, "render": renders}[plan.kind]
    await connection.execute(table.delete().where(table.c.id == plan.id))
    late = [render_prefix(render) for render in plan.late_renders]
    late += [preview_prefix(dataset.id) for dataset in plan.datasets]
    late += [segment_prefix(row.content_key) for row in plan.segments if row.late]
    others = [render_prefix(row["id"]) for row in plan.renders if row["id"] not in plan.late_renders]
    others += [segment_prefix(row.content_key) for row in plan.segments if not row.late]
    await _schedule_removals(connection, plan.bucket, late, grace=LATE_WRITE_GRACE_S)
    await _schedule_removals(connection, plan.bucket, others)
    await _schedule_upload_removals(connection, plan, uploads_until, uploads=uploads)


async def _require_no_other_reader(connection: AsyncConnection, plan: DeletionPlan) -> None:
    if name := await connection.scalar(SELECT_OTHER_READERS, {"dataset": plan.id, "bucket": plan.bucket}):
        raise Conflict(f"the dataset {name!r} reads these frames, too: delete it first, or keep the frames")


async def _lock_uploads_until(connection: AsyncConnection, plan: DeletionPlan) -> datetime | None:
    """Until when files may be uploaded without asking us. No URL is signed from here on."""
    query = select(datasets.c.uploads_until).where(datasets.c.id.in_([row.id for row in plan.datasets]))
    found = await connection.scalars(query.order_by(datasets.c.id).with_for_update())
    return max((until for until in found if until is not None), default=None)


async def _schedule_upload_removals(
    connection: AsyncConnection, plan: DeletionPlan, uploads_until: datetime | None, *, uploads: bool
) -> None:
    """Of all uploads, or only of those that arrive by signed URLs after the deletion."""
    if uploads:
        values = {"grace": LATE_WRITE_GRACE_S, "uploads_until": uploads_until}
        await _schedule_removals(connection, plan.bucket, plan.upload_prefixes, **values)
    elif uploads_until is not None and uploads_until > datetime.now(UTC):
        values = {"margin": KEPT_UPLOADS_MARGIN_S, "uploads_until": uploads_until}
        await _schedule_removals(connection, plan.bucket, plan.upload_prefixes, **values)


async def _schedule_removals(connection: AsyncConnection, bucket: str, prefixes: list[str], **more: Any) -> None:
    """At once, and again for `grace` seconds and until `uploads_until`; only of objects that are stored more than
    `margin` seconds from now, if that is given."""
    values = {"grace": None, "uploads_until": None, "margin": None} | more
    await connection.execute(SCHEDULE_REMOVALS, values | {"bucket": bucket, "prefixes": sorted(prefixes)})
