"""Routes of datasets: register, read, rename, scan, delete, list frames."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import invalid_field
from service.ids import Subject
from service.plan.facts import Cadence
from service.plan.tone import Levels
from service.routers.catalog.access import (
    get_visible_dataset,
    get_visible_experiment,
    lock_owned_dataset,
    require_owner,
)
from service.routers.catalog.dataset_models import (
    CadenceFacts,
    Dataset,
    DatasetAndScan,
    DatasetChange,
    DatasetQuery,
    Follow,
    Frame,
    IntervalGap,
    LevelFacts,
    NewDataset,
    ScanJob,
    SizeRange,
)
from service.routers.catalog.deletion import Deleted, Force, Frames, count_objects, to_deleted
from service.routers.catalog.sample_histogram import sample_histogram
from service.routers.http.conditional_requests import (
    ETAG_HEADERS,
    IfMatch,
    IfNoneMatch,
    etag,
    not_modified_response,
    require_match,
)
from service.routers.http.dependencies import CallerDep, DatabaseDep, ObjectsDep, SourcesDep, require_scope
from service.routers.http.fields import MAX_INT64
from service.routers.http.pagination import PAGE_HEADERS, Pager
from service.routers.http.problems import error_responses
from service.routers.http.signing import SignerDep
from service.store import deletion
from service.store.catalog import datasets, frames
from service.store.catalog.datasets import DatasetRow
from service.store.catalog.follows import CHANGES
from service.store.catalog.source_access import check_source, grant_for, refusal
from service.store.database import Caller, Database, switch_to_service_role
from service.store.objects.keys import experiment_prefix
from service.store.objects.object_store import ObjectStore
from service.store.source_rules import Grant, Reader, SourceRules

router = APIRouter(prefix="/api", tags=["datasets"])
REQUIRE_READ = Depends(require_scope("catalog:read"))
REQUIRE_WRITE = Depends(require_scope("catalog:write"))
MAX_LISTED_SIZES = 20
LISTED_PERCENTILES = (0.35, 1, 5, 25, 50, 75, 95, 99, 99.65)


def to_dataset(row: DatasetRow) -> Dataset:
    """The response model of a dataset row."""
    captured_from, captured_to = row.captured or (None, None)
    computed: dict[str, Any] = {
        "sizes": row.sizes[:MAX_LISTED_SIZES],
        "captured_from": captured_from,
        "captured_to": captured_to,
        "size_range": _size_range(row),
        "levels": _level_facts(row.levels),
        "unreadable": [dict(problem) for problem in row.problems],
        "cadence": _cadence_facts(row.cadence),
        "followed": row.follow is not None,
        "follow": _follow_status(row.follow),
    }
    return Dataset(**{name: getattr(row, name) for name in Dataset.model_fields if name not in computed}, **computed)


def dataset_etag(dataset: Dataset) -> str:
    """The ETag, which a look that found nothing does not change."""
    if dataset.follow is None:
        return etag(dataset)
    return etag(dataset.model_copy(update={"follow": dataset.follow.model_copy(update={"looked_at": None})}))


def _follow_status(follow: Mapping[str, Any] | None) -> Follow | None:
    if follow is None:
        return None
    counts = {kind: follow["changes"].get(kind, 0) for kind in CHANGES}
    return Follow.model_validate({**follow, **counts})


def _cadence_facts(cadence: Cadence | None) -> CadenceFacts | None:
    if cadence is None:
        return None
    counts = {name: getattr(cadence, name) for name in ("from_names", "missing", "pauses")}
    gaps = [IntervalGap(**gap) for gap in cadence.gaps]
    return CadenceFacts(interval_seconds=cadence.interval_us / 1e6, gaps=gaps, **counts)


def _level_facts(levels: Levels | None) -> LevelFacts | None:
    if levels is None:
        return None
    percentiles = {str(percent): levels.percentile(percent) for percent in LISTED_PERCENTILES}
    histogram = dataclasses.asdict(sample_histogram(levels))
    return LevelFacts(**levels.to_json() | {"percentiles": percentiles, "histogram": histogram})


def _size_range(row: DatasetRow) -> SizeRange | None:
    if not row.sizes:
        return None
    widths, heights = ([size[name] for size in row.sizes] for name in ("width", "height"))
    return SizeRange(min_width=min(widths), max_width=max(widths), min_height=min(heights), max_height=max(heights))


@router.get(
    "/experiments/{experiment_id}/datasets",
    summary="List the datasets of an experiment",
    response_model=list[Dataset],
    responses={200: {"headers": PAGE_HEADERS}},
    dependencies=[REQUIRE_READ],
)
async def list_datasets(
    experiment_id: UUID,
    request: Request,
    response: Response,
    query: Annotated[DatasetQuery, Query()],
    caller: CallerDep,
    database: DatabaseDep,
    signer: SignerDep,
) -> list[Dataset]:
    """Oldest first, unless `sort` is set. If there are more, the `Link` header has the URL of the next page."""
    pager = Pager(signer, f"datasets {experiment_id}", query.sort)
    page = pager.keyset_page(query)
    async with database.caller_transaction(caller) as connection:
        await get_visible_experiment(connection, experiment_id)
        rows, shown = await datasets.list_page(connection, experiment_id, query.q, page)
        if query.count == "exact":
            response.headers["X-Total-Count"] = str(await datasets.count(connection, experiment_id, query.q))
    return [to_dataset(row) for row in pager.paginate(rows, shown, request, response)]


@router.post(
    "/experiments/{experiment_id}/datasets",
    status_code=202,
    summary="Register a dataset",
    response_model=DatasetAndScan,
    responses={
        201: {"model": DatasetAndScan, "description": "The dataset is empty: upload files, then scan it"},
        **error_responses(409),
    },
    dependencies=[REQUIRE_WRITE],
)
async def register_dataset(
    experiment_id: UUID,
    body: NewDataset,
    response: Response,
    caller: CallerDep,
    database: DatabaseDep,
    rules: SourcesDep,
) -> DatasetAndScan:
    """With a `prefix`, the objects under it are scanned (202). MINIO_SOURCES says who may read what in other buckets.
    The service's own bucket allows only `frames/{experiment_id}/…`, because it also holds uploads and videos of other
    users. Without a `prefix`, the dataset is created empty (201) and files can be uploaded into it."""
    bucket = _resolve_bucket(body, experiment_id, rules.own_bucket)
    grant = await grant_for(database, caller, bucket, rules) if bucket != rules.own_bucket else None
    async with database.caller_transaction(caller) as connection:
        owner = (await get_visible_experiment(connection, experiment_id))["owner"]
        require_owner(owner, caller)
        values = body.model_dump() | {"bucket": bucket, "source_grant": _needed_grant(body, owner, grant, rules)}
        row = await datasets.create(connection, experiment_id, values)
        response.headers["Location"] = f"/api/datasets/{row.id}"
        if body.prefix is None:
            response.status_code = 201
            result = DatasetAndScan(dataset=to_dataset(row), scan=None)
        else:
            await switch_to_service_role(connection)
            result = await _queue_scan(connection, row.id)
    response.headers["ETag"] = dataset_etag(result.dataset)
    return result


def _resolve_bucket(body: NewDataset, experiment: UUID, own_bucket: str) -> str:
    """The bucket to read from. Raises InvalidRequest if no caller may name this place."""
    bucket = body.bucket or own_bucket
    if bucket != own_bucket and body.prefix is None:
        raise invalid_field("#/prefix", "say where in this bucket the frames lie; uploads go to our own only", "prefix")
    area = experiment_prefix(experiment)
    if bucket == own_bucket and not (body.prefix is None or body.prefix.startswith(area)):
        detail = f"in the service's own bucket the prefix must begin with {area}"
        raise invalid_field("#/prefix", detail, "prefix")
    return bucket


def _needed_grant(body: NewDataset, owner: Subject, grant: Grant | None, rules: SourceRules) -> Grant | None:
    """None if the owner may read the source without. Raises InvalidRequest if the grant does not help either."""
    bucket, prefix = body.bucket or rules.own_bucket, body.prefix or ""
    if bucket == rules.own_bucket or rules.allows(bucket, prefix, Reader(owner)):
        return None
    if not rules.allows(bucket, prefix, Reader(owner, grant)):
        raise refusal(bucket, prefix, Reader(owner, grant), rules)
    return grant


@router.get(
    "/datasets/{dataset_id}",
    summary="Look at a dataset",
    response_model=Dataset,
    responses={200: {"headers": ETAG_HEADERS}, 304: {"description": "Not modified"}},
    dependencies=[REQUIRE_READ],
)
async def get_dataset(
    dataset_id: UUID, response: Response, caller: CallerDep, database: DatabaseDep, if_none_match: IfNoneMatch = None
) -> Dataset | Response:
    """Number, sizes, formats, bytes and capture times of the frames, gaps in their numbering, and unreadable frames."""
    async with database.caller_transaction(caller) as connection:
        dataset = to_dataset(await get_visible_dataset(connection, dataset_id))
    response.headers["ETag"] = dataset_etag(dataset)
    return not_modified_response(if_none_match, dataset_etag(dataset)) or dataset


@router.patch(
    "/datasets/{dataset_id}",
    summary="Rename a dataset",
    response_model=Dataset,
    responses={200: {"headers": ETAG_HEADERS}, **error_responses(409, 412)},
    dependencies=[REQUIRE_WRITE],
)
async def change_dataset(
    dataset_id: UUID,
    body: DatasetChange,
    response: Response,
    caller: CallerDep,
    database: DatabaseDep,
    if_match: IfMatch = None,
) -> Dataset:
    """Only for the owner of the experiment and admins. With `If-Match`, only if the dataset has not changed since it
    was read; scans change it, too."""
    async with database.caller_transaction(caller) as connection:
        require_match(if_match, dataset_etag(to_dataset(await lock_owned_dataset(connection, dataset_id, caller))))
        changed = to_dataset(await datasets.change(connection, dataset_id, body.model_dump()))
    response.headers["ETag"] = dataset_etag(changed)
    return changed


@router.delete(
    "/datasets/{dataset_id}",
    summary="Delete a dataset",
    response_model=Deleted,
    responses=error_responses(409, 412),
    dependencies=[REQUIRE_WRITE],
)
async def delete_dataset(
    dataset_id: UUID,
    caller: CallerDep,
    database: DatabaseDep,
    objects: ObjectsDep,
    if_match: IfMatch = None,
    force: Force = False,
    frames: Frames = False,
) -> Deleted:
    """Also deletes its frame rows, the renders of all users, and what the caches hold for these alone; the response
    counts them. Files in source buckets stay; uploaded ones, too, unless `frames` is set. Answers 409 if renders are
    unfinished, unless `force` is set."""
    uploads = await _count_uploads(database, objects, caller, dataset_id) if frames else None
    async with database.caller_transaction(caller) as connection:
        require_match(if_match, dataset_etag(to_dataset(await lock_owned_dataset(connection, dataset_id, caller))))
        await switch_to_service_role(connection)
        plan = await deletion.lock_for_deletion(connection, "dataset", dataset_id, objects.bucket)
        await deletion.execute_deletion(connection, plan, force=force, uploads=frames)
    return to_deleted(plan, uploads)


async def _count_uploads(database: Database, objects: ObjectStore, caller: Caller, dataset: UUID) -> int:
    """Counted before the deletion, which should not hold its locks for as long as a store takes to list a million."""
    async with database.caller_transaction(caller) as connection:
        row = await get_visible_dataset(connection, dataset)
    require_owner(row.owner, caller)
    return await count_objects(objects, row.prefix) if deletion.is_upload_area(row, objects.bucket) else 0


@router.post(
    "/datasets/{dataset_id}/scan",
    status_code=202,
    summary="Scan a dataset",
    response_model=DatasetAndScan,
    dependencies=[REQUIRE_WRITE],
)
async def scan_dataset(
    dataset_id: UUID, response: Response, caller: CallerDep, database: DatabaseDep, rules: SourcesDep
) -> DatasetAndScan:
    """Scans the objects under the dataset's prefix again. Returns the running scan if there is one. The dataset keeps
    its old frames until its `state` becomes `ready` or `failed`."""
    async with database.caller_transaction(caller) as connection:
        row = await get_visible_dataset(connection, dataset_id)
        require_owner(row.owner, caller)
        check_source(row, rules)
        await switch_to_service_role(connection)
        response.headers["Location"] = f"/api/datasets/{dataset_id}"
        return await _queue_scan(connection, dataset_id)


async def _queue_scan(connection: AsyncConnection, dataset: UUID) -> DatasetAndScan:
    """Enqueue a scan, or return the running one. The connection must have the service role."""
    task = await datasets.enqueue_scan(connection, dataset)
    return DatasetAndScan(dataset=to_dataset(await get_visible_dataset(connection, dataset)), scan=ScanJob(**task))


@router.get(
    "/datasets/{dataset_id}/frames", summary="List frames", response_model=list[Frame], dependencies=[REQUIRE_READ]
)
async def list_frames(
    dataset_id: UUID,
    response: Response,
    caller: CallerDep,
    database: DatabaseDep,
    start: Annotated[int, Query(ge=0, le=MAX_INT64, description="index of the first frame to list")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="frames on a page")] = 100,
    unreadable: Annotated[bool, Query(description="only frames that have a `problem`")] = False,
    odd_size: Annotated[bool, Query(description="only frames whose size is not that of the dataset")] = False,
) -> list[Frame]:
    """In order. The `Link` header has the URL of the next page. The frames of source videos are not listed."""
    async with database.caller_transaction(caller) as connection:
        dataset = await get_visible_dataset(connection, dataset_id)
        usual = (dataset.width, dataset.height) if odd_size and dataset.width and dataset.height else None
        page = frames.FramePage(start, limit + 1, unreadable, usual)
        rows = await frames.list_page(connection, dataset_id, page)
    if len(rows) > limit:
        flag = ("&unreadable=true" if unreadable else "") + ("&odd_size=true" if odd_size else "")
        address = f"/api/datasets/{dataset_id}/frames?start={rows[limit]['index']}&limit={limit}{flag}"
        response.headers["Link"] = f'<{address}>; rel="next"'
    return [Frame(**{name: row[name] for name in Frame.model_fields}) for row in rows[:limit]]
