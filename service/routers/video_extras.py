"""What was made besides a video: the preview strip with its times, and the keogram."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Response
from sqlalchemy import RowMapping

from service.errors import Conflict
from service.plan.formats import ARTIFACT_FILES, Output
from service.plan.render_plan import ObjectRef
from service.routers.deps import CallerDep, DatabaseDep, ObjectsDep, require_scope
from service.routers.problems import error_responses
from service.routers.videos import get_visible_render
from service.store.segment_keys import render_object_key

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
