"""Routes of datasets: register, read, rename, scan, delete, list frames."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import invalid_field
from service.plan.tone import Levels
from service.routers.catalog.access import (
    CatalogDep,
    get_visible_dataset,
    get_visible_experiment,
    lock_owned_dataset,
    require_owner,
)
from service.routers.catalog.dataset_models import (
    Dataset,
    DatasetAndScan,
    DatasetChange,
    DatasetQuery,
    Frame,
    LevelFacts,
    NewDataset,
    ScanJob,
    SizeRange,
)
from service.routers.catalog.deletion import Deleted, Force
from service.routers.catalog.deletion import to_deleted as what_went
from service.routers.catalog.frame_images import router as frame_images
from service.routers.catalog.signed_uploads import router as signed_uploads
from service.routers.catalog.uploads import router as uploads
from service.routers.http.conditional_requests import (
    ETAG_HEADERS,
    IfMatch,
    IfNoneMatch,
    etag,
    not_modified_response,
    require_match,
)
from service.routers.http.dependencies import CallerDep, CatalogSettings, DatabaseDep, ObjectsDep, require_scope
from service.routers.http.pagination import PAGE_HEADERS, Pager
from service.routers.http.problems import error_responses
from service.routers.http.signing import SignerDep
from service.store import deletion
from service.store.catalog import datasets, frames
from service.store.catalog.datasets import DatasetRow
from service.store.database import Caller, switch_to_service_role
from service.store.objects.keys import experiment_prefix

router = APIRouter()
dataset_router = APIRouter(prefix="/api", tags=["datasets"])
REQUIRE_READ = Depends(require_scope("catalog:read"))
REQUIRE_WRITE = Depends(require_scope("catalog:write"))
MAX_LISTED_SIZES = 20
LISTED_PERCENTILES = (0.35, 1, 5, 25, 50, 75, 95, 99, 99.65)
MAX_INT64 = 2**63 - 1


def to_dataset(row: DatasetRow) -> Dataset:
    """A row as the API shows it."""
    captured_from, captured_to = row.captured or (None, None)
    computed: dict[str, Any] = {
        "sizes": row.sizes[:MAX_LISTED_SIZES],
        "captured_from": captured_from,
        "captured_to": captured_to,
        "size_range": _size_range(row),
        "levels": _level_facts(row.levels),
    }
    return Dataset(**{name: getattr(row, name) for name in Dataset.model_fields if name not in computed}, **computed)


def _level_facts(levels: Levels | None) -> LevelFacts | None:
    if levels is None:
        return None
    percentiles = {str(percent): levels.percentile(percent) for percent in LISTED_PERCENTILES}
    return LevelFacts(**levels.to_json() | {"percentiles": percentiles})


def _size_range(row: DatasetRow) -> SizeRange | None:
    if not row.sizes:
        return None
    widths, heights = ([size[name] for size in row.sizes] for name in ("width", "height"))
    return SizeRange(min_width=min(widths), max_width=max(widths), min_height=min(heights), max_height=max(heights))


@dataset_router.get(
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
    """Oldest first unless `sort` says otherwise; while there are more, the `Link` header has the next page's
    address."""
    pager = Pager(signer, f"datasets {experiment_id}", query.sort)
    part = pager.keyset_page(query)
    async with database.caller_transaction(caller) as connection:
        await get_visible_experiment(connection, experiment_id)
        rows = await datasets.list_page(connection, experiment_id, query.q, part)
        if query.count == "exact":
            response.headers["X-Total-Count"] = str(await datasets.count(connection, experiment_id, query.q))
    return [to_dataset(row) for row in pager.paginate(rows, query.limit, (request, response))]


@dataset_router.post(
    "/experiments/{experiment_id}/datasets",
    status_code=202,
    summary="Register a dataset",
    response_model=DatasetAndScan,
    responses={
        201: {"model": DatasetAndScan, "description": "Empty: upload into it, then scan it"},
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
    objects: ObjectsDep,
    settings: CatalogDep,
) -> DatasetAndScan:
    """With a `prefix`, what lies under it is scanned (202). Any prefix of a bucket in MINIO_SOURCE_BUCKETS may be
    named; in the service's own bucket only `frames/{experiment_id}/…`, except by admins, because other people's
    uploads and videos lie there too. Without a `prefix` the dataset is made empty (201), to be uploaded into."""
    bucket = resolve_bucket(body, experiment_id, (objects.bucket, settings), caller)
    async with database.caller_transaction(caller) as connection:
        require_owner((await get_visible_experiment(connection, experiment_id))["owner"], caller)
        row = await datasets.create(connection, experiment_id, body.model_dump() | {"bucket": bucket})
        response.headers["Location"] = f"/api/datasets/{row.id}"
        if body.prefix is None:
            response.status_code = 201
            made = DatasetAndScan(dataset=to_dataset(row), scan=None)
        else:
            await switch_to_service_role(connection)
            made = await _queue_scan(connection, row.id)
    response.headers["ETag"] = etag(made.dataset)
    return made


def resolve_bucket(body: NewDataset, experiment: UUID, at: tuple[str, CatalogSettings], caller: Caller) -> str:
    """The bucket to read from; `at` is (own bucket, settings). Raises Invalid for a place the caller may not read."""
    own, settings = at
    bucket = body.bucket or own
    if bucket != own and not settings.may_read(bucket):
        raise invalid_field("#/bucket", "datasets cannot be read from this bucket (MINIO_SOURCE_BUCKETS)", "bucket")
    if bucket != own and body.prefix is None:
        raise invalid_field("#/prefix", "say where in this bucket the frames lie; uploads go to our own only", "prefix")
    area = experiment_prefix(experiment)
    if bucket == own and not caller.admin and not (body.prefix is None or body.prefix.startswith(area)):
        detail = f"in the service's own bucket the prefix must begin with {area}"
        raise invalid_field("#/prefix", detail, "prefix")
    return bucket


@dataset_router.get(
    "/datasets/{dataset_id}",
    summary="Look at a dataset",
    response_model=Dataset,
    responses={200: {"headers": ETAG_HEADERS}, 304: {"description": "The caller has it already"}},
    dependencies=[REQUIRE_READ],
)
async def get_dataset(
    dataset_id: UUID, response: Response, caller: CallerDep, database: DatabaseDep, if_none_match: IfNoneMatch = None
) -> Dataset | Response:
    """What it is made of: count, sizes, formats, bytes, capture span, gaps, unreadable frames."""
    async with database.caller_transaction(caller) as connection:
        seen = to_dataset(await get_visible_dataset(connection, dataset_id))
    response.headers["ETag"] = etag(seen)
    return not_modified_response(if_none_match, etag(seen)) or seen


@dataset_router.patch(
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
    """Only the owner of the experiment and admins may. With `If-Match`, only if it is as it was when it was read: a
    scan changes it, too."""
    async with database.caller_transaction(caller) as connection:
        require_match(if_match, etag(to_dataset(await lock_owned_dataset(connection, dataset_id, caller))))
        changed = to_dataset(await datasets.change(connection, dataset_id, body.model_dump()))
    response.headers["ETag"] = etag(changed)
    return changed


@dataset_router.delete(
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
) -> Deleted:
    """With its frame rows and renders, whoever asked for those; the answer counts them. Source frames and videos stay
    in the object store. Refused with 409 while renders are under way, unless `force`."""
    async with database.caller_transaction(caller) as connection:
        require_match(if_match, etag(to_dataset(await lock_owned_dataset(connection, dataset_id, caller))))
        await switch_to_service_role(connection)
        doomed = await deletion.lock_for_deletion(connection, "dataset", dataset_id, objects.bucket)
        await deletion.execute_deletion(connection, doomed, force=force)
    return what_went(doomed)


@dataset_router.post(
    "/datasets/{dataset_id}/scan",
    status_code=202,
    summary="Scan a dataset",
    response_model=DatasetAndScan,
    dependencies=[REQUIRE_WRITE],
)
async def scan_dataset(
    dataset_id: UUID, response: Response, caller: CallerDep, database: DatabaseDep
) -> DatasetAndScan:
    """Looks again at what lies under its prefix; while a scan is under way, that one is told. The dataset's `state`
    is `ready` or `failed` in the end; until then its frames are the old ones."""
    async with database.caller_transaction(caller) as connection:
        require_owner((await get_visible_dataset(connection, dataset_id)).owner, caller)
        await switch_to_service_role(connection)
        response.headers["Location"] = f"/api/datasets/{dataset_id}"
        return await _queue_scan(connection, dataset_id)


async def _queue_scan(connection: AsyncConnection, dataset: UUID) -> DatasetAndScan:
    """The connection has become the service's."""
    task = await datasets.enqueue_scan(connection, dataset)
    return DatasetAndScan(dataset=to_dataset(await get_visible_dataset(connection, dataset)), scan=ScanJob(**task))


@dataset_router.get(
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
) -> list[Frame]:
    """In order; the `Link` header has the next page's address. Pictures inside of source videos are not listed."""
    async with database.caller_transaction(caller) as connection:
        await get_visible_dataset(connection, dataset_id)
        rows = await frames.list_range(connection, dataset_id, start, limit + 1, unreadable=unreadable)
    if len(rows) > limit:
        flag = "&unreadable=true" if unreadable else ""
        address = f"/api/datasets/{dataset_id}/frames?start={rows[limit]['index']}&limit={limit}{flag}"
        response.headers["Link"] = f'<{address}>; rel="next"'
    return [Frame(**{name: row[name] for name in Frame.model_fields}) for row in rows[:limit]]


router.include_router(dataset_router)
router.include_router(uploads)
router.include_router(signed_uploads)
router.include_router(frame_images)
