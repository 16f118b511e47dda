"""HLS: play a render from its finished segments while it runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Path, Response
from sqlalchemy import RowMapping

from service.errors import Conflict, NotFound, ServiceUnavailable
from service.routers.http.conditional_requests import (
    ASK_FIRST,
    ETAG_HEADERS,
    IfNoneMatch,
    etag_of,
    not_modified_response,
)
from service.routers.http.dependencies import CallerDep, DatabaseDep, ObjectsDep, require_scope
from service.routers.http.object_streams import binary_content
from service.routers.http.problems import error_responses
from service.routers.videos.renders import get_visible_render
from service.store.cache import segments
from service.store.database import Caller, Database
from service.store.objects.digests import WrittenObject, read_checked
from service.store.objects.keys import segment_key
from service.store.objects.object_store import ObjectNotFound, ObjectStore
from service.store.renders import lifecycle
from service.stream.fragments import MalformedMp4, init_section, media_section
from service.stream.playlist import (
    MEDIA_TYPE,
    STREAMABLE_CODECS,
    StreamSegment,
    TimedSegment,
    media_playlist,
    playable_segments,
)
from service.telemetry.metrics import FILES_LOST

log = structlog.get_logger("service.stream")
router = APIRouter(prefix="/api/videos", tags=["videos"], dependencies=[Depends(require_scope("videos:read"))])
# How long a playlist request waits for the first segment: players give up on an empty playlist.
FIRST_SEGMENT_TIMEOUT_S = 10.0
FIRST_SEGMENT_POLL_S = 0.05
PLAYLIST_CONTENT = {MEDIA_TYPE: {"schema": {"type": "string"}, "example": "#EXTM3U\n#EXT-X-VERSION:7\n"}}
FMP4_CONTENT = binary_content("video/mp4", "a fragment")


@router.get(
    "/{job_id:uuid}/stream.m3u8",
    summary="HLS playlist, playable while it renders",
    response_class=Response,
    responses={
        200: {"description": "The segments finished so far", "content": PLAYLIST_CONTENT},
        **error_responses(409),
    },
)
async def stream(job_id: UUID, caller: CallerDep, database: DatabaseDep) -> Response:
    """An EVENT playlist of fragmented MP4 that grows until the render ends. Waits up to 10 s for the first segment."""
    row, parts = await _wait_until_playable(database, caller, job_id)
    ended = row["status"] == "succeeded"
    if ended and len(playable_segments(parts)) < sum(part.duration != 0 for part in parts):
        raise _evicted_error()
    async with database.service_transaction() as connection:
        await segments.touch_segments(connection, job_id)
    text = media_playlist(parts, ended=ended)
    return Response(text, media_type=MEDIA_TYPE, headers={"Cache-Control": "no-store"})


@router.get(
    "/{job_id:uuid}/stream/init.mp4",
    summary="HLS init section",
    response_class=Response,
    responses={
        200: {
            "description": "The initialization section of all segments",
            "headers": ETAG_HEADERS,
            "content": FMP4_CONTENT,
        },
        304: {"description": "Not modified"},
        **error_responses(409),
    },
)
async def stream_init(
    job_id: UUID, caller: CallerDep, database: DatabaseDep, objects: ObjectsDep, if_none_match: IfNoneMatch = None
) -> Response:
    """The initialization section, which a player needs before any segment."""
    part = (await _load_segments(database, caller, job_id))[0].part
    tag = etag_of(part.content_key, part.sha256)
    if not_modified := not_modified_response(if_none_match, tag):
        return not_modified
    async with _rerender_if_lost(database, job_id, part):
        data = init_section(await _read_segment(objects, part))
    return Response(data, media_type="video/mp4", headers={"ETag": tag, **ASK_FIRST})


@router.get(
    "/{job_id:uuid}/stream/{number:int}.m4s",
    summary="HLS media segment",
    response_class=Response,
    responses={
        200: {"description": "One closed group of pictures", "headers": ETAG_HEADERS, "content": FMP4_CONTENT},
        304: {"description": "Not modified"},
        **error_responses(409),
    },
)
async def stream_segment(
    job_id: UUID,
    number: Annotated[int, Path(ge=0, lt=1 << 31, description="number in the playlist")],
    caller: CallerDep,
    database: DatabaseDep,
    objects: ObjectsDep,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One segment with its position on the timeline."""
    timed = await _load_segments(database, caller, job_id)
    segment = next((segment for segment in timed if segment.part.number == number), None)
    if segment is None:
        raise NotFound("there is no such segment, or not yet")
    # Its bytes say where it starts, which depends on the segments before it.
    tag = etag_of(segment.part.content_key, segment.part.sha256, segment.start, number)
    if not_modified := not_modified_response(if_none_match, tag):
        return not_modified
    async with _rerender_if_lost(database, job_id, segment.part):
        data = media_section(await _read_segment(objects, segment.part), segment.start, number + 1)
    return Response(data, media_type="video/mp4", headers={"ETag": tag, **ASK_FIRST})


