"""Experiments: list, make, look, change, delete."""

import base64
import binascii
import json
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy import RowMapping

from service.errors import FieldProblem, Invalid
from service.routers.catalog import held_experiment, seen_experiment, storable
from service.routers.deps import CallerDep, DatabaseDep, require
from service.routers.experiment_models import Experiment, ExperimentChange, ListQuery, NewExperiment
from service.routers.preconditions import TAGGED, IfMatch, IfNoneMatch, etag, require_match, unchanged
from service.routers.problems import described
from service.store import experiments
from service.store.database import Caller
from service.store.experiments import Page, Sort

router = APIRouter(prefix="/api/experiments", tags=["experiments"])
READ = Depends(require("catalog:read"))
WRITE = Depends(require("catalog:write"))


def told(row: RowMapping, who: Caller) -> Experiment:
    """The row as `who` may read it."""
    facts = {name: row[name] for name in Experiment.model_fields}
    if row["owner"] != who.subject and not who.admin:
        facts["shared_with"] = []
    return Experiment(**facts)


def wanted_page(query: ListQuery, who: Caller) -> Page:
    after = None if query.cursor is None else decoded_cursor(query.cursor, query.sort)
    owner = who.subject if query.mine else None
    return Page(query.limit, query.sort, after, query.q, query.created_after, query.created_before, owner)


@router.get("", summary="List experiments", response_model=list[Experiment], dependencies=[READ])
async def list_experiments(
    request: Request,
    response: Response,
    query: Annotated[ListQuery, Query()],
    who: CallerDep,
    database: DatabaseDep,
) -> list[Experiment]:
    """Those the caller may see, newest first unless `sort` says otherwise. While there may be more, the `Link` header
    (RFC 8288) has the next page's address; pages do not shift when experiments are added meanwhile."""
    wanted = wanted_page(query, who)
    async with database.caller(who) as connection:
        rows = await experiments.page(connection, wanted)
        if query.count == "exact":
            response.headers["X-Total-Count"] = str(await experiments.count(connection, wanted))
    if len(rows) == wanted.limit:
        again = dict(request.query_params) | {"cursor": encoded_cursor(rows[-1], wanted.sort)}
        response.headers["Link"] = f'<{request.url.path}?{urlencode(again)}>; rel="next"'
    return [told(row, who) for row in rows]


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
    status_code=204,
    summary="Delete an experiment",
    responses=described(412),
    dependencies=[WRITE],
)
async def delete_experiment(
    experiment_id: UUID, who: CallerDep, database: DatabaseDep, if_match: IfMatch = None
) -> None:
    """With its datasets, frame rows and renders. Objects in the store stay: they are the user's."""
    async with database.caller(who) as connection:
        require_match(if_match, etag(told(await held_experiment(connection, experiment_id, who), who)))
        await experiments.delete(connection, experiment_id)


def encoded_cursor(row: RowMapping, sort: Sort) -> str:
    """Where a page ended, opaque to callers."""
    value = row[sort.removeprefix("-")]
    place = [sort, value.isoformat() if isinstance(value, datetime) else value, str(row["id"])]
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def decoded_cursor(cursor: str, sort: Sort) -> tuple[datetime | str, UUID]:
    """Raises Invalid for anything that `encoded_cursor` did not make for this order."""
    try:
        place: Any = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
        order, value, last = place
        if order != sort or not isinstance(value, str):
            raise ValueError
        return (storable(value) if sort.endswith("name") else _aware(value)), UUID(last)
    except (ValueError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        detail = "not a cursor of this list and order: take it from the Link header of the page before"
        raise Invalid(detail, errors=(FieldProblem(detail, "bad_cursor", parameter="cursor"),)) from error


def _aware(value: str) -> datetime:
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError
    return moment
