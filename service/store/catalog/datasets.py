"""Datasets of an experiment, and the tasks that scan them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Any
from uuid import UUID

from sqlalchemy import Executable, RowMapping, Select, func, insert, null, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import DatasetId, Subject, new_uuid
from service.jobs import queue
from service.plan.facts import Cadence, DatasetFacts
from service.plan.tone import Levels
from service.store.catalog.follows import FOLLOW
from service.store.database import translate_integrity_errors
from service.store.keyset import PageRequest, fetch_page
from service.store.objects.keys import upload_prefix
from service.store.source_rules import Grant
from service.store.tables import datasets, experiments, tasks

SELECT_ACTIVE_SCAN = text("""
    SELECT id, state, progress FROM tasks
    WHERE dataset_id = :dataset AND kind = 'scan' AND state IN ('queued', 'running') ORDER BY created_at LIMIT 1
""")
MARK_SCANNING = text("""
    UPDATE datasets SET state = 'scanning', error = NULL, scanned = 0, updated_at = now()
    WHERE id = :dataset AND state <> 'scanning'
""")
NAME_TAKEN = "the experiment has a dataset of that name already"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRow(DatasetFacts):
    """A row of `datasets`: what planning needs to know, and what else the catalogue shows.

    `bytes` is the size of all frames or source videos together, `sizes` and `gaps` list the most frequent frame sizes
    and the first gaps in the numbering, `scanned` counts the objects that the current scan has examined. `excluded`
    counts what the last scan left out, by label; `problems` counts unreadable frames, by reason. `source_grant` is that
    of `source_rules.Reader`. Only `get` reads `owner`, which is the experiment's. `follow` are the columns of `follows`
    that the catalogue shows, if the dataset is followed.
    """

    prefix: str
    created_at: datetime
    updated_at: datetime
    bytes: int = 0
    sizes: Sequence[dict[str, Any]] = ()
    gaps: Sequence[dict[str, int]] = ()
    unreadable_frames: int = 0
    scanned: int = 0
    excluded: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    problems: Sequence[dict[str, Any]] = ()
    source_grant: Grant | None = None
    owner: Subject | None = None
    follow: Mapping[str, Any] | None = None


# Columns whose values a DatasetRow has under the same name, as they are.
PLAIN_COLUMNS = tuple(
    column.name
    for column in datasets.c
    if column.name in DatasetRow.__dataclass_fields__ and column.name not in ("formats", "levels", "cadence")
)


def to_dataset_row(row: RowMapping) -> DatasetRow:
    """From a row with all columns of `datasets` and, where the query joins it, the `owner` of the experiment."""
    return DatasetRow(
        **{name: row[name] for name in PLAIN_COLUMNS},
        formats=tuple(row["formats"]),
        levels=Levels.from_json(row["levels"]) if row["levels"] else None,
        cadence=Cadence(**row["cadence"]) if row["cadence"] else None,
        pixel_formats=row["forms"],
        **_pixel_shape(row["kind"], row["sizes"]),
        captured=None if row["captured_from"] is None else (row["captured_from"], row["captured_to"]),
        first_gap=row["gaps"][0]["number"] if row["gaps"] else None,
        owner=row.get("owner"),
        follow=row.get("follow"),
    )


def _pixel_shape(kind: str, sizes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the scan noted of the pixels of the usual size; scans before it could leave the aspect unknown."""
    if kind != "video" or not sizes:
        return {}
    usual = sizes[0]
    if "pixel_aspect" not in usual:
        return {"pixel_aspect": None}
    stored_size = (usual["stored_width"], usual["stored_height"])
    return {"pixel_aspect": Fraction(usual["pixel_aspect"]), "stored_size": stored_size}


async def fetch_dataset(connection: AsyncConnection, query: Executable) -> DatasetRow | None:
    """The first dataset that `query` returns."""
    row = (await connection.execute(query)).mappings().first()
    return None if row is None else to_dataset_row(row)


async def fetch_datasets(connection: AsyncConnection, query: Executable) -> list[DatasetRow]:
    """All datasets that `query` returns, in its order."""
    return [to_dataset_row(row) for row in (await connection.execute(query)).mappings()]


async def create(connection: AsyncConnection, experiment: UUID, values: dict[str, Any]) -> DatasetRow:
    """Insert a dataset; `values` are its name, kind, bucket, source_grant and prefix (None: its own upload area).

    Raises Conflict for a taken name.
    """
    dataset = DatasetId(new_uuid())
    prefix = upload_prefix(experiment, dataset) if values["prefix"] is None else values["prefix"]
    row = values | {"id": dataset, "experiment_id": experiment, "prefix": prefix}
    async with translate_integrity_errors(NAME_TAKEN):
        query = insert(datasets).values(**row).returning(datasets)
        return to_dataset_row((await connection.execute(query)).mappings().one())


async def get(connection: AsyncConnection, dataset: UUID) -> DatasetRow | None:
    """The dataset, with the `owner` of its experiment."""
    query = select(datasets, experiments.c.owner, FOLLOW).join(experiments).where(datasets.c.id == dataset)
    return await fetch_dataset(connection, query)


async def lock(connection: AsyncConnection, dataset: UUID) -> DatasetRow | None:
    """The dataset, locked until the end of the transaction; None if the caller may not change it."""
    query = select(datasets, FOLLOW).where(datasets.c.id == dataset)
    return await fetch_dataset(connection, query.with_for_update(of=datasets))


