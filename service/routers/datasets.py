"""Datasets: register, look, scan, list frames."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import invalid_field
from service.plan.tone import Levels
from service.routers.catalog import (
    CatalogDep,
    held_dataset,
    require_owner,
    seen_dataset,
    seen_experiment,
)
from service.routers.dataset_models import (
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
from service.routers.deletion import Deleted, Force
from service.routers.deletion import told as what_went
from service.routers.deps import CallerDep, DatabaseDep, ObjectsDep, require
from service.routers.frame_images import router as frame_images
from service.routers.pages import HEADERS, Pager
from service.routers.preconditions import TAGGED, IfMatch, IfNoneMatch, etag, require_match, unchanged
from service.routers.problems import described
from service.routers.resources import CatalogSettings
from service.routers.signed_uploads import router as signed_uploads
from service.routers.signing import SignerDep
from service.routers.uploads import router as uploads
from service.store import datasets, deletion, frames
from service.store.database import Caller
from service.store.experiments import become_service

router = APIRouter()
catalog = APIRouter(prefix="/api", tags=["datasets"])
READ = Depends(require("catalog:read"))
WRITE = Depends(require("catalog:write"))
LISTED_SIZES = 20
LISTED_PERCENTS = (0.35, 1, 5, 25, 50, 75, 95, 99, 99.65)
LARGEST = 2**63 - 1


def told(row: RowMapping) -> Dataset:
    """A row as the API tells it."""
    facts = {name: row[name] for name in Dataset.model_fields if name not in ("size_range", "levels")}
    shown = facts | {"sizes": row["sizes"][:LISTED_SIZES]}
    return Dataset(**shown, size_range=_size_range(row), levels=_level_facts(row["levels"]))


def _level_facts(document: dict[str, Any] | None) -> LevelFacts | None:
    if document is None:
        return None
    levels = Levels.from_json(document)
    told = {str(percent): levels.percentile(percent) for percent in LISTED_PERCENTS}
    return LevelFacts(**document | {"percentiles": told})


def _size_range(row: RowMapping) -> SizeRange | None:
    if not row["sizes"]:
        return None
    widths, heights = ([size[name] for size in row["sizes"]] for name in ("width", "height"))
    return SizeRange(min_width=min(widths), max_width=max(widths), min_height=min(heights), max_height=max(heights))


@catalog.get(
    "/experiments/{experiment_id}/datasets",
    summary="List the datasets of an experiment",
    response_model=list[Dataset],
    responses={200: {"headers": HEADERS}},
    dependencies=[READ],
)
async def list_datasets(
    experiment_id: UUID,
    request: Request,
    response: Response,
    query: Annotated[DatasetQuery, Query()],
    who: CallerDep,
    database: DatabaseDep,
    signer: SignerDep,
) -> list[Dataset]:
    """Oldest first unless `sort` says otherwise; while there are more, the `Link` header has the next page's
    address."""
    pager = Pager(signer, f"datasets {experiment_id}", query.sort)
    part = pager.slice(query)
    async with database.caller(who) as connection:
        await seen_experiment(connection, experiment_id)
        rows = await datasets.page(connection, experiment_id, query.q, part)
        if query.count == "exact":
            response.headers["X-Total-Count"] = str(await datasets.count(connection, experiment_id, query.q))
    return [told(row) for row in pager.page(rows, query.limit, (request, response))]


@catalog.post(
    "/experiments/{experiment_id}/datasets",
    status_code=202,
    summary="Register a dataset",
    response_model=DatasetAndScan,
    responses={201: {"model": DatasetAndScan, "description": "Empty: upload into it, then scan it"}, **described(409)},
    dependencies=[WRITE],
)
async def register_dataset(
    experiment_id: UUID,
    body: NewDataset,
    response: Response,
    who: CallerDep,
    database: DatabaseDep,
    objects: ObjectsDep,
    settings: CatalogDep,
) -> DatasetAndScan:
    """With a `prefix`, what lies under it is scanned (202). Any prefix of a bucket in MINIO_SOURCE_BUCKETS may be
    named; in the service's own bucket only `frames/{experiment_id}/…`, except by admins, because other people's
    uploads and videos lie there too. Without a `prefix` the dataset is made empty (201), to be uploaded into."""
    bucket = allowed_bucket(body, experiment_id, (objects.bucket, settings), who)
    async with database.caller(who) as connection:
        require_owner(await seen_experiment(connection, experiment_id), who)
        row = await datasets.create(connection, experiment_id, body.model_dump() | {"bucket": bucket})
        response.headers["Location"] = f"/api/datasets/{row['id']}"
        if body.prefix is None:
            response.status_code = 201
            made = DatasetAndScan(dataset=told(row), scan=None)
        else:
            await become_service(connection)
            made = await _scanning(connection, row["id"])
    response.headers["ETag"] = etag(made.dataset)
    return made


def allowed_bucket(body: NewDataset, experiment: UUID, at: tuple[str, CatalogSettings], who: Caller) -> str:
    """The bucket to read from; `at` is (own bucket, settings). Raises Invalid for a place the caller may not read."""
    own, settings = at
    bucket = body.bucket or own
    if bucket != own and not settings.may_read(bucket):
        raise invalid_field("#/bucket", "datasets cannot be read from this bucket (MINIO_SOURCE_BUCKETS)", "bucket")
    if bucket != own and body.prefix is None:
        raise invalid_field("#/prefix", "say where in this bucket the frames lie; uploads go to our own only", "prefix")
    area = f"frames/{experiment}/"
    if bucket == own and not who.admin and not (body.prefix is None or body.prefix.startswith(area)):
        detail = f"in the service's own bucket the prefix must begin with {area}"
        raise invalid_field("#/prefix", detail, "prefix")
    return bucket


@catalog.get(
    "/datasets/{dataset_id}",
    summary="Look at a dataset",
    response_model=Dataset,
    responses={200: {"headers": TAGGED}, 304: {"description": "The caller has it already"}},
    dependencies=[READ],
)
async def get_dataset(
    dataset_id: UUID, response: Response, who: CallerDep, database: DatabaseDep, if_none_match: IfNoneMatch = None
) -> Dataset | Response:
    """What it is made of: count, sizes, formats, bytes, capture span, gaps, unreadable frames."""
    async with database.caller(who) as connection:
        seen = told(await seen_dataset(connection, dataset_id))
    response.headers["ETag"] = etag(seen)
    return unchanged(if_none_match, etag(seen)) or seen


@catalog.patch(
    "/datasets/{dataset_id}",
    summary="Rename a dataset",
    response_model=Dataset,
    responses={200: {"headers": TAGGED}, **described(409, 412)},
    dependencies=[WRITE],
)
async def change_dataset(
    dataset_id: UUID,
    body: DatasetChange,
    response: Response,
    who: CallerDep,
    database: DatabaseDep,
    if_match: IfMatch = None,
) -> Dataset:
    """Only the owner of the experiment and admins may. With `If-Match`, only if it is as it was when it was read: a
    scan changes it, too."""
    async with database.caller(who) as connection:
        require_match(if_match, etag(told(await held_dataset(connection, dataset_id, who))))
        changed = told(await datasets.change(connection, dataset_id, body.model_dump()))
    response.headers["ETag"] = etag(changed)
    return changed


@catalog.delete(
    "/datasets/{dataset_id}",
    summary="Delete a dataset",
    response_model=Deleted,
    responses=described(409, 412),
    dependencies=[WRITE],
)
async def delete_dataset(
    dataset_id: UUID,
    who: CallerDep,
    database: DatabaseDep,
    objects: ObjectsDep,
    if_match: IfMatch = None,
    force: Force = False,
) -> Deleted:
    """With its frame rows and renders, whoever asked for those; the answer counts them. Source frames and videos stay
    in the object store. Refused with 409 while renders are under way, unless `force`."""
    async with database.caller(who) as connection:
        require_match(if_match, etag(told(await held_dataset(connection, dataset_id, who))))
        await become_service(connection)
        doomed = await deletion.hold(connection, "dataset", dataset_id, objects.bucket)
        await deletion.carry_out(connection, doomed, force=force)
    return what_went(doomed)


@catalog.post(
    "/datasets/{dataset_id}/scan",
    status_code=202,
    summary="Scan a dataset",
    response_model=DatasetAndScan,
    dependencies=[WRITE],
)
async def scan_dataset(dataset_id: UUID, response: Response, who: CallerDep, database: DatabaseDep) -> DatasetAndScan:
    """Looks again at what lies under its prefix; while a scan is under way, that one is told. The dataset's `state`
    is `ready` or `failed` in the end; until then its frames are the old ones."""
    async with database.caller(who) as connection:
        require_owner(await seen_dataset(connection, dataset_id), who)
        await become_service(connection)
        response.headers["Location"] = f"/api/datasets/{dataset_id}"
        return await _scanning(connection, dataset_id)


async def _scanning(connection: AsyncConnection, dataset: UUID) -> DatasetAndScan:
    """The connection has become the service's."""
    task = await datasets.queue_scan(connection, dataset)
    return DatasetAndScan(dataset=told(await seen_dataset(connection, dataset)), scan=ScanJob(**task))


@catalog.get("/datasets/{dataset_id}/frames", summary="List frames", response_model=list[Frame], dependencies=[READ])
async def list_frames(
    dataset_id: UUID,
    response: Response,
    who: CallerDep,
    database: DatabaseDep,
    start: Annotated[int, Query(ge=0, le=LARGEST, description="index of the first frame to list")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="frames on a page")] = 100,
    unreadable: Annotated[bool, Query(description="only frames that have a `problem`")] = False,
) -> list[Frame]:
    """In order; the `Link` header has the next page's address. Pictures inside of source videos are not listed."""
    async with database.caller(who) as connection:
        await seen_dataset(connection, dataset_id)
        rows = await frames.in_range(connection, dataset_id, start, limit + 1, unreadable=unreadable)
    if len(rows) > limit:
        flag = "&unreadable=true" if unreadable else ""
        address = f"/api/datasets/{dataset_id}/frames?start={rows[limit]['index']}&limit={limit}{flag}"
        response.headers["Link"] = f'<{address}>; rel="next"'
    return [Frame(**{name: row[name] for name in Frame.model_fields}) for row in rows[:limit]]


router.include_router(catalog)
router.include_router(uploads)
router.include_router(signed_uploads)
router.include_router(frame_images)
