"""The image of a frame: its stored bytes, or a preview that a worker renders. This process decodes no images."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import StreamingResponse

from service.errors import FieldProblem, NotFound, ReelmillError, ServiceUnavailable
from service.ids import Subject
from service.plan.preview import Preview
from service.plan.render_plan import FrameRef, ObjectRef
from service.plan.tone import resolve_tone
from service.routers.catalog.access import get_visible_dataset, require_visible_dataset
from service.routers.http.conditional_requests import ASK_FIRST, ETAG_HEADERS, IfNoneMatch, not_modified_response
from service.routers.http.dependencies import CallerDep, LimitsDep, Resources, ResourcesDep, require_scope
from service.routers.http.fields import MAX_INT64
from service.routers.http.object_streams import (
    UNKNOWN_MEDIA_TYPE,
    binary_content,
    open_stream,
    stream_while_visible,
)
from service.routers.http.problems import error_responses
from service.store.cache import previews
from service.store.catalog import frames
from service.store.catalog.datasets import DatasetRow
from service.store.catalog.source_access import check_source
from service.store.database import Caller, Database
from service.store.objects.digests import ObjectLost, read_checked
from service.store.objects.object_store import ObjectNotFound, ObjectStore
from service.telemetry.metrics import FILES_LOST

log = structlog.get_logger("service.files")
router = APIRouter(prefix="/api/datasets", tags=["datasets"])
MAX_PREVIEW_WIDTH = 1920
POLL_INTERVAL_S = 0.05
MEDIA_TYPES = {"jpeg": "image/jpeg", "png": "image/png", "tiff": "image/tiff", "webp": "image/webp"}
IMAGE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The image",
        "headers": ETAG_HEADERS,
        "content": {
            name: content
            for media_type in (*MEDIA_TYPES.values(), UNKNOWN_MEDIA_TYPE)
            for name, content in binary_content(media_type, "a picture").items()
        },
    },
    304: {"description": "Not modified"},
    **error_responses(429),
}


class DamagedFrame(ReelmillError):
    status, slug, title = 422, "damaged-frame", "The frame cannot be shown"


@dataclass(frozen=True, slots=True)
class FrameView:
    """A frame that the caller may see. The scan sets `format` and `problem`, but not for frames of videos."""

    dataset: DatasetRow
    frame: FrameRef
    in_video: bool
    format: str | None = None
    problem: str | None = None

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
    index: Annotated[int, Path(ge=0, le=MAX_INT64, description="position in the sequence")],
    caller: CallerDep,
    resources: ResourcesDep,
    limits: LimitsDep,
    width: Annotated[
        int | None,
        Query(ge=16, le=MAX_PREVIEW_WIDTH, description="width of a JPEG preview; never wider than the frame"),
    ] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The stored bytes or, with `width` and for frames of source videos, a JPEG preview that a worker renders and the
    service caches. Answers 422 with the reason if the frame is damaged, and 503 with `Retry-After` if rendering takes
    longer than 5 s."""
    view = await _load_frame(resources.database, caller, dataset_id, index)
    check_source(view.dataset, resources.sources)
    if width is None and not view.in_video:
        check = partial(require_visible_dataset, resources.database, caller, dataset_id)
        return await _stream_original(resources.objects, view, if_none_match, check)
    if view.problem:
        raise _damaged_frame(index, view.problem)
    plan = await _plan_preview(resources.objects, view, width or MAX_PREVIEW_WIDTH, limits.max_pixels)
    tag = f'"{plan.digest}"'
    if (not_modified := not_modified_response(if_none_match, tag)) is not None:
        return not_modified
    data = await _get_or_render(resources, plan, caller)
    # The right may have ended while a worker rendered.
    check_source((await _load_frame(resources.database, caller, dataset_id, index)).dataset, resources.sources)
    return Response(data, media_type="image/jpeg", headers=_response_headers(tag))


async def _load_frame(database: Database, caller: Caller, dataset_id: UUID, index: int) -> FrameView:
    """Raises NotFound."""
    async with database.caller_transaction(caller) as connection:
        dataset = await get_visible_dataset(connection, dataset_id)
        if dataset.kind == "video":
            if frame := await frames.get_video_frame(connection, dataset_id, index):
                return FrameView(dataset, frame, in_video=True)
        elif row := await frames.get_frame(connection, dataset_id, index):
            position = {name: row[name] for name in ("index", "key", "etag", "size", "page", "page_offset")}
            return FrameView(dataset, FrameRef(**position), False, row["format"], row["problem"])
    raise NotFound("there is no such frame in this dataset")


