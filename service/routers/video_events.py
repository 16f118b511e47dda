"""GET /api/videos/{job_id}/events: the status as server-sent events, resumable by Last-Event-ID."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from service.errors import NotFound
from service.routers.deps import CallerDep, DatabaseDep, ResourcesDep, require
from service.routers.faults import database_away
from service.routers.resources import Resources
from service.routers.video_models import VideoStatus
from service.routers.videos import current, visible
from service.store.database import Database

router = APIRouter(prefix="/api/videos", tags=["videos"])
POLL_S = 0.4
EXAMPLE = 'id: running-render-120-1\nevent: status\ndata: {"status": "running", "frames_done": 120}\n\n'
GOODBYE = ServerSentEvent(data={"reason": "the service is stopping: connect again"}, event="stopping", retry=2000)
ENDED = ("succeeded", "failed", "cancelled")


async def seen(job_id: UUID, who: CallerDep, database: DatabaseDep) -> None:
    """A dependency, because it has to refuse before the stream begins. Raises NotFound."""
    await visible(database, who, job_id)


@router.get(
    "/{job_id:uuid}/events",
    summary="Follow a render",
    response_class=EventSourceResponse,
    responses={200: {"description": "Server-sent events", "content": {"text/event-stream": {"example": EXAMPLE}}}},
    dependencies=[Depends(require("videos:read")), Depends(seen)],
)
async def follow(
    job_id: UUID,
    at: ResourcesDep,
    last_event_id: Annotated[str | None, Header()] = None,
) -> AsyncIterator[ServerSentEvent]:
    """One `status` event at each change; the stream ends after `succeeded`, `failed` or `cancelled`. When the service
    stops before that, a `stopping` event is the last one: connect again, with the `Last-Event-ID`."""
    async for status in changes(at, job_id, last_event_id):
        yield ServerSentEvent(data=status, event="status", id=fingerprint(status))
        if status.status in ENDED:
            return
    if at.stopping.is_set():
        yield GOODBYE


def fingerprint(status: VideoStatus) -> str:
    """An event id that says which state was told, so that a client that comes back is not told it again."""
    return f"{status.status}-{status.phase}-{status.frames_done}-{status.attempts}"


async def _reached(database: Database, job: UUID) -> VideoStatus | None:
    """None while the database is away: who follows a render need not know."""
    try:
        return await current(database, job)
    except Exception as error:
        if not database_away(error):
            raise
        return None


async def changes(at: Resources, job: UUID, known: str | None) -> AsyncIterator[VideoStatus]:
    """The status whenever it differs from the one told last, until the render has ended, is deleted, or the process
    stops."""
    while not at.stopping.is_set():
        try:
            status = await _reached(at.database, job)
        except NotFound:
            return
        if status is not None and fingerprint(status) != known:
            known = fingerprint(status)
            yield status
        if status is not None and status.status in ENDED:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(at.stopping.wait(), POLL_S)
