"""Files of a finished render: video with Range and ETag, poster, receipt, preview strip, keogram."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from sqlalchemy import RowMapping

from service.errors import Conflict
from service.plan.formats import ARTIFACT_FILES, MEDIA_TYPES, Output
from service.plan.render_plan import RenderOptions
from service.routers.http.conditional_requests import (
    ASK_FIRST,
    ETAG_HEADERS,
    IfNoneMatch,
    not_modified_response,
)
from service.routers.http.dependencies import CallerDep, Resources, ResourcesDep, require_scope
from service.routers.http.fields import MAX_HEADER_LENGTH
from service.routers.http.object_streams import (
    PRESIGN_EXPIRY_S,
    ByteRange,
    binary_content,
    open_stream,
    parse_range,
    stream_while_visible,
)
from service.routers.http.problems import error_responses
from service.routers.videos.finished_files import read_file, require_video, stream_file, stream_whole_video
from service.routers.videos.renders import get_visible_render
from service.store.objects.object_store import ObjectVersion

router = APIRouter(prefix="/api/videos", tags=["videos"], dependencies=[Depends(require_scope("videos:read"))])
MP4_CONTENT = binary_content("video/mp4", "an MP4 file")
JPEG_CONTENT = binary_content("image/jpeg", "a JPEG file")
PNG_CONTENT = binary_content("image/png", "a PNG file")
EXAMPLE_RECEIPT_LINE = (
    '{"output": 0, "source": 0, "key": "f00.jpg", "decoder": "pyav", "outcome": "ok", "reason": null}'
)
NDJSON_CONTENT = {"application/x-ndjson": {"schema": {"type": "string"}, "example": EXAMPLE_RECEIPT_LINE}}
EXAMPLE_CUES = "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\npreview.jpg#xywh=0,0,160,90\n"
ARTIFACT_MEDIA_TYPES = {"preview.jpg": "image/jpeg", "preview.vtt": "text/vtt", "keogram.png": "image/png"}
VTT_CONTENT = {"text/vtt": {"schema": {"type": "string"}, "example": EXAMPLE_CUES}}
VIDEO_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The whole file", "content": MP4_CONTENT},
    206: {"description": "The bytes of the Range header", "content": MP4_CONTENT},
    302: {"description": "The file is at the URL in `Location`, which is valid for five minutes"},
    304: {"description": "Not modified"},
    **error_responses(409, 416),
}
Range = Annotated[str | None, Header(alias="Range", max_length=MAX_HEADER_LENGTH)]
IfRange = Annotated[str | None, Header(max_length=MAX_HEADER_LENGTH)]
Redirect = Annotated[bool, Query(description="redirect to a presigned URL if the object store supports it")]


@router.get(
    "/{job_id:uuid}/video",
    summary="The video",
    response_class=StreamingResponse,
    responses=VIDEO_RESPONSES,
)
async def video(
    job_id: UUID,
    caller: CallerDep,
    resources: ResourcesDep,
    range_: Range = None,
    if_range: IfRange = None,
    if_none_match: IfNoneMatch = None,
    redirect: Redirect = False,
) -> Response:
    """The video file or a byte range of it, in the requested container (default: MP4). If it was lost or damaged in the
    object store, it is made again: 409 with the address of its status."""
    row = await get_visible_render(resources.database, caller, job_id)
    checked = await require_video(resources, row)
    if redirect and (url := await resources.objects.presign_get(checked.ref, PRESIGN_EXPIRY_S)):
        return RedirectResponse(url, 302)
    etag = f'"{row["video_sha256"]}"'
    if if_none_match and etag in if_none_match:
        return Response(status_code=304, headers={"ETag": etag})
    byte_range = parse_range(range_ if if_range in (None, etag) else None, row["video_bytes"])
    container = RenderOptions.from_json(row["options"]).container
    headers = {
        "ETag": etag,
        "Content-Disposition": f'inline; filename="{job_id}.{container}"',
        "Content-Type": MEDIA_TYPES[container],
    }
    body = stream_while_visible(
        await _open_range(resources, row, checked, byte_range),
        partial(get_visible_render, resources.database, caller, job_id),
    )
    return _range_response(body, byte_range, headers)


async def _open_range(
    resources: Resources, row: RowMapping, checked: ObjectVersion, byte_range: ByteRange
) -> AsyncIterator[bytes]:
    """A whole video is compared with its digest on the way, a part is of the version that was checked.

    Raises ObjectStoreError, also if there is another version now.
    """
    if byte_range.stop - byte_range.start == byte_range.size:
        return await stream_whole_video(resources, row)
    return await open_stream(resources.objects, checked.ref, byte_range.start, byte_range.stop, checked.etag)


def _range_response(body: AsyncIterator[bytes], byte_range: ByteRange, headers: dict[str, str]) -> Response:
    headers |= {
        "Accept-Ranges": "bytes",
        "Content-Length": str(byte_range.stop - byte_range.start),
        **ASK_FIRST,
    }
    if byte_range.partial:
        headers["Content-Range"] = f"bytes {byte_range.start}-{byte_range.stop - 1}/{byte_range.size}"
    return StreamingResponse(body, 206 if byte_range.partial else 200, headers)


@router.get(
    "/{job_id:uuid}/poster",
    summary="The first frame as a JPEG",
    response_class=Response,
    responses={200: {"description": "The image", "content": JPEG_CONTENT}, **error_responses(409)},
)
async def poster(job_id: UUID, caller: CallerDep, resources: ResourcesDep) -> Response:
    """The first frame of the video, for players."""
    row = await get_visible_render(resources.database, caller, job_id)
    if row["poster_key"] is None:
        raise Conflict(f"the poster is not there: the render is {row['status']}")
    return Response(await read_file(resources, row, _file_name(row["poster_key"])), media_type="image/jpeg")


@router.get(
    "/{job_id:uuid}/receipt",
    summary="The render receipt",
    response_class=StreamingResponse,
    responses={200: {"description": "One JSON document per line", "content": NDJSON_CONTENT}, **error_responses(409)},
)
async def receipt(job_id: UUID, caller: CallerDep, resources: ResourcesDep) -> Response:
    """NDJSON: one line per output frame (source, decoder, and the replacement with its reason), then a summary."""
    row = await get_visible_render(resources.database, caller, job_id)
    if row["receipt_key"] is None:
        raise Conflict(f"the receipt is not there: the render is {row['status']}")
    check = partial(get_visible_render, resources.database, caller, job_id)
    body = stream_while_visible(await stream_file(resources, row, _file_name(row["receipt_key"])), check)
    return StreamingResponse(body, media_type="application/x-ndjson")


@router.get(
    "/{job_id:uuid}/preview.{kind}",
    summary="The preview strip, or its times",
    response_class=Response,
    responses={
        200: {
            "description": "The thumbnail sheet, or its WebVTT cues",
            "headers": ETAG_HEADERS,
            "content": JPEG_CONTENT | VTT_CONTENT,
        },
        304: {"description": "Not modified"},
        **error_responses(409),
    },
)
async def preview(
    job_id: UUID,
    kind: Annotated[Literal["jpg", "vtt"], Path(description="jpg: the thumbnails; vtt: their times")],
    caller: CallerDep,
    resources: ResourcesDep,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """For the seek bar of a player. Request it with `outputs: ["preview_strip"]`."""
    row = await get_visible_render(resources.database, caller, job_id)
    _require_artifact(row, "preview_strip")
    return await _artifact_response(resources, row, f"preview.{kind}", if_none_match)


@router.get(
    "/{job_id:uuid}/keogram.png",
    summary="The keogram",
    response_class=Response,
    responses={
        200: {"description": "One column per frame", "headers": ETAG_HEADERS, "content": PNG_CONTENT},
        304: {"description": "Not modified"},
        **error_responses(409),
    },
)
async def keogram(
    job_id: UUID, caller: CallerDep, resources: ResourcesDep, if_none_match: IfNoneMatch = None
) -> Response:
    """The middle column of every frame, side by side. Request it with `outputs: ["keogram"]`."""
    row = await get_visible_render(resources.database, caller, job_id)
    _require_artifact(row, "keogram")
    return await _artifact_response(resources, row, ARTIFACT_FILES["keogram"], if_none_match)


async def _artifact_response(resources: Resources, row: RowMapping, name: str, if_none_match: str | None) -> Response:
    """The file, or 304. Those of versions that kept no digests have no ETag."""
    headers = dict(ASK_FIRST)
    if digest := row["digests"].get(name):
        headers["ETag"] = f'"{digest}"'
        if not_modified := not_modified_response(if_none_match, headers["ETag"]):
            return not_modified
    return Response(await read_file(resources, row, name), headers=headers, media_type=ARTIFACT_MEDIA_TYPES[name])


def _require_artifact(row: RowMapping, output: Output) -> None:
    if output not in row["options"].get("outputs", ()):
        raise Conflict(f'it was not asked for: render with outputs: ["{output}"]')
    if row["video_key"] is None:
        raise Conflict(f"it is not there: the render is {row['status']}")


def _file_name(key: str) -> str:
    return key.rpartition("/")[2]
