"""Delete an experiment, dataset or render: cancel its renders, delete rows, schedule the removal of objects.

`removal` carries it out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Row, RowMapping, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import Conflict
from service.plan.preview import GRIDS
from service.store.catalog.datasets import DatasetRow, fetch_datasets
from service.store.database import current_time
from service.store.objects.keys import (
    experiment_prefix,
    output_frame_prefix,
    preview_prefix,
    render_prefix,
    segment_prefix,
    upload_prefix,
)
from service.store.renders.lifecycle import cancel_render
from service.store.tables import datasets, experiments, render_panels, renders, tasks
from service.store.usage import forget_uploads

ResourceKind = Literal["experiment", "dataset", "render"]
ACTIVE_STATUSES = ("queued", "running")
# A slot may still write files of what was deleted: until its worker's next heartbeat, or when a frozen machine goes on.
LATE_WRITES = timedelta(hours=24)

# Uploads that were kept and arrived up to this long after the deletion stay, too: the clocks of stores differ.
KEPT_UPLOADS_MARGIN_S = 60
# An upload that began before its URL expired may take until then.
UPLOAD_DURATION = timedelta(hours=1)

SCHEDULE_REMOVALS = text("""
    INSERT INTO removals (bucket, prefix, repeat_until, modified_after)
    SELECT :bucket, prefix, repeat_until, now() + make_interval(secs => :margin)
    FROM unnest(CAST(:prefixes AS text[]), CAST(:repeat_until AS timestamptz[])) AS wanted(prefix, repeat_until)
    ORDER BY prefix
    ON CONFLICT (bucket, prefix) DO UPDATE SET
        due_at = excluded.due_at, scheduled_at = excluded.scheduled_at, modified_after = excluded.modified_after,
        repeat_until = greatest(removals.repeat_until, excluded.repeat_until)
""")
# `shared`: other renders use it. `removal` decides, when nobody is about to delete or to submit one of those.
SELECT_SEGMENTS = text("""
    SELECT s.content_key, bool_or(c.content_key IS NOT NULL) AS cached,
        coalesce(bool_or(t.state = 'running' OR t.lease > 1), false) AS late,
        EXISTS (SELECT FROM segments o
            WHERE o.content_key = s.content_key AND NOT o.render_id = ANY(:renders)) AS shared
    FROM segments s LEFT JOIN segment_cache c ON c.content_key = s.content_key
    LEFT JOIN tasks t ON t.render_id = s.render_id AND t.kind = 'segment' AND t.number = s.number
    WHERE s.render_id = ANY(:renders) GROUP BY s.content_key
""")
SELECT_PICTURED = text("""
    SELECT r.id, r.dataset_id, coalesce(t.late, false) AS late FROM renders r CROSS JOIN LATERAL (
        SELECT bool_or(true) AS late FROM tasks
        WHERE dataset_id = r.dataset_id AND kind = 'preview' AND state IN ('queued', 'running')
            AND payload ->> 'render' = r.id::text) t
    WHERE r.id = ANY(:renders) AND (t.late OR EXISTS (SELECT FROM previews p WHERE p.render_id = r.id))
