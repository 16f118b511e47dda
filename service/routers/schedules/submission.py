"""What a schedule asks for: checked when it is written, and submitted for each run, always in its owner's name."""

from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, TypeVar

import structlog
from pydantic import ValidationError
from sqlalchemy import RowMapping

from service.errors import Conflict, FieldProblem, InvalidRequest, NotFound, ReelmillError, invalid_field
from service.ids import Subject
from service.plan.formats import choose_container
from service.plan.timing import nominal_rate
from service.routers.http.dependencies import Resources
from service.routers.http.exception_mapping import to_problem_error
from service.routers.videos.generate import Submitter
from service.routers.videos.request_models import VideoGenerationRequest
from service.schedules.windows import CaptureWindow, capture_window
from service.store.database import Caller, current_time
from service.store.renders.requesters import lock_visible_experiment
from service.store.renders.sources import require_planned_sources
from service.store.renders.submission import submit_render
from service.store.schedules import runs
from service.telemetry.metrics import SCHEDULE_RUNS

log = structlog.get_logger("service.schedules")
Refusal = TypeVar("Refusal", bound=ReelmillError)
# Codes of problems that may be gone when a run comes, because more frames are there then.
FRAME_DEPENDENT_CODES = frozenset(
    {
        "dataset_not_ready",
        "empty_dataset",
        "empty_range",
        "gap",
        "impossible_rate",
        "no_device",
        "no_levels",
        "too_fast",
        "too_long",
        "too_many_frames",
        "unreadable_dataset",
    }
)
# What passes by itself: a scan that is under way, a full queue, an outage, a full quota.
PASSING_STATUSES = frozenset({409, 429})


async def require_own_rights(
    resources: Resources, owner: Caller, request: VideoGenerationRequest, window: str | None, zone: str
) -> None:
    """As `require_plannable`, for a schedule that an admin writes: it runs with the rights of its owner only."""
    try:
        await require_plannable(resources, Caller(owner.subject), request, window, zone)
    except NotFound as error:
        if not owner.admin:
            raise
        detail = "schedules run without the scope admin: the experiment must be the owner's, shared with him, or public"
        raise invalid_field("#/request/experiment_id", detail, "not_visible") from error


async def require_plannable(
    resources: Resources, caller: Caller, request: VideoGenerationRequest, window: str | None, zone: str
) -> None:
    """Check what a schedule of this owner would ask for, as far as it does not depend on frames that are to come.

    Raises InvalidRequest, whose pointers are those of the body of a schedule, NotFound and SourceForbidden.
    """
    if request.dry_run:
        raise invalid_field("#/request/dry_run", "a schedule renders: leave dry_run out", "exclusive")
    if window is not None and request.frames is not None:
        raise invalid_field("#/window", "give either window or request.frames, not both", "exclusive")
    async with resources.database.service_transaction() as connection:
        now = await current_time(connection)
    body = with_window(request, capture_window(window, zone, now, None) if window else None)
    submitter = Submitter(resources, caller)
    try:
        merged = await submitter.merge(body)
        nominal_rate(merged.fps, merged.duration_seconds, merged.timing)
        choose_container(merged.codec, merged.container, timed=merged.timing == "captured")
        submission = await submitter.prepare(body)
    except InvalidRequest as error:
        if not all(problem.code in FRAME_DEPENDENT_CODES or _has_no_dataset(problem) for problem in error.errors):
            raise as_of_schedule(error, window) from error
    except Conflict:
        return  # it is being scanned
    else:
        async with resources.database.service_transaction() as connection:
            await require_planned_sources(connection, submission.plan, resources.sources)


def _has_no_dataset(problem: FieldProblem) -> bool:
    return (problem.code, problem.pointer) == ("no_dataset", "#/experiment_id")


def read_request(document: dict[str, Any]) -> VideoGenerationRequest:
    """The request that is stored with a schedule. Raises InvalidRequest if this version takes no such request."""
    try:
        return VideoGenerationRequest.model_validate(document)
    except ValidationError as error:
        detail = "this version does not take the request of the schedule: write it anew"
        raise invalid_field("#", detail, "outdated_request") from error


