"""Delete an experiment, a dataset or a render: cancel renders, delete rows, and later delete the objects."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import RowMapping, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import Conflict
from service.plan.render_plan import ObjectRef
from service.store.database import Database
from service.store.objects.object_store import ObjectInfo, ObjectStore
from service.store.renders import lifecycle as render_rows
from service.store.tables import datasets, experiments, renders, tasks

ResourceKind = Literal["experiment", "dataset", "render"]
ACTIVE_STATUSES = ("queued", "running")
# A worker may still publish a file of a render that was called off, until it notices.
LATE_WRITE_GRACE_S = 120

SCHEDULE_REMOVALS = text("""
    INSERT INTO removals (bucket, prefix, due_at)
    SELECT :bucket, prefix, now() + make_interval(secs => :wait) FROM unnest(CAST(:prefixes AS text[])) AS prefix
    ON CONFLICT (bucket, prefix) DO UPDATE SET due_at = greatest(removals.due_at, excluded.due_at)
""")


@dataclass(frozen=True, slots=True)
class DeletionPlan:
    """The rows that go with `id`, locked until the end of the transaction, and the service's own bucket."""

    kind: ResourceKind
    id: UUID
    bucket: str
    renders: Sequence[RowMapping]
    datasets: Sequence[RowMapping]

    @property
    def active_renders(self) -> list[UUID]:
        return [row["id"] for row in self.renders if row["status"] in ACTIVE_STATUSES]

    @property
    def object_count(self) -> int:
        """Videos, posters and receipts."""
        return sum(row[name] is not None for row in self.renders for name in ("video_key", "poster_key", "receipt_key"))


async def lock_for_deletion(
    connection: AsyncConnection, kind: ResourceKind, resource_id: UUID, bucket: str
) -> DeletionPlan:
    """As the service. Renders are locked before their tasks, as the workers do, so that none deadlocks with another."""
    belongs = renders.c.id if kind == "render" else renders.c[f"{kind}_id"]
    query = select(renders).where(belongs == resource_id).order_by(renders.c.id).with_for_update()
    found = (await connection.execute(query)).mappings().all()
    sets = await _select_datasets(connection, kind, resource_id)
    theirs = [row["id"] for row in found], [row["id"] for row in sets]
    query = select(tasks.c.id).where(or_(tasks.c.render_id.in_(theirs[0]), tasks.c.dataset_id.in_(theirs[1])))
    await connection.execute(query.order_by(tasks.c.id).with_for_update())
    return DeletionPlan(kind, resource_id, bucket, found, sets)


async def _select_datasets(connection: AsyncConnection, kind: ResourceKind, resource_id: UUID) -> Sequence[RowMapping]:
    if kind == "render":
        return []
    belongs = datasets.c.id if kind == "dataset" else datasets.c.experiment_id
    columns = (datasets.c.id, datasets.c.bucket, datasets.c.prefix, datasets.c.frame_count)
    query = select(*columns).where(belongs == resource_id).order_by(datasets.c.created_at, datasets.c.id)
    return (await connection.execute(query)).mappings().all()


async def execute_deletion(connection: AsyncConnection, plan: DeletionPlan, *, force: bool) -> None:
    """Delete the row and what hangs on it. Raises Conflict while renders are under way, unless `force` ends them."""
    live = set(plan.active_renders)
    if live and not force:
        what = "the render is" if plan.kind == "render" else f"{len(live)} renders are"
        raise Conflict(f"{what} under way: cancel first, or delete with force=true")
    for render in live:
        await render_rows.cancel_render(connection, render)
    quiet = [f"renders/{row['id']}/" for row in plan.renders if row["id"] not in live]
    await _schedule_removals(connection, plan.bucket, quiet + [f"previews/{row['id']}/" for row in plan.datasets], 0)
    await _schedule_removals(connection, plan.bucket, [f"renders/{render}/" for render in live], LATE_WRITE_GRACE_S)
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
    """Remove all that is due; returns how many objects that were. Raises ObjectStoreError: the rest stays marked."""
    removed = 0
    while True:
        async with database.service_transaction() as connection:
            taken = (await connection.execute(SELECT_DUE_REMOVALS)).all()
            for row in taken:
                removed += await _delete_prefix(connection, objects, row.bucket, row.prefix)
        if len(taken) < REMOVALS_PER_TRANSACTION:
            return removed


async def _delete_prefix(connection: AsyncConnection, objects: ObjectStore, bucket: str, prefix: str) -> int:
    count = 0
    async for page in objects.list(bucket, prefix):
        await _delete_objects(objects, bucket, page)
        count += len(page)
    await connection.execute(DELETE_REMOVAL, {"bucket": bucket, "prefix": prefix})
    return count


async def _delete_objects(objects: ObjectStore, bucket: str, page: list[ObjectInfo]) -> None:
    gate = asyncio.Semaphore(16)

    async def one(key: str) -> None:
        async with gate:
            await objects.delete(ObjectRef(bucket, key))

    await asyncio.gather(*(one(info.key) for info in page))