async def _wait_until_playable(database: Database, caller: Caller, job: UUID) -> tuple[RowMapping, list[StreamSegment]]:
    """The render and its segments, as soon as the first is finished. Raises NotFound, Conflict."""
    deadline = asyncio.get_running_loop().time() + FIRST_SEGMENT_TIMEOUT_S
    while True:
        row = await get_visible_render(database, caller, job)
        _require_streamable(row)
        async with database.service_transaction() as connection:
            parts = await segments.list_playlist_parts(connection, job)
        if playable_segments(parts):
            return row, parts
        if row["status"] == "succeeded":
            raise _evicted_error()
        if asyncio.get_running_loop().time() > deadline:
            raise Conflict("nothing can be played yet: try again", headers={"Retry-After": "1"})
        await asyncio.sleep(FIRST_SEGMENT_POLL_S)


async def _load_segments(database: Database, caller: Caller, job: UUID) -> list[TimedSegment]:
    """The finished segments of a render. Raises NotFound, Conflict."""
    row = await get_visible_render(database, caller, job)
    _require_streamable(row)
    async with database.service_transaction() as connection:
        timed = playable_segments(await segments.list_playlist_parts(connection, job))
        await segments.touch_segments(connection, job)
    if not timed:
        raise NotFound("there is no such segment, or not yet")
    return timed


def _require_streamable(row: RowMapping) -> None:
    codec = row["options"]["codec"]
    if codec not in STREAMABLE_CODECS:
        raise Conflict(f"{codec} cannot be watched as a stream: wait for the video")
    if row["status"] in ("failed", "cancelled"):
        raise Conflict(f"the render is {row['status']}: there is nothing more to watch")


async def _read_segment(objects: ObjectStore, part: StreamSegment) -> bytes:
    return await read_checked(objects, WrittenObject(segment_key(part.content_key), part.sha256))


@asynccontextmanager
async def _rerender_if_lost(database: Database, job: UUID, part: StreamSegment) -> AsyncIterator[None]:
    """If the segment's bytes are gone or damaged, it is rendered again. Raises Conflict then."""
    try:
        yield
    except (ObjectNotFound, MalformedMp4) as loss:
        if isinstance(loss, MalformedMp4) and part.sha256 is not None:
            raise  # the bytes are those that were written
        FILES_LOST.labels("segment").inc()
        async with database.service_transaction() as connection:
            again = await lifecycle.rerender_segment(connection, job, part.content_key)
        log.warning("a segment of a stream is lost", render=str(job), rendered_again=again, reason=str(loss))
        if not again:
            detail = "the object store has lost this part of the stream, which was just rendered: have it checked"
            raise ServiceUnavailable(detail, headers={"Retry-After": str(lifecycle.REMAKE_PAUSE_S)}) from loss
        detail = "this part of the stream was lost and is rendered again: ask again, or fetch the video"
        raise Conflict(detail, headers={"Retry-After": "5"}) from loss


def _evicted_error() -> Conflict:
    return Conflict("the stream's segments were cleared from the cache: fetch the video instead")
