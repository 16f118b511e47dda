"""Status changes as server-sent events: of one render, whose followers share its polls, or of several."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy import RowMapping

from service.routers.http.dependencies import (
    CallerDep,
    DatabaseDep,
    IdentityDep,
    Resources,
    ResourcesDep,
    require_scope,
)
from service.routers.http.exception_mapping import is_database_unavailable
from service.routers.http.fields import MAX_HEADER_LENGTH
from service.routers.http.single_flight import SharedReads
from service.routers.videos.models import EXAMPLE_JOB_ID, TERMINAL_STATUSES, VideoStatus
from service.routers.videos.renders import get_visible_render, to_video_status
from service.store.database import Caller
from service.store.renders.queries import list_statuses, may_read

POLL_INTERVAL_S = 0.4
# Of several renders, which every page that shows a list follows.
LIST_POLL_INTERVAL_S = 1.0
MAX_FOLLOWED = 100


class StatusPoller:
    """Reads the statuses of followed renders, each once per interval for all its followers."""

    def __init__(self) -> None:
        self._reads = SharedReads[UUID, RowMapping]()

    async def rows(self, resources: Resources, jobs: Sequence[UUID], interval_s: float) -> list[RowMapping] | None:
        """Of those renders that exist, at most an interval old; None while the database is unavailable."""

        async def read(missing: Sequence[UUID]) -> dict[UUID, RowMapping]:
            async with resources.database.service_transaction() as connection:
                found = await list_statuses(connection, missing, resources.storage.retention)
            return {row["id"]: row for row in found}

        try:
            return list((await self._reads.get(jobs, read, 0.9 * interval_s)).values())
        except Exception as error:
            if not is_database_unavailable(error):
                raise
            return None


router = APIRouter(prefix="/api/videos", tags=["videos"])
EXAMPLE_EVENT = 'id: running-render-120-1\nevent: status\ndata: {"status": "running", "frames_done": 120}\n\n'
STOPPING_EVENT = ServerSentEvent(
    data={"reason": "the service is stopping: connect again"}, event="stopping", retry=2000
)
EXPIRED_EVENT = ServerSentEvent(
    data={"reason": "the token has expired: connect again with a new one"}, event="stopping"
)


async def require_visible(job_id: UUID, caller: CallerDep, database: DatabaseDep) -> None:
    """A dependency, so that it runs before the stream starts. Raises NotFound."""
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
    identity: IdentityDep,
    caller: CallerDep,
    last_event_id: Annotated[str | None, Header(max_length=MAX_HEADER_LENGTH)] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Sends a `status` event at each change. The stream ends after `succeeded`, `failed` or `cancelled`, and when the
    caller may not see the render any more. If the service stops or the token expires first, it sends a `stopping`
    event: reconnect with `Last-Event-ID`."""
    follower = Follower(caller, identity.expires_at, last_event_id)
    async for status in status_changes(resources, request.app.state.status_poller, job_id, follower):
        yield ServerSentEvent(data=status, event="status", id=follower.last_event_id)
        if status.status in TERMINAL_STATUSES:
            return
    if resources.stopping.is_set():
        yield STOPPING_EVENT
    elif follower.is_expired():
        yield EXPIRED_EVENT


@router.get(
    "/events",
    summary="Follow several renders",
    response_class=EventSourceResponse,
    responses={
        200: {"description": "Server-sent events", "content": {"text/event-stream": {"example": EXAMPLE_EVENT}}}
    },
    dependencies=[Depends(require_scope("videos:read"))],
)
async def follow_several(
    request: Request,
    resources: ResourcesDep,
    identity: IdentityDep,
    caller: CallerDep,
    job: Annotated[
        list[UUID],
        Query(min_length=1, max_length=MAX_FOLLOWED, description="a render to follow", examples=[[EXAMPLE_JOB_ID]]),
    ],
) -> AsyncIterator[ServerSentEvent]:
    """Sends a `status` event for each of these renders at first, and at each change: one connection for a whole list.
    The stream ends after all have ended, were deleted, or may not be seen any more by the caller. If the service stops
    or the token expires first, it sends a `stopping` event."""
    follower = Follower(caller, identity.expires_at, None)
    async for status in changes_of_several(resources, request.app.state.status_poller, job, follower):
        yield ServerSentEvent(data=status, event="status")
    if resources.stopping.is_set():
        yield STOPPING_EVENT
    elif follower.is_expired():
        yield EXPIRED_EVENT


@dataclass(slots=True)
class Follower:
    """Who follows, until when (Unix time), and the last event sent to him."""

    caller: Caller
    expires_at: float
    last_event_id: str | None

    def is_expired(self) -> bool:
        return time.time() >= self.expires_at


def event_id(row: RowMapping) -> str:
    """An id that identifies the status, so that a client that reconnects does not receive it again."""
    return f"{row['status']}-{row['phase']}-{row['frames_done']}-{row['attempts']}"


async def status_changes(
    resources: Resources, poller: StatusPoller, job: UUID, follower: Follower
) -> AsyncIterator[VideoStatus]:
    """Yield the status whenever it changes, until the render ends or is deleted, or the process stops, or the follower
    has lost the right to it."""
    while not (resources.stopping.is_set() or follower.is_expired()):
        rows = await poller.rows(resources, [job], POLL_INTERVAL_S)
        if rows == []:
            return
        row = rows[0] if rows else None
        if row is not None and not may_read(row, follower.caller):
            return
        if row is not None and event_id(row) != follower.last_event_id:
            follower.last_event_id = event_id(row)
            yield to_video_status(row, follower.caller)
        if row is not None and row["status"] in TERMINAL_STATUSES:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_INTERVAL_S):
                await resources.stopping.wait()


async def changes_of_several(
    resources: Resources, poller: StatusPoller, jobs: Sequence[UUID], follower: Follower
) -> AsyncIterator[VideoStatus]:
    """Yield the status of each render whenever it changes, until all have ended or are out of the follower's sight, or
    the process stops."""
    sent: dict[UUID, VideoStatus] = {}
    unfinished = list(dict.fromkeys(jobs))
    while unfinished and not (resources.stopping.is_set() or follower.is_expired()):
        rows = await poller.rows(resources, unfinished, LIST_POLL_INTERVAL_S)
        seen = [to_video_status(row, follower.caller) for row in rows or () if may_read(row, follower.caller)]
        for status in seen:
            if sent.get(status.job_id) != status:
                sent[status.job_id] = status
                yield status
        if rows is not None:
            unfinished = [status.job_id for status in seen if status.status not in TERMINAL_STATUSES]
        if unfinished:
            with suppress(TimeoutError):
                async with asyncio.timeout(LIST_POLL_INTERVAL_S):
                    await resources.stopping.wait()
