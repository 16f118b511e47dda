"""GET /api/videos/{job_id}/events: the status as server-sent events, resumable by Last-Event-ID."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from service.routers.deps import CallerDep, DatabaseDep, require
from service.routers.video_models import VideoStatus
from service.routers.videos import current, visible
from service.store.database import Database

router = APIRouter(prefix="/api/videos", tags=["videos"])
POLL_S = 0.4
ENDED = ("succeeded", "failed", "cancelled")


@router.get(
    "/{job_id}/events",
    summary="Follow a render",
    response_class=EventSourceResponse,
    dependencies=[Depends(require("videos:read"))],
)
async def follow(
    job_id: UUID,
    who: CallerDep,
    database: DatabaseDep,
    last_event_id: Annotated[str | None, Header()] = None,
) -> AsyncIterator[ServerSentEvent]:
    """One `status` event at each change; the stream ends after `succeeded`, `failed` or `cancelled`."""
    await visible(database, who, job_id)
    async for status in changes(database, job_id, last_event_id):
        yield ServerSentEvent(data=status, event="status", id=fingerprint(status))


def fingerprint(status: VideoStatus) -> str:
    """An event id that says which state was told, so that a client that comes back is not told it again."""
    return f"{status.status}-{status.phase}-{status.frames_done}-{status.attempts}"


async def changes(database: Database, job: UUID, known: str | None) -> AsyncIterator[VideoStatus]:
    """The status whenever it differs from the one told last, until the render has ended."""
    while True:
        status = await current(database, job)
        if fingerprint(status) != known:
            known = fingerprint(status)
            yield status
        if status.status in ENDED:
            return
        await asyncio.sleep(POLL_S)
