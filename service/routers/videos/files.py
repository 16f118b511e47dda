"""Files of a finished render: video with Range and ETag, poster, receipt, preview strip, keogram."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from sqlalchemy import RowMapping

from service.errors import Conflict, RangeNotSatisfiable
from service.plan.formats import ARTIFACT_FILES, MEDIA_TYPES, Output
from service.plan.render_plan import ObjectRef, RenderOptions
from service.routers.http.dependencies import CallerDep, DatabaseDep, ObjectsDep, require_scope
from service.routers.http.object_streams import open_stream
from service.routers.http.problems import error_responses
from service.routers.videos.renders import get_visible_render
from service.store.objects.keys import render_object_key
from service.store.objects.object_store import ObjectStore

router = APIRouter(prefix="/api/videos", tags=["videos"], dependencies=[Depends(require_scope("videos:read"))])
PRESIGN_EXPIRY_S = 3600
MP4_CONTENT = {"video/mp4": {"schema": {"type": "string", "format": "binary"}, "example": "(bytes of an MP4 file)"}}
JPEG_CONTENT = {"image/jpeg": {"schema": {"type": "string", "format": "binary"}, "example": "(bytes of a JPEG file)"}}
EXAMPLE_RECEIPT_LINE = (
    '{"output": 0, "source": 0, "key": "f00.jpg", "decoder": "pyav", "outcome": "ok", "reason": null}'
)
NDJSON_CONTENT = {"application/x-ndjson": {"schema": {"type": "string"}, "example": EXAMPLE_RECEIPT_LINE}}
RANGE_PATTERN = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes [start, stop) of a file of `size` bytes; `partial` when a Range header asked for them."""

    start: int
    stop: int
    size: int
    partial: bool


def parse_range(header: str | None, size: int) -> ByteRange:
    """RFC 9110, 14.2: one range is served, anything else is ignored. Raises RangeNotSatisfiable."""
    match = RANGE_PATTERN.fullmatch(header.strip()) if header else None
    if match is None or match.group(1) == match.group(2) == "":
        return ByteRange(0, size, size, partial=False)
    first, last = match.groups()
    start = int(first) if first else max(size - int(last), 0)
    stop = min(int(last) + 1, size) if first and last else size
    if start >= size or start >= stop:
        headers = {"Content-Range": f"bytes */{size}"}
        raise RangeNotSatisfiable(f"the file has {size} bytes", headers=headers)
    return ByteRange(start, stop, size, partial=True)


@router.get(
    "/{job_id:uuid}/video",
    summary="The video",
    response_class=StreamingResponse,
    responses={
        200: {"description": "All of it", "content": MP4_CONTENT},
        206: {"description": "The bytes of the Range header", "content": MP4_CONTENT},
        302: {"description": "It can be fetched at the address in `Location`, for an hour"},
        304: {"description": "It is still the one that `If-None-Match` names"},
        **error_responses(409, 416),
    },
)
async def video(
    job_id: UUID,
    caller: CallerDep,
    database: DatabaseDep,
    objects: ObjectsDep,
    range_: Annotated[str | None, Header(alias="Range")] = None,
    if_range: Annotated[str | None, Header()] = None,
    if_none_match: Annotated[str | None, Header()] = None,
    redirect: Annotated[bool, Query(description="302 to a presigned URL where the store has them")] = False,
) -> Response:
    """The file, whole or a part of it: MP4, or the container that was asked for."""
    row = await get_visible_render(database, caller, job_id)
    if row["video_key"] is None:
        raise Conflict(f"the video is not there: the render is {row['status']}")
    ref = ObjectRef(objects.bucket, row["video_key"])
    if redirect and (url := await objects.presign_get(ref, PRESIGN_EXPIRY_S)):
        return RedirectResponse(url, 302)
    etag = f'"{row["video_sha256"]}"'
    if if_none_match and etag in if_none_match:
        return Response(status_code=304, headers={"ETag": etag})
    part = parse_range(range_ if if_range in (None, etag) else None, row["video_bytes"])
    return await _stream_range(objects, ref, part, _video_headers(job_id, row, etag))


def _video_headers(job_id: UUID, row: RowMapping, etag: str) -> dict[str, str]:
    container = RenderOptions.from_json(row["options"]).container
    name = f'inline; filename="{job_id}.{container}"'
    return {"ETag": etag, "Content-Disposition": name, "Content-Type": MEDIA_TYPES[container]}


