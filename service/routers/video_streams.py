"""Watch a render while it is made: HLS from its finished segments."""

import asyncio
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Response
from sqlalchemy import RowMapping

from service.errors import Conflict, NotFound
from service.plan.render_plan import ObjectRef
from service.routers.deps import CallerDep, DatabaseDep, ObjectsDep, require
from service.routers.problems import described
from service.routers.videos import visible
from service.store import streams
from service.store.database import Caller, Database
from service.store.objects import ObjectMissing, ObjectStore
from service.store.segment_keys import segment_key
from service.stream.fragments import init_section, media_section
from service.stream.playlist import MEDIA_TYPE, STREAMED, Part, Placed, finished, playlist

router = APIRouter(prefix="/api/videos", tags=["videos"], dependencies=[Depends(require("videos:read"))])
FIRST_WAIT_S, FIRST_POLL_S = 10.0, 0.05
"""How long a playlist is held back until it has something to play: players give up on an empty one."""
KEEP = {"Cache-Control": "private, max-age=3600"}
M3U8 = {MEDIA_TYPE: {"schema": {"type": "string"}, "example": "#EXTM3U\n#EXT-X-VERSION:7\n"}}
FMP4 = {"video/mp4": {"schema": {"type": "string", "format": "binary"}, "example": "(bytes of a fragment)"}}


@router.get(
    "/{job_id:uuid}/stream.m3u8",
    summary="HLS playlist, playable while it renders",
    response_class=Response,
    responses={200: {"description": "The segments that are done so far", "content": M3U8}, **described(409)},
)
async def stream(job_id: UUID, who: CallerDep, database: DatabaseDep) -> Response:
    """An EVENT playlist of fragmented MP4 that grows with the render and ends with it. Asked for before the first
    segment is done, it waits for it (10 s at most)."""
    row, parts = await _playable(database, who, job_id)
    ended = row["status"] == "succeeded"
    if ended and len(finished(parts)) < sum(part.lasts != 0 for part in parts):
        raise _cleared()
    async with database.service() as connection:
        await streams.watched(connection, job_id)
    text = playlist(parts, ended=ended)
    return Response(text, media_type=MEDIA_TYPE, headers={"Cache-Control": "no-store"})


@router.get(
    "/{job_id:uuid}/stream/init.mp4",
    summary="HLS init section",
    response_class=Response,
    responses={200: {"description": "The header that all segments share", "content": FMP4}, **described(409)},
)
async def stream_init(job_id: UUID, who: CallerDep, database: DatabaseDep, objects: ObjectsDep) -> Response:
    """What a player needs before any segment."""
    placed = await _placed(database, who, job_id)
    data = await _segment(objects, placed[0].part)
    return Response(init_section(data), media_type="video/mp4", headers=KEEP)


@router.get(
    "/{job_id:uuid}/stream/{number:int}.m4s",
    summary="HLS media segment",
    response_class=Response,
    responses={200: {"description": "One closed group of pictures", "content": FMP4}, **described(409)},
)
async def stream_segment(
    job_id: UUID,
    number: Annotated[int, Path(ge=0, lt=1 << 31, description="as the playlist names it")],
    who: CallerDep,
    database: DatabaseDep,
    objects: ObjectsDep,
) -> Response:
    """One segment, at its place on the time line."""
    placed = await _placed(database, who, job_id)
    found = next((segment for segment in placed if segment.part.number == number), None)
    if found is None:
        raise NotFound("there is no such segment, or not yet")
    data = await _segment(objects, found.part)
    return Response(media_section(data, found.start, number + 1), media_type="video/mp4", headers=KEEP)


async def _playable(database: Database, who: Caller, job: UUID) -> tuple[RowMapping, list[Part]]:
    """The render and its segments once the first one is done. Raises NotFound, Conflict."""
    deadline = asyncio.get_running_loop().time() + FIRST_WAIT_S
    while True:
        row = await visible(database, who, job)
        _check(row)
        async with database.service() as connection:
            parts = await streams.parts(connection, job)
        if finished(parts):
            return row, parts
        if row["status"] == "succeeded":
            raise _cleared()
        if asyncio.get_running_loop().time() > deadline:
            raise Conflict("nothing can be played yet: try again", headers={"Retry-After": "1"})
        await asyncio.sleep(FIRST_POLL_S)


async def _placed(database: Database, who: Caller, job: UUID) -> list[Placed]:
    row = await visible(database, who, job)
    _check(row)
    async with database.service() as connection:
        placed = finished(await streams.parts(connection, job))
        await streams.watched(connection, job)
    if not placed:
        raise NotFound("there is no such segment, or not yet")
    return placed


def _check(row: RowMapping) -> None:
    codec = row["options"]["codec"]
    if codec not in STREAMED:
        raise Conflict(f"{codec} cannot be watched as a stream: wait for the video")
    if row["status"] in ("failed", "cancelled"):
        raise Conflict(f"the render is {row['status']}: there is nothing more to watch")


async def _segment(objects: ObjectStore, part: Part) -> bytes:
    try:
        return await objects.get(ObjectRef(objects.bucket, segment_key(part.content_key)))
    except ObjectMissing as error:
        raise _cleared() from error


def _cleared() -> Conflict:
    return Conflict("the stream's segments were cleared from the cache: fetch the video instead")