""")
FORGET_GRIDS = text("""
    WITH others AS (
        SELECT o.id FROM datasets d JOIN datasets o ON o.experiment_id = d.experiment_id AND o.id <> d.id
        WHERE d.id = :dataset),
    forgotten AS (
        DELETE FROM previews WHERE dataset_id IN (SELECT id FROM others) AND strpos(key, :folder) > 0
        RETURNING dataset_id),
    unfinished AS (
        SELECT dataset_id FROM tasks WHERE kind = 'preview' AND state IN ('queued', 'running')
            AND dataset_id IN (SELECT id FROM others) AND payload -> 'beside' ? CAST(:dataset AS text))
    SELECT dataset_id, bool_or(late) AS late
    FROM (SELECT dataset_id, false AS late FROM forgotten UNION ALL SELECT dataset_id, true FROM unfinished) found
    GROUP BY dataset_id
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

    `segments` are those of the renders: `content_key`, whether they are `cached`, whether other renders use them, too
    (`shared`), and whether a slot may still write them (`late`). `pictured` are the renders of which output frames were
    looked at, with their dataset, and `late` as before.
    """

    kind: ResourceKind
    id: UUID
    bucket: str
    renders: Sequence[RowMapping]
    datasets: Sequence[DatasetRow]
    segments: Sequence[Row[Any]]
    pictured: Sequence[Row[Any]]

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
    query = select(renders).where(_depends_on(kind, resource_id)).order_by(renders.c.id).with_for_update()
    found = (await connection.execute(query)).mappings().all()
    deleted_datasets = await _select_datasets(connection, kind, resource_id)
    of_renders = tasks.c.render_id.in_([row["id"] for row in found])
    of_datasets = tasks.c.dataset_id.in_([dataset.id for dataset in deleted_datasets])
    query = select(tasks.c.id).where(or_(of_renders, of_datasets)).order_by(tasks.c.id)
    await connection.execute(query.with_for_update())
    segments = (await connection.execute(SELECT_SEGMENTS, {"renders": [row["id"] for row in found]})).all()
    pictured = (await connection.execute(SELECT_PICTURED, {"renders": [row["id"] for row in found]})).all()
    return DeletionPlan(kind, resource_id, bucket, found, deleted_datasets, segments, pictured)


def _depends_on(kind: ResourceKind, resource_id: UUID) -> ColumnElement[bool]:
    """Of renders, that they are deleted with the resource. A grid is, with each dataset that it shows."""
    belongs = renders.c.id if kind == "render" else renders.c[f"{kind}_id"]
    if kind != "dataset":
        return belongs == resource_id
    grids = select(render_panels.c.render_id).where(render_panels.c.dataset_id == resource_id)
    return or_(belongs == resource_id, renders.c.id.in_(grids))


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
    others = await _forget_grids_of_others(connection, plan)
    table = {"experiment": experiments, "dataset": datasets, "render": renders}[plan.kind]
    await connection.execute(renders.delete().where(renders.c.id.in_([row["id"] for row in plan.renders])))
    await connection.execute(table.delete().where(table.c.id == plan.id))
    late = await current_time(connection) + LATE_WRITES
    await _schedule_removals(
        connection,
        plan.bucket,
        {render_prefix(row["id"]): None if row["status"] == "succeeded" else late for row in plan.renders}
        | {preview_prefix(dataset.id): late for dataset in plan.datasets}
        | {f"{preview_prefix(each.dataset_id)}{GRIDS}": late if each.late else None for each in others}
        | {output_frame_prefix(row.dataset_id, row.id): late if row.late else None for row in plan.pictured}
        | {segment_prefix(row.content_key): late if row.late else None for row in plan.segments},
    )
    await _schedule_upload_removals(connection, plan, uploads_until, uploads=uploads)


async def _forget_grids_of_others(connection: AsyncConnection, plan: DeletionPlan) -> Sequence[Row[Any]]:
    """The other datasets whose previews of grids show the deleted one, or may; `late`: one may still be written."""
    if plan.kind != "dataset":
        return []
    return (await connection.execute(FORGET_GRIDS, {"dataset": plan.id, "folder": f"/{GRIDS}"})).all()


async def _require_no_other_reader(connection: AsyncConnection, plan: DeletionPlan) -> None:
    if name := await connection.scalar(SELECT_OTHER_READERS, {"dataset": plan.id, "bucket": plan.bucket}):
        raise Conflict(f"the dataset {name!r} reads these frames, too: delete it first, or keep the frames")


async def _lock_uploads_until(connection: AsyncConnection, plan: DeletionPlan) -> datetime | None:
    """Until when uploads may arrive without asking us. No URL is signed from here on."""
    query = select(datasets.c.uploads_until).where(datasets.c.id.in_([row.id for row in plan.datasets]))
    found = await connection.scalars(query.order_by(datasets.c.id).with_for_update())
    return max((until + UPLOAD_DURATION for until in found if until is not None), default=None)


async def _schedule_upload_removals(
    connection: AsyncConnection, plan: DeletionPlan, uploads_until: datetime | None, *, uploads: bool
) -> None:
    """Of all uploads, or only of those that arrive by signed URLs after the deletion."""
    prefixes = dict.fromkeys(plan.upload_prefixes, uploads_until)
    if uploads:
        await forget_uploads(connection, plan.id)
        await _schedule_removals(connection, plan.bucket, prefixes)
    elif uploads_until is not None and uploads_until > await current_time(connection):
        await _schedule_removals(connection, plan.bucket, prefixes, KEPT_UPLOADS_MARGIN_S)


async def _schedule_removals(
    connection: AsyncConnection, bucket: str, prefixes: Mapping[str, datetime | None], margin_s: int | None = None
) -> None:
    """At once, and again until the time of each prefix; only of objects that are stored more than `margin_s` from now,
    if that is given."""
    values = {"bucket": bucket, "margin": margin_s, "prefixes": list(prefixes), "repeat_until": list(prefixes.values())}
    await connection.execute(SCHEDULE_REMOVALS, values)
