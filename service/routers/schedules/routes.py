"""Routes of schedules: list, make, read, change, delete; their runs, and a run now."""

from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import Conflict, InvalidRequest, NotFound
from service.ids import Subject
from service.routers.http.dependencies import CallerDep, DatabaseDep, Resources, ResourcesDep, require_scope
from service.routers.http.pagination import PAGE_HEADERS, PageQuery, Pager
from service.routers.http.problems import error_responses
from service.routers.http.signing import SignerDep
from service.routers.schedules.models import NewSchedule, Schedule, ScheduleChange, ScheduleQuery, ScheduleRun
from service.routers.schedules.submission import as_of_schedule, read_request, require_own_rights, try_run
from service.store.database import Caller, Database, switch_to_service_role
from service.store.renders.requesters import lock_visible_experiment
from service.store.schedules import runs, schedules
from service.store.schedules.schedules import ScheduleFilter

log = structlog.get_logger("service.schedules")
router = APIRouter(prefix="/api/schedules", tags=["schedules"])
REQUIRE_READ = Depends(require_scope("videos:read"))
REQUIRE_RENDER = Depends(require_scope("videos:render"))
# Fields of a change, each of which may be right with some values of the others only.
CHECKED_TOGETHER = {"request", "window", "zone"}


async def get_own_schedule(connection: AsyncConnection, schedule: UUID) -> RowMapping:
    """The schedule, if the caller of this connection owns it or is an admin. Raises NotFound."""
    row = await schedules.get(connection, schedule)
    if row is None:
        raise NotFound("there is no such schedule of yours")
    return row


async def lock_own_schedule(connection: AsyncConnection, schedule: UUID) -> RowMapping:
    """As `get_own_schedule`; the row is locked, and the connection is the service's, until the transaction ends."""
    await get_own_schedule(connection, schedule)
    await switch_to_service_role(connection)
    row = await schedules.lock(connection, schedule)
    if row is None:
        raise NotFound("there is no such schedule of yours")
    return row


@router.get(
    "",
    summary="List your schedules",
    response_model=list[Schedule],
    responses={200: {"headers": PAGE_HEADERS}},
    dependencies=[REQUIRE_READ],
)
async def list_schedules(
    request: Request,
    response: Response,
    query: Annotated[ScheduleQuery, Query()],
    caller: CallerDep,
    database: DatabaseDep,
    signer: SignerDep,
) -> list[Schedule]:
    """Those of the caller, newest first unless `sort` is set; admins see all. If there are more, the `Link` header
    (RFC 8288) has the URL of the next page."""
    pager = Pager(signer, "schedules", query.sort)
    page = pager.keyset_page(query)
    filters = ScheduleFilter(query.experiment_id, caller.subject if query.mine else None)
    async with database.caller_transaction(caller) as connection:
        rows, shown = await schedules.list_page(connection, filters, page)
        if query.count == "exact":
            response.headers["X-Total-Count"] = str(await schedules.count(connection, filters))
        listed = pager.paginate(rows, shown, request, response)
        latest = await runs.latest_of(connection, [row["id"] for row in listed])
    return [Schedule.from_row(row, latest.get(row["id"])) for row in listed]


@router.post(
    "",
    status_code=201,
    summary="Make a schedule",
    response_model=Schedule,
    responses=error_responses(404, 409),
    dependencies=[REQUIRE_RENDER],
)
async def make_schedule(body: NewSchedule, response: Response, caller: CallerDep, resources: ResourcesDep) -> Schedule:
    """Asks for the render at each time of the cron line, in the name of the caller. The request is checked now, as far
    as it does not depend on frames that are to come. The `Location` header has the URL of the schedule."""
    await require_own_rights(resources, caller, body.request, body.window, body.zone)
    async with resources.database.service_transaction() as connection:
        await lock_visible_experiment(connection, Caller(caller.subject), body.request.experiment_id)
        row = await schedules.create(connection, caller.subject, _to_values(body))
    log.info("a schedule is made", schedule=str(row["id"]), user=caller.subject, cron=row["cron"], zone=row["zone"])
    response.headers["Location"] = f"/api/schedules/{row['id']}"
    return Schedule.from_row(row)


@router.get("/{schedule_id}", summary="Look at a schedule", response_model=Schedule, dependencies=[REQUIRE_READ])
async def get_schedule(schedule_id: UUID, caller: CallerDep, database: DatabaseDep) -> Schedule:
    """Answers 404 if it does not exist or belongs to somebody else."""
    async with database.caller_transaction(caller) as connection:
        row = await get_own_schedule(connection, schedule_id)
        latest = await runs.latest_of(connection, [schedule_id])
    return Schedule.from_row(row, latest.get(schedule_id))