def with_window(request: VideoGenerationRequest, window: CaptureWindow | None) -> VideoGenerationRequest:
    """The request for the frames that were captured in the window."""
    if window is None:
        return request
    document = request.model_dump(mode="json", by_alias=True, exclude_unset=True)
    frames = {"from": window.since, "to": window.until} if window.since else {"to": window.until}
    return VideoGenerationRequest.model_validate(document | {"frames": frames})


def as_of_schedule(error: Refusal, window: str | None) -> Refusal:
    """The same error with pointers into the body of a schedule, which contains the request and the window."""

    def move(problem: FieldProblem) -> FieldProblem:
        pointer = problem.pointer
        if pointer is None:
            return problem
        moved = "#/window" if window and pointer.startswith("#/frames") else f"#/request{pointer[1:]}"
        return replace(problem, pointer=moved)

    return replace(error, errors=tuple(map(move, error.errors)))


async def try_run(resources: Resources, run: RowMapping, now: datetime | None = None) -> ReelmillError | None:
    """Submit the render of a waiting run, of which `runs.list_waiting` has the row; the error, if that is refused.

    A refusal is noted: what may pass by itself is tried again later, unless somebody asked for the run.
    """
    try:
        await _submit(resources, run)
    except Exception as exc:
        window = "window" if run["window_to"] is not None else None
        refusal = as_of_schedule(to_problem_error(exc, {}), window)
        if refusal.status >= 500 and refusal.is_fault:
            log.error("a schedule could not run", schedule=str(run["schedule_id"]), run=run["number"], exc_info=exc)
        await _record_refusal(resources, run, refusal, now)
        return refusal
    return None


async def _submit(resources: Resources, run: RowMapping) -> None:
    """The render is written, or joined, in the transaction that ends the run. Raises ReelmillError."""
    caller, body = Caller(Subject(run["owner"])), _request_of(run)
    submission = await Submitter(resources, caller).prepare(body)
    async with resources.database.service_transaction() as connection:
        await lock_visible_experiment(connection, caller, run["experiment_id"])
        if not await runs.lock_waiting(connection, run):
            return
        await require_planned_sources(connection, submission.plan, resources.sources)
        render = await submit_render(connection, submission)
        joined = render["created_at"] < await current_time(connection)
        await runs.record_submitted(connection, run, render["id"], joined=joined)
    SCHEDULE_RUNS.labels("joined" if joined else "submitted").inc()
    log.info("a schedule has run", **_facts(run), job=str(render["id"]), joined=joined)


def _request_of(run: RowMapping) -> VideoGenerationRequest:
    window = CaptureWindow(run["window_from"], run["window_to"]) if run["window_to"] is not None else None
    return with_window(read_request(run["request"]), window)


async def _record_refusal(
    resources: Resources, run: RowMapping, refusal: ReelmillError, now: datetime | None = None
) -> None:
    again = not run["manual"] and (refusal.status in PASSING_STATUSES or refusal.status >= 500)
    async with resources.database.service_transaction() as connection:
        if not await runs.lock_waiting(connection, run):
            return
        await runs.record_refused(connection, run, _to_document(refusal), again=again, now=now)
    SCHEDULE_RUNS.labels("retried" if again else "refused").inc()
    log.info("a schedule was refused", **_facts(run), slug=refusal.slug, reason=refusal.detail, again=again)


def _to_document(refusal: ReelmillError) -> dict[str, Any]:
    """As `ScheduleRun.problem` has it."""
    document = {name: getattr(refusal, name) for name in ("title", "status", "detail")}
    document |= {"type": f"/problems/{refusal.slug}"}
    return document | ({"errors": [asdict(problem) for problem in refusal.errors]} if refusal.errors else {})


def _facts(run: RowMapping) -> dict[str, Any]:
    return {
        "schedule": str(run["schedule_id"]),
        "run": run["number"],
        "owner": run["owner"],
        "planned": run["planned_at"].isoformat(),
        "missed": run["missed"],
    }