async def _stream_original(
    objects: ObjectStore, view: FrameView, if_none_match: str | None, check: Callable[[], Awaitable[object]]
) -> Response:
    info = await objects.head(view.ref)
    tag = f'"{info.etag}"'
    if not_modified := not_modified_response(if_none_match, tag):
        return not_modified
    headers = _response_headers(tag) | {"Content-Length": str(info.size)}
    media_type = MEDIA_TYPES.get(view.format or "", UNKNOWN_MEDIA_TYPE)
    body = stream_while_visible(await open_stream(objects, view.ref, 0, info.size, info.etag), check)
    return StreamingResponse(body, 200, headers, media_type)


def _response_headers(tag: str) -> dict[str, str]:
    """Users upload these files: keep browsers from treating them as anything but an image."""
    return {
        "ETag": tag,
        **ASK_FIRST,
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }


async def _plan_preview(objects: ObjectStore, view: FrameView, width: int, max_pixels: int) -> Preview:
    """Plan the preview of the object as it is now; it may have changed since the scan. Raises ObjectNotFound."""
    info, frame = await objects.head(view.ref), view.frame
    now = replace(frame, etag=info.etag, size=info.size)
    dataset = view.dataset
    tone = resolve_tone(None, dataset.levels)
    return Preview(dataset.id, dataset.kind, dataset.bucket, now, width, max_pixels, tone)


async def _get_or_render(resources: Resources, preview: Preview, caller: Caller) -> bytes:
    """The JPEG from the store; if it is not there as it was written, wait for a worker to render it.

    Raises DamagedFrame, NotFound, TooManyRequests, or ServiceUnavailable after `preview_wait_s`.
    """
    database, objects = resources.database, resources.objects
    if (data := await _read_preview(database, objects, preview)) is None:
        await _wait_for_preview(database, preview, caller.subject, resources.http.preview_wait_s)
        data = await _read_preview(database, objects, preview)
    if data is None:
        detail = "the object store has lost the preview that was just rendered: have it checked"
        raise ServiceUnavailable(detail, headers={"Retry-After": "60"})
    return data


async def _read_preview(database: Database, objects: ObjectStore, preview: Preview) -> bytes | None:
    """None if it was not rendered yet, was evicted, or is damaged."""
    async with database.service_transaction() as connection:
        written = await previews.find_preview(connection, preview)
    if written is None:
        return None
    try:
        return await read_checked(objects, written)
    except ObjectNotFound as loss:
        if isinstance(loss, ObjectLost):
            FILES_LOST.labels("preview").inc()
            log.warning("a preview is rendered again", dataset=str(preview.dataset), reason=str(loss))
        return None


async def _wait_for_preview(database: Database, preview: Preview, owner: Subject, timeout_s: float) -> None:
    async with database.service_transaction() as connection:
        task = await previews.enqueue_preview(connection, preview, owner)
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout_s
    while True:
        async with database.service_transaction() as connection:
            state = await previews.get_task_state(connection, task)
        if state is None:
            raise NotFound("the dataset was deleted")
        if state["state"] == "succeeded":
            return
        if state["state"] == "failed":
            index, error = preview.frame.index, state["error"]
            if error["code"] == "changed":
                raise ServiceUnavailable(f"frame {index} was just replaced: ask again", headers={"Retry-After": "1"})
            if error["code"] == "missing":
                raise NotFound(f"frame {index} is gone: {error['reason']}")
            raise _damaged_frame(index, error["reason"])
        if clock() > deadline:
            detail = "the preview is not ready yet: a worker will make it, ask again"
            raise ServiceUnavailable(detail, headers={"Retry-After": "2"})
        await asyncio.sleep(POLL_INTERVAL_S)


def _damaged_frame(index: int, reason: str) -> DamagedFrame:
    detail = f"frame {index} cannot be shown: {reason}"
    return DamagedFrame(detail, errors=(FieldProblem(detail, "damaged_frame", parameter="index"),))
