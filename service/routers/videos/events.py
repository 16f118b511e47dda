"""GET /api/videos/{job_id}/events: status changes as server-sent events. All followers of a render share one
database poll.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from service.errors import NotFound
from service.routers.http.dependencies import CallerDep, DatabaseDep, Resources, ResourcesDep, require_scope
from service.routers.http.exception_mapping import is_database_unavailable
from service.routers.videos.models import VideoStatus
from service.routers.videos.renders import get_status, get_visible_render
from service.store.database import Database

POLL_INTERVAL_S = 0.4
RETENTION_S = 10.0


class StatusPoller:
    """The looks under way and the last ones."""

    def __init__(self) -> None:
        self._polls: dict[UUID, tuple[float, asyncio.Task[VideoStatus]]] = {}

    async def status(self, database: Database, job: UUID) -> VideoStatus:
        """At most a beat old. Raises NotFound, and what a lost database raises."""
        now = asyncio.get_running_loop().time()
        began, look = self._polls.get(job, (0.0, None))
        if look is None or (look.done() and now - began > POLL_INTERVAL_S * 0.9):
            look = self._start_poll(database, job, now)
        return await asyncio.shield(look)

    def _start_poll(self, database: Database, job: UUID, now: float) -> asyncio.Task[VideoStatus]:
        look = asyncio.create_task(get_status(database, job))
        look.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may have waited for it
        self._polls = {known: entry for known, entry in self._polls.items() if now - entry[0] < RETENTION_S}
        self._polls[job] = (now, look)
        return look


router = APIRouter(prefix="/api/videos", tags=["videos"])
EXAMPLE_EVENT = 'id: running-render-120-1\nevent: status\ndata: {"status": "running", "frames_done": 120}\n\n'
STOPPING_EVENT = ServerSentEvent(
    data={"reason": "the service is stopping: connect again"}, event="stopping", retry=2000
)
TERMINAL_STATUSES = ("succeeded", "failed", "cancelled")


async def require_visible(job_id: UUID, caller: CallerDep, database: DatabaseDep) -> None:
    """A dependency, because it has to refuse before the stream begins. Raises NotFound."""
    await get_visible_render(database, caller, job_id)


@router.get(
    "/{job_id:uuid}/events",
    summary="Follow a render",
    response_class=EventSourceResponse,
    responses={
        200: {"description": "Server-sent events", "content": {"text/event-stream": {"example": EXAMPLE_EVENT}}}
    },
    dependencies=[Depends(require_scope("videos:read")), Depends(require_visible)],
)
async def follow(
    job_id: UUID,
    request: Request,
    resources: ResourcesDep,
    last_event_id: Annotated[str | None, Header()] = None,
) -> AsyncIterator[ServerSentEvent]:
    """One `status` event at each change; the stream ends after `succeeded`, `failed` or `cancelled`. When the service
    stops before that, a `stopping` event is the last one: connect again, with the `Last-Event-ID`."""
    async for status in status_changes(resources, request.app.state.followed, job_id, last_event_id):
        yield ServerSentEvent(data=status, event="status", id=event_id(status))
        if status.status in TERMINAL_STATUSES:
            return
    if resources.stopping.is_set():
        yield STOPPING_EVENT


def event_id(status: VideoStatus) -> str:
    """An event id that says which state was told, so that a client that comes back is not told it again."""
    return f"{status.status}-{status.phase}-{status.frames_done}-{status.attempts}"


async def _poll_status(database: Database, poller: StatusPoller, job: UUID) -> VideoStatus | None:
    """None while the database is away: who follows a render need not know."""
    try:
        return await poller.status(database, job)
    except Exception as error:
        if not is_database_unavailable(error):
            raise
        return None


async def status_changes(
    resources: Resources, poller: StatusPoller, job: UUID, last_event_id: str | None
) -> AsyncIterator[VideoStatus]:
    """The status whenever it differs from the one told last, until the render has ended, is deleted, or the process
    stops."""
    while not resources.stopping.is_set():
        try:
            status = await _poll_status(resources.database, poller, job)
        except NotFound:
            return
        if status is not None and event_id(status) != last_event_id:
            last_event_id = event_id(status)
            yield status
        if status is not None and status.status in TERMINAL_STATUSES:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(resources.stopping.wait(), POLL_INTERVAL_S)
