"""Delete an experiment, dataset or render: cancel its renders, delete rows, schedule and carry out object removal."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import RowMapping, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import Conflict
from service.plan.render_plan import ObjectRef
from service.store.catalog.datasets import DatasetRow, fetch_datasets
from service.store.database import Database
from service.store.objects.keys import preview_prefix, render_prefix
from service.store.objects.object_store import ObjectStore
from service.store.renders.lifecycle import cancel_render
from service.store.tables import datasets, experiments, renders, tasks

ResourceKind = Literal["experiment", "dataset", "render"]
ACTIVE_STATUSES = ("queued", "running")
# A worker may still write files of a cancelled render, until its next heartbeat.
LATE_WRITE_GRACE_S = 120

SCHEDULE_REMOVALS = text("""
    INSERT INTO removals (bucket, prefix, due_at)
    SELECT :bucket, prefix, now() + make_interval(secs => :wait) FROM unnest(CAST(:prefixes AS text[])) AS prefix
    ON CONFLICT (bucket, prefix) DO UPDATE SET due_at = greatest(removals.due_at, excluded.due_at)
""")


@dataclass(frozen=True, slots=True)
class DeletionPlan:
    """The rows that are deleted with `id`, locked until the end of the transaction, and the service's own bucket."""

    kind: ResourceKind
    id: UUID
    bucket: str
    renders: Sequence[RowMapping]
    datasets: Sequence[DatasetRow]

    @property
    def active_renders(self) -> list[UUID]:
        return [row["id"] for row in self.renders if row["status"] in ACTIVE_STATUSES]

    @property
    def object_count(self) -> int:
        """How many videos, posters and receipts are deleted."""
        return sum(row[name] is not None for row in self.renders for name in ("video_key", "poster_key", "receipt_key"))


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
    return DeletionPlan(kind, resource_id, bucket, found, deleted_datasets)


async def _select_datasets(connection: AsyncConnection, kind: ResourceKind, resource_id: UUID) -> list[DatasetRow]:
    if kind == "render":
        return []
    belongs = datasets.c.id if kind == "dataset" else datasets.c.experiment_id
    query = select(datasets).where(belongs == resource_id).order_by(datasets.c.created_at, datasets.c.id)
    return await fetch_datasets(connection, query)


async def execute_deletion(connection: AsyncConnection, plan: DeletionPlan, *, force: bool) -> None:
    """Delete the row and all that depend on it. Raises Conflict for active renders, unless `force` cancels them."""
    active = set(plan.active_renders)
    if active and not force:
        what = "the render is" if plan.kind == "render" else f"{len(active)} renders are"
        raise Conflict(f"{what} under way: cancel first, or delete with force=true")
    for render in active:
        await cancel_render(connection, render)
    unused = [render_prefix(row["id"]) for row in plan.renders if row["id"] not in active]
    unused += [preview_prefix(dataset.id) for dataset in plan.datasets]
    await _schedule_removals(connection, plan.bucket, unused, 0)
    await _schedule_removals(connection, plan.bucket, [render_prefix(render) for render in active], LATE_WRITE_GRACE_S)
    table = {"experiment": experiments, "dataset": datasets, "render": renders}[plan.kind]
    await connection.execute(table.delete().where(table.c.id == plan.id))


async def _schedule_removals(connection: AsyncConnection, bucket: str, prefixes: list[str], delay_s: int) -> None:
    values: dict[str, Any] = {"bucket": bucket, "prefixes": prefixes, "wait": delay_s}
    await connection.execute(SCHEDULE_REMOVALS, values)


REMOVALS_PER_TRANSACTION = 20
SELECT_DUE_REMOVALS = text(f"""
    SELECT bucket, prefix FROM removals WHERE due_at <= now() ORDER BY due_at LIMIT {REMOVALS_PER_TRANSACTION}
    FOR UPDATE SKIP LOCKED
""")
DELETE_REMOVAL = text("DELETE FROM removals WHERE bucket = :bucket AND prefix = :prefix")


async def delete_due_objects(database: Database, objects: ObjectStore) -> int:
    """Delete the objects whose removal is due; returns how many. After an ObjectStoreError the rest stays scheduled."""
    deleted = 0
    while True:
        async with database.service_transaction() as connection:
            rows = (await connection.execute(SELECT_DUE_REMOVALS)).all()
            for row in rows:
                deleted += await _delete_prefix(objects, row.bucket, row.prefix)
                await connection.execute(DELETE_REMOVAL, {"bucket": row.bucket, "prefix": row.prefix})
        if len(rows) < REMOVALS_PER_TRANSACTION:
            return deleted


async def _delete_prefix(objects: ObjectStore, bucket: str, prefix: str) -> int:
    limit, count = asyncio.Semaphore(16), 0

    async def delete(key: str) -> None:
        async with limit:
            await objects.delete(ObjectRef(bucket, key))

    async for page in objects.list(bucket, prefix):
        await asyncio.gather(*(delete(info.key) for info in page))
        count += len(page)
    return count
