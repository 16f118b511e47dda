"""Datasets of an experiment, and the scans that examine them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, Select, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import DatasetId, TaskId, new_uuid
from service.jobs import queue
from service.store.catalog.experiments import translate_integrity_errors
from service.store.keyset import PageRequest
from service.store.tables import datasets, experiments, tasks

SELECT_ACTIVE_SCAN = text("""
    SELECT id, state, progress FROM tasks
    WHERE dataset_id = :dataset AND kind = 'scan' AND state IN ('queued', 'running') ORDER BY created_at LIMIT 1
""")
SELECT_LATEST_SCAN = text("""
    SELECT id, state, progress FROM tasks WHERE dataset_id = :dataset AND kind = 'scan'
    ORDER BY created_at DESC, id DESC LIMIT 1
""")
MARK_SCANNING = text("""
    UPDATE datasets SET state = 'scanning', error = NULL, scanned = 0, updated_at = now() WHERE id = :dataset
""")


def upload_prefix(experiment: UUID, dataset: UUID) -> str:
    """The prefix, in the service's own bucket, that uploads into a dataset go to."""
    return f"frames/{experiment}/{dataset}/"


async def create(connection: AsyncConnection, experiment: UUID, values: dict[str, Any]) -> RowMapping:
    """`values` are name, kind, bucket, prefix (None: its own upload area). Raises Conflict for a taken name."""
    dataset = DatasetId(new_uuid())
    prefix = upload_prefix(experiment, dataset) if values["prefix"] is None else values["prefix"]
    row = values | {"id": dataset, "experiment_id": experiment, "prefix": prefix}
    async with translate_integrity_errors("the experiment has a dataset of that name already"):
        query = insert(datasets).values(**row).returning(datasets)
        made: RowMapping = (await connection.execute(query)).mappings().one()
    return made


async def get(connection: AsyncConnection, dataset: UUID) -> RowMapping | None:
    """The row, and the `owner` of its experiment."""
    query = select(datasets, experiments.c.owner).join(experiments).where(datasets.c.id == dataset)
    return (await connection.execute(query)).mappings().first()


async def lock(connection: AsyncConnection, dataset: UUID) -> RowMapping | None:
    """The row as it is now, until the end of the transaction; None when the caller may not change it."""
    query = select(datasets).where(datasets.c.id == dataset).with_for_update()
    return (await connection.execute(query)).mappings().first()


async def change(connection: AsyncConnection, dataset: UUID, values: dict[str, Any]) -> RowMapping:
    """The changed row of a dataset that is there. Raises Conflict for a taken name."""
    query = update(datasets).where(datasets.c.id == dataset).values(**values, updated_at=func.clock_timestamp())
    async with translate_integrity_errors("the experiment has a dataset of that name already"):
        row: RowMapping = (await connection.execute(query.returning(datasets))).mappings().one()
    return row


async def list_by_experiment(connection: AsyncConnection, experiment: UUID) -> Sequence[RowMapping]:
    """All of them, oldest first."""
    query = select(datasets).where(datasets.c.experiment_id == experiment)
    return (await connection.execute(query.order_by(datasets.c.created_at, datasets.c.id))).mappings().all()


async def list_page(
    connection: AsyncConnection, experiment: UUID, name_contains: str | None, page: PageRequest
) -> list[RowMapping]:
    """One keyset page of an experiment's datasets whose names hold `q`, in order."""
    query = page.apply(_filter(select(datasets), experiment, name_contains), datasets)
    return list((await connection.execute(query)).mappings().all())


async def count(connection: AsyncConnection, experiment: UUID, name_contains: str | None) -> int:
    """All of them that match, whatever the page."""
    return int(
        await connection.scalar(_filter(select(func.count()).select_from(datasets), experiment, name_contains)) or 0
    )


def _filter(query: Select[Any], experiment: UUID, name_contains: str | None) -> Select[Any]:
    query = query.where(datasets.c.experiment_id == experiment)
    return query.where(datasets.c.name.icontains(name_contains, autoescape=True)) if name_contains else query


async def enqueue_scan(connection: AsyncConnection, dataset: UUID) -> RowMapping:
    """The scan under way, or a new one, queued in this transaction. Only the service may: see `become_service`."""
    await connection.execute(select(datasets.c.id).where(datasets.c.id == dataset).with_for_update(key_share=True))
    found = (await connection.execute(SELECT_ACTIVE_SCAN, {"dataset": dataset})).mappings().first()
    if found is not None:
        return found
    await connection.execute(MARK_SCANNING, {"dataset": dataset})
    row = insert(tasks).values(id=new_uuid(), kind="scan", dataset_id=dataset)
    task = (await connection.execute(row.returning(tasks.c.id, tasks.c.state, tasks.c.progress))).mappings().one()
    await queue.enqueue(connection, "scan", [TaskId(task["id"])])
    return task


async def latest_scan(connection: AsyncConnection, dataset: UUID) -> RowMapping | None:
    """The newest scan's task, as the service sees it."""
    return (await connection.execute(SELECT_LATEST_SCAN, {"dataset": dataset})).mappings().first()
