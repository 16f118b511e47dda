"""Routes of experiments: list, create, read, change, delete."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy import RowMapping

from service.routers.catalog.access import get_visible_experiment, lock_owned_experiment, require_owner
from service.routers.catalog.deletion import Deleted, Force, Frames, count_objects, to_deleted
from service.routers.catalog.experiment_models import Experiment, ExperimentChange, ExperimentQuery, NewExperiment
from service.routers.http.conditional_requests import (
    ETAG_HEADERS,
    IfMatch,
    IfNoneMatch,
    etag,
    not_modified_response,
    require_match,
)
from service.routers.http.dependencies import CallerDep, DatabaseDep, ObjectsDep, require_scope
from service.routers.http.pagination import PAGE_HEADERS, Pager
from service.routers.http.problems import error_responses
from service.routers.http.signing import SignerDep
from service.store import deletion
from service.store.catalog import experiments
from service.store.catalog.experiments import ExperimentFilter
from service.store.database import Caller, Database, switch_to_service_role
from service.store.objects.keys import experiment_prefix
from service.store.objects.object_store import ObjectStore
from service.store.renders import requesters

router = APIRouter(prefix="/api/experiments", tags=["experiments"])
REQUIRE_READ = Depends(require_scope("catalog:read"))
REQUIRE_WRITE = Depends(require_scope("catalog:write"))


def to_experiment(row: RowMapping, caller: Caller) -> Experiment:
    """The response model of a row. `shared_with` is empty for callers other than the owner and admins."""
    facts = {name: row[name] for name in Experiment.model_fields}
    if row["owner"] != caller.subject and not caller.admin:
        facts["shared_with"] = []
    return Experiment(**facts)


def to_filters(query: ExperimentQuery, caller: Caller) -> ExperimentFilter:
    return ExperimentFilter(query.q, query.created_after, query.created_before, caller.subject if query.mine else None)


@router.get(
    "",
    summary="List experiments",
    response_model=list[Experiment],
    responses={200: {"headers": PAGE_HEADERS}},
    dependencies=[REQUIRE_READ],
)
async def list_experiments(
    request: Request,
    response: Response,
    query: Annotated[ExperimentQuery, Query()],
    caller: CallerDep,
    database: DatabaseDep,
    signer: SignerDep,
) -> list[Experiment]:
    """Experiments that the caller may see, newest first unless `sort` is set. If there are more, the `Link` header
    (RFC 8288) has the URL of the next page. New experiments do not shift the pages. A page has fewer rows than `limit`
    if their metadata is long."""
    pager = Pager(signer, "experiments", query.sort)
    page, filters = pager.keyset_page(query), to_filters(query, caller)
    async with database.caller_transaction(caller) as connection:
        rows, shown = await experiments.list_page(connection, filters, page)
        if query.count == "exact":
            response.headers["X-Total-Count"] = str(await experiments.count(connection, filters))
    return [to_experiment(row, caller) for row in pager.paginate(rows, shown, request, response)]


@router.post(
    "",
    status_code=201,
    summary="Make an experiment",
    response_model=Experiment,
    responses={201: {"headers": ETAG_HEADERS}, **error_responses(409)},
    dependencies=[REQUIRE_WRITE],
)
async def make_experiment(
    body: NewExperiment, response: Response, caller: CallerDep, database: DatabaseDep
) -> Experiment:
    """The caller becomes the owner. The `Location` header has the URL of the experiment."""
    async with database.caller_transaction(caller) as connection:
        row = await experiments.create(connection, caller.subject, body.model_dump())
    experiment = to_experiment(row, caller)
    response.headers["Location"] = f"/api/experiments/{row['id']}"
    response.headers["ETag"] = etag(experiment)
    return experiment


@router.get(
    "/{experiment_id}",
    summary="Look at an experiment",
    response_model=Experiment,
    responses={200: {"headers": ETAG_HEADERS}, 304: {"description": "Not modified"}},
    dependencies=[REQUIRE_READ],
)
async def get_experiment(
    experiment_id: UUID, response: Response, caller: CallerDep, database: DatabaseDep, if_none_match: IfNoneMatch = None
) -> Experiment | Response:
    """Answers 404 if it does not exist or the caller may not see it."""
    async with database.caller_transaction(caller) as connection:
        experiment = to_experiment(await get_visible_experiment(connection, experiment_id), caller)
    response.headers["ETag"] = etag(experiment)
    return not_modified_response(if_none_match, etag(experiment)) or experiment


@router.patch(
    "/{experiment_id}",
    summary="Change an experiment",
    response_model=Experiment,
    responses={200: {"headers": ETAG_HEADERS}, **error_responses(409, 412)},
    dependencies=[REQUIRE_WRITE],
)
async def change_experiment(
    experiment_id: UUID,
    body: ExperimentChange,
    response: Response,
    caller: CallerDep,
    database: DatabaseDep,
    if_match: IfMatch = None,
) -> Experiment:
    """Changes only the fields that are sent. Only for the owner and admins. With `If-Match`, only if the experiment has
    not changed since it was read. If a share ends by it, renders that only those who lost it had asked for are
    cancelled."""
    async with database.caller_transaction(caller) as connection:
        before = to_experiment(await lock_owned_experiment(connection, experiment_id, caller), caller)
        require_match(if_match, etag(before))
        row = await experiments.change(connection, experiment_id, body.model_dump(exclude_unset=True))
        await switch_to_service_role(connection)
        await requesters.end_lost_rights(connection, experiment_id)
        changed = to_experiment(row, caller)
    response.headers["ETag"] = etag(changed)
    return changed


@router.delete(
    "/{experiment_id}",
    summary="Delete an experiment",
    response_model=Deleted,
    responses=error_responses(409, 412),
    dependencies=[REQUIRE_WRITE],
)
async def delete_experiment(
    experiment_id: UUID,
    caller: CallerDep,
    database: DatabaseDep,
    objects: ObjectsDep,
    if_match: IfMatch = None,
    force: Force = False,
    frames: Frames = False,
) -> Deleted:
    """Also deletes its datasets, frame rows, the renders of all users, and what the caches hold for these alone; the
    response counts them. Files in source buckets stay; uploaded ones, too, unless `frames` is set. Answers 409 if
    renders are unfinished, unless `force` is set."""
    uploads = await _count_uploads(database, objects, caller, experiment_id) if frames else None
    async with database.caller_transaction(caller) as connection:
        before = to_experiment(await lock_owned_experiment(connection, experiment_id, caller), caller)
        require_match(if_match, etag(before))
        await switch_to_service_role(connection)
        plan = await deletion.lock_for_deletion(connection, "experiment", experiment_id, objects.bucket)
        await deletion.execute_deletion(connection, plan, force=force, uploads=frames)
    return to_deleted(plan, uploads)


async def _count_uploads(database: Database, objects: ObjectStore, caller: Caller, experiment: UUID) -> int:
    """Counted before the deletion, which should not hold its locks for as long as a store takes to list a million."""
    async with database.caller_transaction(caller) as connection:
        require_owner((await get_visible_experiment(connection, experiment))["owner"], caller)
    return await count_objects(objects, experiment_prefix(experiment))
