"""What was made besides a video: the preview strip with its times, and the keogram."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Response
from sqlalchemy import RowMapping

from service.errors import Conflict
from service.plan.formats import ARTIFACT_FILES, Output
from service.plan.render_plan import ObjectRef
from service.routers.deps import CallerDep, DatabaseDep, ObjectsDep, require
from service.routers.problems import described
from service.routers.videos import visible
from service.store.segment_keys import render_object

router = APIRouter(prefix="/api/videos", tags=["videos"], dependencies=[Depends(require("videos:read"))])
JPEG = {"image/jpeg": {"schema": {"type": "string", "format": "binary"}, "example": "(bytes of a JPEG file)"}}
PNG = {"image/png": {"schema": {"type": "string", "format": "binary"}, "example": "(bytes of a PNG file)"}}
CUES = "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\npreview.jpg#xywh=0,0,160,90\n"
VTT = {"text/vtt": {"schema": {"type": "string"}, "example": CUES}}
KEEP = {"Cache-Control": "private, max-age=3600"}


@router.get(
    "/{job_id:uuid}/preview.{kind}",
    summary="The preview strip, or its times",
    response_class=Response,
    responses={200: {"description": "Small pictures in rows, or WebVTT", "content": JPEG | VTT}, **described(409)},
)
async def preview(
    job_id: UUID,
    kind: Annotated[Literal["jpg", "vtt"], Path(description="jpg: the pictures; vtt: which belongs to which time")],
    who: CallerDep,
    database: DatabaseDep,
    objects: ObjectsDep,
) -> Response:
    """For the seek bar of a player; asked for with `outputs: ["preview_strip"]`."""
    _check(await visible(database, who, job_id), "preview_strip")
    data = await objects.get(ObjectRef(objects.bucket, render_object(job_id, f"preview.{kind}")))
    return Response(data, media_type="image/jpeg" if kind == "jpg" else "text/vtt", headers=KEEP)


@router.get(
    "/{job_id:uuid}/keogram.png",
    summary="The keogram",
    response_class=Response,
    responses={200: {"description": "A column for each frame", "content": PNG}, **described(409)},
)
async def keogram(job_id: UUID, who: CallerDep, database: DatabaseDep, objects: ObjectsDep) -> Response:
    """The middle column of every frame, side by side; asked for with `outputs: ["keogram"]`."""
    _check(await visible(database, who, job_id), "keogram")
    data = await objects.get(ObjectRef(objects.bucket, render_object(job_id, ARTIFACT_FILES["keogram"])))
    return Response(data, media_type="image/png", headers=KEEP)


def _check(row: RowMapping, output: Output) -> None:
    if output not in row["options"].get("outputs", ()):
        raise Conflict(f'it was not asked for: render with outputs: ["{output}"]')
    if row["status"] != "succeeded":
        raise Conflict(f"it is not there: the render is {row['status']}")
