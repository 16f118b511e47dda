"""Routes of experiments: list, create, read, change, delete."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy import RowMapping

from service.routers.catalog.access import get_visible_experiment, lock_owned_experiment
from service.routers.catalog.deletion import Deleted, Force
from service.routers.catalog.deletion import to_deleted as what_went
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
from service.store.database import Caller, switch_to_service_role

router = APIRouter(prefix="/api/experiments", tags=["experiments"])
REQUIRE_READ = Depends(require_scope("catalog:read"))
REQUIRE_WRITE = Depends(require_scope("catalog:write"))


def to_experiment(row: RowMapping, caller: Caller) -> Experiment:
    """The row as `who` may read it."""
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
    """Those the caller may see, newest first unless `sort` says otherwise. While there are more, the `Link` header
    (RFC 8288) has the next page's address; pages do not shift when experiments are added meanwhile."""
    pager = Pager(signer, "experiments", query.sort)
    part, filters = pager.keyset_page(query), to_filters(query, caller)
    async with database.caller_transaction(caller) as connection:
        rows = await experiments.list_page(connection, filters, part)
        if query.count == "exact":
            response.headers["X-Total-Count"] = str(await experiments.count(connection, filters))
    return [to_experiment(row, caller) for row in pager.paginate(rows, query.limit, (request, response))]


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
    """The caller owns it. The `Location` header has its address."""
    async with database.caller_transaction(caller) as connection:
        row = await experiments.create(connection, caller.subject, body.model_dump())
    made = to_experiment(row, caller)
    response.headers["Location"] = f"/api/experiments/{row['id']}"
    response.headers["ETag"] = etag(made)
    return made


@router.get(
    "/{experiment_id}",
    summary="Look at an experiment",
    response_model=Experiment,
    responses={200: {"headers": ETAG_HEADERS}, 304: {"description": "The caller has it already"}},
    dependencies=[REQUIRE_READ],
)
async def get_experiment(
    experiment_id: UUID, response: Response, caller: CallerDep, database: DatabaseDep, if_none_match: IfNoneMatch = None
) -> Experiment | Response:
    """404 for one that does not exist or that the caller may not see."""
    async with database.caller_transaction(caller) as connection:
        seen = to_experiment(await get_visible_experiment(connection, experiment_id), caller)
    response.headers["ETag"] = etag(seen)
    return not_modified_response(if_none_match, etag(seen)) or seen


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
    """Only the fields that are sent are changed. Only the owner and admins may. With `If-Match`, only if nobody has
    changed it since it was read."""
    async with database.caller_transaction(caller) as connection:
        before = to_experiment(await lock_owned_experiment(connection, experiment_id, caller), caller)
        require_match(if_match, etag(before))
        changed = to_experiment(
            await experiments.change(connection, experiment_id, body.model_dump(exclude_unset=True)), caller
        )
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
) -> Deleted:
    """With its datasets, frame rows and renders, whoever asked for those; the answer counts them. Source frames and
    videos stay in the object store. Refused with 409 while renders are under way, unless `force`."""
    async with database.caller_transaction(caller) as connection:
        require_match(
            if_match, etag(to_experiment(await lock_owned_experiment(connection, experiment_id, caller), caller))
        )
        await switch_to_service_role(connection)
        doomed = await deletion.lock_for_deletion(connection, "experiment", experiment_id, objects.bucket)
        await deletion.execute_deletion(connection, doomed, force=force)
    return what_went(doomed)
