"""The image of a frame: its stored bytes, or a preview that a worker renders. This process decodes no images."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import StreamingResponse

from service.errors import NotFound
from service.plan.preview import FramePreview
from service.plan.render_plan import FrameRef, ObjectRef
from service.plan.tone import resolve_tone
from service.routers.catalog.access import get_visible_dataset, require_visible_dataset
from service.routers.http.conditional_requests import ETAG_HEADERS, IfNoneMatch, not_modified_response
from service.routers.http.dependencies import CallerDep, LimitsDep, ResourcesDep, require_scope
from service.routers.http.fields import MAX_INT64
from service.routers.http.object_streams import (
    UNKNOWN_MEDIA_TYPE,
    binary_content,
    open_stream,
    stream_while_visible,
)
from service.routers.http.problems import error_responses
from service.routers.pictures.delivery import PictureName, cannot_show, image_headers, respond_with
from service.store.catalog import frames
from service.store.catalog.datasets import DatasetRow
from service.store.catalog.source_access import check_source
from service.store.database import Caller, Database
from service.store.objects.object_store import ObjectStore

router = APIRouter(prefix="/api/datasets", tags=["datasets"])
MAX_PREVIEW_WIDTH = 1920
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


@dataclass(frozen=True, slots=True)
class FrameView:
    """A frame that the caller may see. The scan sets `format`, `problem`, `size` (width, height in pixels, upright) and
    `pixel_bytes` (of the samples of one pixel), but not for frames of videos."""

    dataset: DatasetRow
    frame: FrameRef
    in_video: bool
    format: str | None = None
    problem: str | None = None
    size: tuple[int, int] | None = None
    pixel_bytes: int = 0

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
    view = await load_frame(resources.database, caller, dataset_id, index)
    check_source(view.dataset, resources.sources)
    if width is None and not view.in_video:
        check = partial(require_visible_dataset, resources.database, caller, dataset_id)
        return await _stream_original(resources.objects, view, if_none_match, check)
    if view.problem:
        raise cannot_show(PictureName(f"frame {index}", "index"), view.problem)
    plan = await _plan_preview(resources.objects, view, width or MAX_PREVIEW_WIDTH, limits.max_pixels)
    if (not_modified := not_modified_response(if_none_match, f'"{plan.digest}"')) is not None:
        return not_modified
    response = await respond_with(resources, plan, caller, PictureName(f"frame {index}", "index"))
    # The right may have ended while a worker rendered.
    check_source((await load_frame(resources.database, caller, dataset_id, index)).dataset, resources.sources)
    return response


async def load_frame(database: Database, caller: Caller, dataset_id: UUID, index: int) -> FrameView:
    """The frame as the scan has seen it. Raises NotFound."""
    async with database.caller_transaction(caller) as connection:
        dataset = await get_visible_dataset(connection, dataset_id)
        if dataset.kind == "video":
            if frame := await frames.get_video_frame(connection, dataset_id, index):
                return FrameView(dataset, frame, in_video=True)
        elif row := await frames.get_frame(connection, dataset_id, index):
            position = {name: row[name] for name in ("index", "key", "etag", "size", "page", "page_offset")}
            size = (row["width"], row["height"]) if row["width"] else None
            facts = row["format"], row["problem"], size, _pixel_bytes(row["bits"] or 0, gray=row["gray"])
            return FrameView(dataset, FrameRef(**position), False, *facts)
    raise NotFound("there is no such frame in this dataset")


def _pixel_bytes(bits: int, *, gray: bool | None) -> int:
    """Samples are held in 1, 2, 4 or 8 bytes."""
    sample_bytes = next((width for width in (1, 2, 4) if bits <= 8 * width), 8)
    return sample_bytes if gray else 3 * sample_bytes


async def _stream_original(
    objects: ObjectStore, view: FrameView, if_none_match: str | None, check: Callable[[], Awaitable[object]]
) -> Response:
    info = await objects.head(view.ref)
    tag = f'"{info.etag}"'
    if not_modified := not_modified_response(if_none_match, tag):
        return not_modified
    headers = image_headers(tag) | {"Content-Length": str(info.size)}
    media_type = MEDIA_TYPES.get(view.format or "", UNKNOWN_MEDIA_TYPE)
    body = stream_while_visible(await open_stream(objects, view.ref, 0, info.size, info.etag), check)
    return StreamingResponse(body, 200, headers, media_type)


async def frame_as_stored(objects: ObjectStore, view: FrameView) -> FrameRef:
    """The frame with the object as it is now; it may have changed since the scan. Raises ObjectNotFound."""
    info = await objects.head(view.ref)
    return replace(view.frame, etag=info.etag, size=info.size)


async def _plan_preview(objects: ObjectStore, view: FrameView, width: int, max_pixels: int) -> FramePreview:
    """Raises ObjectNotFound."""
    now, dataset = await frame_as_stored(objects, view), view.dataset
    tone = resolve_tone(None, dataset.levels)
    return FramePreview(dataset.id, dataset.kind, dataset.bucket, now, width, max_pixels, tone)