async def change(connection: AsyncConnection, dataset: UUID, values: dict[str, Any]) -> DatasetRow:
    """Update an existing dataset and return it. Raises Conflict for a taken name."""
    query = update(datasets).where(datasets.c.id == dataset).values(**values, updated_at=func.clock_timestamp())
    async with translate_integrity_errors(NAME_TAKEN):
        return to_dataset_row((await connection.execute(query.returning(datasets, FOLLOW))).mappings().one())


async def note_upload_urls(connection: AsyncConnection, dataset: UUID, expires_at: datetime) -> bool:
    """Remember until when files may be uploaded without asking us. False if the dataset was deleted."""
    until = func.greatest(datasets.c.uploads_until, expires_at)
    query = update(datasets).where(datasets.c.id == dataset).values(uploads_until=until)
    return bool((await connection.execute(query)).rowcount)


async def list_by_experiment(connection: AsyncConnection, experiment: UUID) -> list[DatasetRow]:
    """All of them, oldest first."""
    query = select(datasets).where(datasets.c.experiment_id == experiment)
    return await fetch_datasets(connection, query.order_by(datasets.c.created_at, datasets.c.id))


async def list_page(
    connection: AsyncConnection, experiment: UUID, name_contains: str | None, page: PageRequest
) -> tuple[list[DatasetRow], int]:
    """The rows of one page of the experiment's datasets and how many of them it shows: see `fetch_page`."""
    keys = select(datasets.c.id, datasets.c.created_at, datasets.c.name)
    documents = (datasets.c.sizes, datasets.c.gaps, datasets.c.problems, datasets.c.excluded, datasets.c.levels)
    found, shown = await fetch_page(connection, _filter(keys, experiment, name_contains), datasets, page, documents)
    query = select(datasets, FOLLOW).where(datasets.c.id.in_([row["id"] for row in found]))
    return await fetch_datasets(connection, query.order_by(*page.order(datasets))), shown


async def count(connection: AsyncConnection, experiment: UUID, name_contains: str | None) -> int:
    """How many match, on all pages together."""
    query = _filter(select(func.count()).select_from(datasets), experiment, name_contains)
    return int(await connection.scalar(query) or 0)


def _filter(query: Select[Any], experiment: UUID, name_contains: str | None) -> Select[Any]:
    query = query.where(datasets.c.experiment_id == experiment)
    return query.where(datasets.c.name.icontains(name_contains, autoescape=True)) if name_contains else query


# A new scan takes their place among the dead letters.
REPLACE_FAILED_SCANS = text("""
    UPDATE tasks SET dismissed_at = now()
    WHERE dataset_id = :dataset AND kind = 'scan' AND state = 'failed' AND dismissed_at IS NULL
""")


# A scan of a followed dataset that waits is not enough for somebody who asks for one.
MAKE_FULL = text("""
    UPDATE tasks SET payload = NULL
    WHERE id = (SELECT id FROM tasks WHERE id = :task AND state = 'queued' FOR UPDATE SKIP LOCKED)
""")
# A dataset that grows all day leaves no row for each scan.
DELETE_KNOWN_SCANS = text("""
    DELETE FROM tasks WHERE dataset_id = :dataset AND kind = 'scan' AND state = 'succeeded' AND payload IS NOT NULL
""")


async def enqueue_scan(connection: AsyncConnection, dataset: UUID) -> RowMapping:
    """The active scan of the dataset, or a new one. Run as the service (`database.switch_to_service_role`)."""
    found = await _lock_and_find_scan(connection, dataset)
    await connection.execute(MARK_SCANNING, {"dataset": dataset})
    if found is not None:
        await connection.execute(MAKE_FULL, {"task": found["id"]})
        return found
    return await _insert_scan(connection, dataset, None)


async def enqueue_known_scan(connection: AsyncConnection, dataset: UUID, after: str) -> None:
    """Queue a scan that takes over what the last one knows (see ScanLease), unless there is an active one.

    Meanwhile the dataset is as it was: it can be rendered.
    """
    if await _lock_and_find_scan(connection, dataset) is None:
        await connection.execute(DELETE_KNOWN_SCANS, {"dataset": dataset})
        await _insert_scan(connection, dataset, {"known": True, "after": after})


async def _lock_and_find_scan(connection: AsyncConnection, dataset: UUID) -> RowMapping | None:
    await connection.execute(select(datasets.c.id).where(datasets.c.id == dataset).with_for_update(key_share=True))
    return (await connection.execute(SELECT_ACTIVE_SCAN, {"dataset": dataset})).mappings().first()


async def _insert_scan(connection: AsyncConnection, dataset: UUID, payload: dict[str, Any] | None) -> RowMapping:
    await connection.execute(REPLACE_FAILED_SCANS, {"dataset": dataset})
    owner = select(experiments.c.owner).join(datasets).where(datasets.c.id == dataset).scalar_subquery()
    values = {"id": new_uuid(), "kind": "scan", "dataset_id": dataset, "owner": owner, "payload": payload or null()}
    row = insert(tasks).values(values)
    task = (await connection.execute(row.returning(tasks.c.id, tasks.c.state, tasks.c.progress))).mappings().one()
    await queue.wake_workers(connection)
    return task