@router.patch(
    "/{schedule_id}",
    summary="Change a schedule",
    response_model=Schedule,
    responses=error_responses(409),
    dependencies=[REQUIRE_RENDER],
)
async def change_schedule(
    schedule_id: UUID, body: ScheduleChange, caller: CallerDep, resources: ResourcesDep
) -> Schedule:
    """Changes only the fields that are sent. Times that have come have their run before the change; of those that
    would have come while it is off, none. What is still tried again is refused when the schedule is switched off."""
    async with resources.database.caller_transaction(caller) as connection:
        before = await get_own_schedule(connection, schedule_id)
    owner = Caller(Subject(before["owner"]), admin=caller.admin)
    await _require_valid_change(resources, owner, before, body)
    async with resources.database.caller_transaction(caller) as connection:
        if "request" in body.model_fields_set:
            await switch_to_service_role(connection)
            await lock_visible_experiment(connection, Caller(owner.subject), body.request.experiment_id)
        row = await lock_own_schedule(connection, schedule_id)
        _require_unchanged(before, row, body)
        await runs.begin_due_run(connection, row, await schedules.read_time(connection))
        row = await schedules.change(connection, await get_own_schedule(connection, schedule_id), _to_values(body))
        if not row["enabled"]:
            await runs.end_waiting(connection, schedule_id)
        latest = await runs.latest_of(connection, [schedule_id])
    log.info("a schedule is changed", schedule=str(schedule_id), user=caller.subject, fields=sorted(_to_values(body)))
    return Schedule.from_row(row, latest.get(schedule_id))


async def _require_valid_change(resources: Resources, owner: Caller, before: RowMapping, body: ScheduleChange) -> None:
    """Check what the runs would ask for after the change. Raises what `require_own_rights` does."""
    sent = body.model_fields_set
    if not sent & CHECKED_TOGETHER:
        return
    window = body.window if "window" in sent else before["time_window"]
    try:
        request = body.request if "request" in sent else read_request(before["request"])
    except InvalidRequest as error:
        raise as_of_schedule(error, window) from error
    await require_own_rights(resources, owner, request, window, body.zone if "zone" in sent else before["zone"])


def _require_unchanged(before: RowMapping, now: RowMapping, body: ScheduleChange) -> None:
    """Raises Conflict if something that was checked together with the change is not what it was then."""
    columns = ("request", "time_window", "zone")
    if body.model_fields_set & CHECKED_TOGETHER and any(before[name] != now[name] for name in columns):
        raise Conflict("somebody else has changed the schedule meanwhile: read it, and change it again")


def _to_values(body: NewSchedule | ScheduleChange) -> dict[str, Any]:
    """Columns and values: of a new schedule all, of a change those that were sent."""
    names = body.model_fields_set if isinstance(body, ScheduleChange) else set(NewSchedule.model_fields)
    values = {name: getattr(body, name) for name in names}
    if "window" in names:
        values["time_window"] = values.pop("window")
    if "request" in names:
        values["request"] = body.request.model_dump(mode="json", by_alias=True, exclude_unset=True)
        values["experiment_id"] = body.request.experiment_id
    return values


@router.delete("/{schedule_id}", status_code=204, summary="Delete a schedule", dependencies=[REQUIRE_RENDER])
async def delete_schedule(schedule_id: UUID, caller: CallerDep, database: DatabaseDep) -> None:
    """Also deletes the list of its runs. What they have rendered stays."""
    async with database.caller_transaction(caller) as connection:
        await lock_own_schedule(connection, schedule_id)
        await schedules.remove(connection, schedule_id)
    log.info("a schedule is deleted", schedule=str(schedule_id), user=caller.subject)


@router.get(
    "/{schedule_id}/runs",
    summary="List the runs of a schedule",
    response_model=list[ScheduleRun],
    responses={200: {"headers": PAGE_HEADERS}},
    dependencies=[REQUIRE_READ],
)
async def list_schedule_runs(
    schedule_id: UUID,
    request: Request,
    response: Response,
    query: Annotated[PageQuery, Query()],
    caller: CallerDep,
    database: DatabaseDep,
    signer: SignerDep,
) -> list[ScheduleRun]:
    """The latest first, of the last 10,000. A run that stands for times that were missed says for how many."""
    pager = Pager(signer, f"runs of {schedule_id}", "-planned_at")
    page = pager.keyset_page(query)
    async with database.caller_transaction(caller) as connection:
        await get_own_schedule(connection, schedule_id)
        rows, shown = await runs.list_page(connection, schedule_id, page)
        if query.count == "exact":
            response.headers["X-Total-Count"] = str(await runs.count(connection, schedule_id))
    return [ScheduleRun.from_row(row) for row in pager.paginate(rows, shown, request, response)]


@router.post(
    "/{schedule_id}/run",
    status_code=202,
    summary="Run a schedule now",
    response_model=ScheduleRun,
    responses=error_responses(409),
    dependencies=[REQUIRE_RENDER],
)
async def run_schedule(schedule_id: UUID, caller: CallerDep, resources: ResourcesDep) -> ScheduleRun:
    """Asks for its render at once, also while it is off, in the name of its owner. Its times stay as they are. If the
    render is refused, the answer says why, as of `POST /api/videos/generate`; the run is listed as refused."""
    async with resources.database.caller_transaction(caller) as connection:
        schedule = await lock_own_schedule(connection, schedule_id)
        begun = await runs.begin_manual_run(connection, schedule)
    async with resources.database.service_transaction() as connection:
        waiting = await runs.list_waiting(connection, run=begun["id"])
    for run in waiting:  # none if another process was quicker
        if refusal := await try_run(resources, run):
            raise refusal
    return ScheduleRun.from_row(await _get_run(resources.database, begun["id"]))


async def _get_run(database: Database, run: UUID) -> RowMapping:
    async with database.service_transaction() as connection:
        row = await runs.get(connection, run)
    if row is None:
        raise NotFound("the schedule was deleted meanwhile")
    return row
