"""Experiments: list, make, look, change, delete."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy import RowMapping

from service.routers.catalog import held_experiment, seen_experiment
from service.routers.deletion import Deleted, Force
from service.routers.deletion import told as what_went
from service.routers.deps import CallerDep, DatabaseDep, ObjectsDep, require
from service.routers.experiment_models import Experiment, ExperimentChange, ListQuery, NewExperiment
from service.routers.pages import HEADERS, Pager
from service.routers.preconditions import TAGGED, IfMatch, IfNoneMatch, etag, require_match, unchanged
from service.routers.problems import described
from service.routers.signing import SignerDep
from service.store import deletion, experiments
from service.store.database import Caller
from service.store.experiments import Wanted, become_service

router = APIRouter(prefix="/api/experiments", tags=["experiments"])
READ = Depends(require("catalog:read"))
WRITE = Depends(require("catalog:write"))


def told(row: RowMapping, who: Caller) -> Experiment:
    """The row as `who` may read it."""
    facts = {name: row[name] for name in Experiment.model_fields}
    if row["owner"] != who.subject and not who.admin:
        facts["shared_with"] = []
    return Experiment(**facts)


def wanted(query: ListQuery, who: Caller) -> Wanted:
    return Wanted(query.q, query.created_after, query.created_before, who.subject if query.mine else None)


@router.get(
    "",
    summary="List experiments",
    response_model=list[Experiment],
    responses={200: {"headers": HEADERS}},
    dependencies=[READ],
)
async def list_experiments(
    request: Request,
    response: Response,
    query: Annotated[ListQuery, Query()],
    who: CallerDep,
    database: DatabaseDep,
    signer: SignerDep,
) -> list[Experiment]:
    """Those the caller may see, newest first unless `sort` says otherwise. While there are more, the `Link` header
    (RFC 8288) has the next page's address; pages do not shift when experiments are added meanwhile."""
    pager = Pager(signer, "experiments", query.sort)
    part, filters = pager.slice(query), wanted(query, who)
    async with database.caller(who) as connection:
        rows = await experiments.page(connection, filters, part)
        if query.count == "exact":
            response.headers["X-Total-Count"] = str(await experiments.count(connection, filters))
    return [told(row, who) for row in pager.page(rows, query.limit, (request, response))]


@router.post(
    "",
    status_code=201,
    summary="Make an experiment",
    response_model=Experiment,
    responses={201: {"headers": TAGGED}, **described(409)},
    dependencies=[WRITE],
)
async def make_experiment(body: NewExperiment, response: Response, who: CallerDep, database: DatabaseDep) -> Experiment:
    """The caller owns it. The `Location` header has its address."""
    async with database.caller(who) as connection:
        row = await experiments.create(connection, who.subject, body.model_dump())
    made = told(row, who)
    response.headers["Location"] = f"/api/experiments/{row['id']}"
    response.headers["ETag"] = etag(made)
    return made


@router.get(
    "/{experiment_id}",
    summary="Look at an experiment",
    response_model=Experiment,
    responses={200: {"headers": TAGGED}, 304: {"description": "The caller has it already"}},
    dependencies=[READ],
)
async def get_experiment(
    experiment_id: UUID, response: Response, who: CallerDep, database: DatabaseDep, if_none_match: IfNoneMatch = None
) -> Experiment | Response:
    """404 for one that does not exist or that the caller may not see."""
    async with database.caller(who) as connection:
        seen = told(await seen_experiment(connection, experiment_id), who)
    response.headers["ETag"] = etag(seen)
    return unchanged(if_none_match, etag(seen)) or seen


@router.patch(
    "/{experiment_id}",
    summary="Change an experiment",
    response_model=Experiment,
    responses={200: {"headers": TAGGED}, **described(409, 412)},
    dependencies=[WRITE],
)
async def change_experiment(
    experiment_id: UUID,
    body: ExperimentChange,
    response: Response,
    who: CallerDep,
    database: DatabaseDep,
    if_match: IfMatch = None,
) -> Experiment:
    """Only the fields that are sent are changed. Only the owner and admins may. With `If-Match`, only if nobody has
    changed it since it was read."""
    async with database.caller(who) as connection:
        before = told(await held_experiment(connection, experiment_id, who), who)
        require_match(if_match, etag(before))
        changed = told(await experiments.change(connection, experiment_id, body.model_dump(exclude_unset=True)), who)
    response.headers["ETag"] = etag(changed)
    return changed


@router.delete(
    "/{experiment_id}",
    summary="Delete an experiment",
    response_model=Deleted,
    responses=described(409, 412),
    dependencies=[WRITE],
)
async def delete_experiment(
    experiment_id: UUID,
    who: CallerDep,
    database: DatabaseDep,
    objects: ObjectsDep,
    if_match: IfMatch = None,
    force: Force = False,
) -> Deleted:
    """With its datasets, frame rows and renders, whoever asked for those; the answer counts them. Source frames and
    videos stay in the object store. Refused with 409 while renders are under way, unless `force`."""
    async with database.caller(who) as connection:
        require_match(if_match, etag(told(await held_experiment(connection, experiment_id, who), who)))
        await become_service(connection)
        doomed = await deletion.hold(connection, "experiment", experiment_id, objects.bucket)
        await deletion.carry_out(connection, doomed, force=force)
    return what_went(doomed)
