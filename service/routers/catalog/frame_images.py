"""The image of a frame: its stored bytes, or a preview that a worker renders. Nothing is decoded in this process."""

import asyncio
from dataclasses import dataclass, replace
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import RowMapping

from service.errors import FieldProblem, NotFound, ReelmillError, ServiceUnavailable
from service.plan.preview import Preview
from service.plan.render_plan import FrameRef, ObjectRef
from service.plan.tone import resolve_tone
from service.routers.catalog.access import get_visible_dataset
from service.routers.http.conditional_requests import ETAG_HEADERS, IfNoneMatch, not_modified_response
from service.routers.http.dependencies import CallerDep, LimitsDep, ResourcesDep, require_scope
from service.routers.http.object_streams import open_stream
from service.routers.http.problems import error_responses
from service.store.cache import previews
from service.store.catalog import frames
from service.store.catalog.datasets import DatasetRow
from service.store.database import Caller, Database
from service.store.objects.object_store import ObjectNotFound, ObjectStore

router = APIRouter(prefix="/api/datasets", tags=["datasets"])
MAX_INT64 = 2**63 - 1
MAX_PREVIEW_WIDTH = 1920
POLL_INTERVAL_S = 0.05
MEDIA_TYPES = {"jpeg": "image/jpeg", "png": "image/png", "tiff": "image/tiff", "webp": "image/webp"}
UNKNOWN_MEDIA_TYPE = "application/octet-stream"
IMAGE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture",
        "headers": ETAG_HEADERS,
        "content": {
            name: {"schema": {"type": "string", "format": "binary"}, "example": "(bytes of a picture)"}
            for name in (*MEDIA_TYPES.values(), UNKNOWN_MEDIA_TYPE)
        },
    },
    304: {"description": "The caller has it already"},
    **error_responses(429),
}


class DamagedFrame(ReelmillError):
    status, slug, title = 422, "damaged-frame", "The frame cannot be shown"


@dataclass(frozen=True, slots=True)
class FrameView:
    """A frame of a dataset as the caller may see it: `row` is its row, None for a picture of a source video."""

    dataset: DatasetRow
    frame: FrameRef
    row: RowMapping | None

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef(self.dataset.bucket, self.frame.key or "")


@router.get(
    "/{dataset_id}/frames/{index}/image",
    summary="Look at a frame",
    response_class=Response,
    responses=IMAGE_RESPONSES,
    dependencies=[Depends(require_scope("catalog:read"))],
)
async def frame_image(
    dataset_id: UUID,
    index: Annotated[int, Path(ge=0, le=MAX_INT64, description="its place in the sequence")],
    caller: CallerDep,
    resources: ResourcesDep,
    limits: LimitsDep,
    width: Annotated[
        int | None,
        Query(ge=16, le=MAX_PREVIEW_WIDTH, description="a JPEG of this width, or of the frame's own if that is less"),
    ] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The stored bytes; with `width`, and always for pictures of source videos, a JPEG that a worker makes and that is
    kept for the next who asks. 422 says why a damaged frame cannot be shown; 503 with `Retry-After` that it takes
    longer than 5 s: ask again."""
    shown = await _load_frame(resources.database, caller, dataset_id, index)
    if width is None and shown.row is not None:
        return await _stream_original(resources.objects, shown, if_none_match)
    if shown.row is not None and shown.row["problem"]:
        raise _damaged_frame(index, shown.row["problem"])
    wanted = await _plan_preview(resources.objects, shown, width or MAX_PREVIEW_WIDTH, limits.max_pixels)
    tag = f'"{wanted.digest}"'
    if (same := not_modified_response(if_none_match, tag)) is not None:
        return same
    data = await _get_or_render(resources.database, resources.objects, wanted, resources.http.preview_wait_s)
    return Response(data, media_type="image/jpeg", headers=_response_headers(tag))


async def _load_frame(database: Database, caller: Caller, dataset_id: UUID, index: int) -> FrameView:
    async with database.caller_transaction(caller) as connection:
        dataset = await get_visible_dataset(connection, dataset_id)
        if dataset.kind == "video":
            frame, row = await frames.get_video_frame(connection, dataset_id, index), None
        else:
            row = await frames.get_frame(connection, dataset_id, index)
            frame = _frame_ref(row) if row else None
    if frame is None:
        raise NotFound("there is no such frame in this dataset")
    return FrameView(dataset, frame, row)


def _frame_ref(row: RowMapping) -> FrameRef:
    return FrameRef(
        row["index"], row["key"], row["etag"], row["size"], page=row["page"], page_offset=row["page_offset"]
    )


async def _stream_original(objects: ObjectStore, view: FrameView, if_none_match: str | None) -> Response:
    assert view.row is not None
    info = await objects.head(view.ref)
    tag = f'"{info.etag}"'
    headers = _response_headers(tag) | {"Content-Length": str(info.size)}
    kind = MEDIA_TYPES.get(view.row["format"] or "", UNKNOWN_MEDIA_TYPE)
    if same := not_modified_response(if_none_match, tag):
        return same
    return StreamingResponse(await open_stream(objects, view.ref, 0, info.size), 200, headers, kind)


def _response_headers(tag: str) -> dict[str, str]:
    """Stored files are a user's: no browser may take them for anything but a picture."""
    return {
        "ETag": tag,
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }


async def _plan_preview(objects: ObjectStore, view: FrameView, width: int, max_pixels: int) -> Preview:
    """Of the object as it is now, which may differ from what the scan saw. Raises ObjectMissing."""
    info, frame = await objects.head(view.ref), view.frame
    now = replace(frame, etag=info.etag, size=info.size)
    dataset = view.dataset
    tone = resolve_tone(None, dataset.levels)
    return Preview(dataset.id, dataset.kind, dataset.bucket, now, width, max_pixels, tone)


async def _get_or_render(database: Database, objects: ObjectStore, preview: Preview, timeout_s: float) -> bytes:
    """From the store, or when a worker has put it there. Raises DamagedFrame, Unavailable, NotFound."""
    ref = ObjectRef(objects.bucket, preview.key)
    try:
        return await objects.get(ref)
    except ObjectNotFound:
        await _wait_for_preview(database, preview, timeout_s)
    return await objects.get(ref)


async def _wait_for_preview(database: Database, preview: Preview, timeout_s: float) -> None:
    async with database.service_transaction() as connection:
        task = await previews.enqueue_preview(connection, preview)
    clock = asyncio.get_running_loop().time
    until = clock() + timeout_s
    while True:
        async with database.service_transaction() as connection:
            found = await previews.get_task_state(connection, task)
        if found is None:
            raise NotFound("the dataset was deleted")
        if found["state"] == "succeeded":
            return
        if found["state"] == "failed":
            raise _preview_error(preview, found["error"])
        if clock() > until:
            detail = "the preview is not ready yet: a worker will make it, ask again"
            raise ServiceUnavailable(detail, headers={"Retry-After": "2"})
        await asyncio.sleep(POLL_INTERVAL_S)


def _preview_error(preview: Preview, error: dict[str, Any]) -> ReelmillError:
    if error["code"] == "missing":
        return NotFound(f"frame {preview.frame.index} is gone: {error['reason']}")
    return _damaged_frame(preview.frame.index, error["reason"])


def _damaged_frame(index: int, reason: str) -> DamagedFrame:
    detail = f"frame {index} cannot be shown: {reason}"
    return DamagedFrame(detail, errors=(FieldProblem(detail, "damaged_frame", parameter="index"),))