async def _stream_range(
    objects: ObjectStore, ref: ObjectRef, byte_range: ByteRange, headers: dict[str, str]
) -> Response:
    headers |= {
        "Accept-Ranges": "bytes",
        "Content-Length": str(byte_range.stop - byte_range.start),
        "Cache-Control": "private",
    }
    if byte_range.partial:
        headers["Content-Range"] = f"bytes {byte_range.start}-{byte_range.stop - 1}/{byte_range.size}"
    body = await open_stream(objects, ref, byte_range.start, byte_range.stop)
    return StreamingResponse(body, 206 if byte_range.partial else 200, headers)


@router.get(
    "/{job_id:uuid}/poster",
    summary="The first frame as a JPEG",
    response_class=Response,
    responses={200: {"description": "The picture", "content": JPEG_CONTENT}, **error_responses(409)},
)
async def poster(job_id: UUID, caller: CallerDep, database: DatabaseDep, objects: ObjectsDep) -> Response:
    """A still picture of the video."""
    row = await get_visible_render(database, caller, job_id)
    if row["poster_key"] is None:
        raise Conflict(f"the poster is not there: the render is {row['status']}")
    return Response(await objects.get(ObjectRef(objects.bucket, row["poster_key"])), media_type="image/jpeg")


@router.get(
    "/{job_id:uuid}/receipt",
    summary="The render receipt",
    response_class=StreamingResponse,
    responses={200: {"description": "One JSON document a line", "content": NDJSON_CONTENT}, **error_responses(409)},
)
async def receipt(job_id: UUID, caller: CallerDep, database: DatabaseDep, objects: ObjectsDep) -> Response:
    """NDJSON: a line per output frame (its source, how it was decoded, what replaced it and why), then a summary."""
    row = await get_visible_render(database, caller, job_id)
    if row["receipt_key"] is None:
        raise Conflict(f"the receipt is not there: the render is {row['status']}")
    ref = ObjectRef(objects.bucket, row["receipt_key"])
    return StreamingResponse(await open_stream(objects, ref), media_type="application/x-ndjson")


artifact_router = APIRouter(prefix="/api/videos", tags=["videos"], dependencies=[Depends(require_scope("videos:read"))])
PREVIEW_SHEET_CONTENT = {
    "image/jpeg": {"schema": {"type": "string", "format": "binary"}, "example": "(bytes of a JPEG file)"}
}
PNG_CONTENT = {"image/png": {"schema": {"type": "string", "format": "binary"}, "example": "(bytes of a PNG file)"}}
EXAMPLE_CUES = "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\npreview.jpg#xywh=0,0,160,90\n"
VTT_CONTENT = {"text/vtt": {"schema": {"type": "string"}, "example": EXAMPLE_CUES}}
CACHE_HEADERS = {"Cache-Control": "private, max-age=3600"}


@artifact_router.get(
    "/{job_id:uuid}/preview.{kind}",
    summary="The preview strip, or its times",
    response_class=Response,
    responses={
        200: {"description": "Small pictures in rows, or WebVTT", "content": PREVIEW_SHEET_CONTENT | VTT_CONTENT},
        **error_responses(409),
    },
)
async def preview(
    job_id: UUID,
    kind: Annotated[Literal["jpg", "vtt"], Path(description="jpg: the pictures; vtt: which belongs to which time")],
    caller: CallerDep,
    database: DatabaseDep,
    objects: ObjectsDep,
) -> Response:
    """For the seek bar of a player; asked for with `outputs: ["preview_strip"]`."""
    _require_artifact(await get_visible_render(database, caller, job_id), "preview_strip")
    data = await objects.get(ObjectRef(objects.bucket, render_object_key(job_id, f"preview.{kind}")))
    return Response(data, media_type="image/jpeg" if kind == "jpg" else "text/vtt", headers=CACHE_HEADERS)


@artifact_router.get(
    "/{job_id:uuid}/keogram.png",
    summary="The keogram",
    response_class=Response,
    responses={200: {"description": "A column for each frame", "content": PNG_CONTENT}, **error_responses(409)},
)
async def keogram(job_id: UUID, caller: CallerDep, database: DatabaseDep, objects: ObjectsDep) -> Response:
    """The middle column of every frame, side by side; asked for with `outputs: ["keogram"]`."""
    _require_artifact(await get_visible_render(database, caller, job_id), "keogram")
    data = await objects.get(ObjectRef(objects.bucket, render_object_key(job_id, ARTIFACT_FILES["keogram"])))
    return Response(data, media_type="image/png", headers=CACHE_HEADERS)


def _require_artifact(row: RowMapping, output: Output) -> None:
    if output not in row["options"].get("outputs", ()):
        raise Conflict(f'it was not asked for: render with outputs: ["{output}"]')
    if row["status"] != "succeeded":
        raise Conflict(f"it is not there: the render is {row['status']}")
