"""Dead letters: what has failed for good is listed, retried and dismissed."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import Conflict, NotFound
from service.identity.claims import allows
from service.routers.http.dependencies import (
    CallerDep,
    DatabaseDep,
    IdentityDep,
    Resources,
    ResourcesDep,
    missing_scope_error,
    require_scope,
)
from service.routers.http.fields import EXAMPLE_DATASET_ID
from service.routers.http.pagination import PAGE_HEADERS, PageQuery, Pager
from service.routers.http.problems import error_responses
from service.routers.http.signing import SignerDep
from service.routers.videos.renders import restart_render
from service.store import dead_letters
from service.store.cache import previews
from service.store.catalog.datasets import enqueue_scan
from service.store.catalog.source_access import require_source
from service.store.database import Caller, Database
from service.store.renders import queries

log = structlog.get_logger("service.dead_letters")
router = APIRouter(prefix="/api/dead-letters", tags=["operations"])
REQUIRE_READ = Depends(require_scope("videos:read"))
REQUIRE_RENDER = Depends(require_scope("videos:render"))
Lane = Literal["render", "urgent", "webhook"]
EXAMPLE_ID = "0197a3c2-b1f0-7aa1-8c63-9e0d5a1f2b44"
EXAMPLE: dict[str, Any] = {
    "id": EXAMPLE_ID,
    "lane": "webhook",
    "task": "webhook",
    "code": "undelivered",
    "reason": "the receiver answered 500",
    "attempts": 8,
    "job_id": None,
    "dataset_id": None,
    "segment": None,
    "url": "https://lab.example/hook",
    "created_at": "2026-03-01T10:00:00Z",
    "failed_at": "2026-03-02T11:10:00Z",
}


class DeadLetter(BaseModel):
    """A task that has failed for good."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE, EXAMPLE | {"dataset_id": EXAMPLE_DATASET_ID}]})
    id: UUID
    lane: Lane = Field(description="`urgent`: previews, scans, and segments that a player asked for")
    task: Literal["segment", "assemble", "scan", "preview", "webhook"]
    code: str = Field(description="the class of the error")
    reason: str
    attempts: int
    job_id: UUID | None = Field(description="the render that it belongs to")
    dataset_id: UUID | None = Field(description="the dataset of a scan or preview")
    segment: int | None
    url: str | None = Field(description="the address of a webhook; only its owner and admins see it")
    created_at: datetime
    failed_at: datetime

    @classmethod
    def from_row(cls, row: RowMapping, caller: Caller) -> Self:
        error = row["error"] or {}
        names = ("id", "lane", "dataset_id", "created_at")
        may_know = caller.admin or row["owner"] == caller.subject
        return cls(
            **{name: row[name] for name in names},
            task=row["kind"],
            code=error.get("code", "unknown"),
            reason=error.get("reason", ""),
            attempts=row["starts"],
            job_id=row["render_id"],
            segment=row["number"],
            url=row["url"] if may_know else None,
            failed_at=row["finished_at"],
        )


class DeadLetterQuery(PageQuery):
    """Which, and what page."""

    lane: Lane | None = Field(None, description="only those of this lane")
    all: bool = Field(False, description="those of all callers; needs the scope `ops:read`")


@router.get(
    "",
    summary="List dead letters",
    response_model=list[DeadLetter],
    responses={200: {"headers": PAGE_HEADERS}},
    dependencies=[REQUIRE_READ],
)
async def list_dead_letters(
    request: Request,
    response: Response,
    query: Annotated[DeadLetterQuery, Query()],
    identity: IdentityDep,
    caller: CallerDep,
    database: DatabaseDep,
    signer: SignerDep,
) -> list[DeadLetter]:
    """Tasks of the caller that have failed for good, newest first: of renders that the caller asked for, scans and
    previews, and webhooks that were given up."""
    if query.all and not allows(identity.scopes, "ops:read"):
        raise missing_scope_error("ops:read")
    pager = Pager(signer, "dead letters", "-finished_at")
    reader = Caller(caller.subject, admin=query.all)
    async with database.caller_transaction(reader) as connection:
        rows, shown = await dead_letters.list_page(connection, query.lane, pager.keyset_page(query))
        if query.count == "exact":
            response.headers["X-Total-Count"] = str(await dead_letters.count(connection, query.lane))
    return [DeadLetter.from_row(row, caller) for row in pager.paginate(rows, shown, request, response)]


@router.post(
    "/{letter_id:uuid}/retry",
    status_code=202,
    summary="Retry a dead letter",
    response_model=DeadLetter,
    responses=error_responses(404, 409),
    dependencies=[REQUIRE_RENDER],
)
async def retry_dead_letter(
    letter_id: UUID, identity: IdentityDep, caller: CallerDep, resources: ResourcesDep
) -> DeadLetter:
    """Queues it again, with all its attempts: a render with what it has finished, a scan (needs `catalog:write`), a
    preview, or a webhook. Answers 409 if that was done already."""
    database = resources.database
    letter = await _get_visible(database, caller, letter_id)
    if letter["kind"] == "scan" and not allows(identity.scopes, "catalog:write"):
        raise missing_scope_error("catalog:write")
    async with database.service_transaction() as connection:
        if letter["render_id"] is not None:
            await _retry_task_of_render(connection, caller, letter, resources)
        elif letter["kind"] == "scan":
            await require_source(connection, letter["dataset_id"], resources.sources)
            await enqueue_scan(connection, letter["dataset_id"])
        else:
            if letter["kind"] == "preview":
                await previews.require_room(connection, caller.subject)
            await _requeue(connection, letter_id)
    log.info("dead letter retried", user=caller.subject, task=str(letter_id), kind=letter["kind"])
    return DeadLetter.from_row(letter, caller)


@router.post(
    "/{letter_id:uuid}/dismiss",
    status_code=204,
    summary="Dismiss a dead letter",
    responses=error_responses(404),
    dependencies=[REQUIRE_RENDER],
)
async def dismiss_dead_letter(letter_id: UUID, caller: CallerDep, database: DatabaseDep) -> None:
    """Takes it off the list. What it was about stays as it is: a failed render is still failed."""
    await _get_visible(database, caller, letter_id)
    async with database.service_transaction() as connection:
        if not await dead_letters.dismiss(connection, letter_id, caller.subject):
            raise _missing()
    log.info("dead letter dismissed", user=caller.subject, task=str(letter_id))


async def _get_visible(database: Database, caller: Caller, letter: UUID) -> RowMapping:
    """Raises NotFound."""
    async with database.caller_transaction(caller) as connection:
        row = await dead_letters.find(connection, letter)
    if row is None:
        raise _missing()
    return row


def _missing() -> NotFound:
    return NotFound("there is no such dead letter of yours")


async def _retry_task_of_render(
    connection: AsyncConnection, caller: Caller, letter: RowMapping, resources: Resources
) -> None:
    """A failed task stands for its render; a segment of a finished render was to be played."""
    render = await queries.get_render(connection, letter["render_id"])
    if render is not None and render["status"] == "succeeded" and letter["lane"] == "urgent":
        await _requeue(connection, letter["id"])
    else:
        await restart_render(connection, caller, letter["render_id"], resources)


async def _requeue(connection: AsyncConnection, letter: UUID) -> None:
    """Raises Conflict."""
    if not await dead_letters.requeue(connection, letter):
        raise Conflict("it was retried already")
