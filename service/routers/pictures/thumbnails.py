"""Sheets of thumbnails at several densities, so that a dataset of any length can be scrubbed."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import FieldProblem, NotFound
from service.plan.preview import (
    SHEET_COLUMNS,
    SHEET_FRAMES,
    SHEET_ROWS,
    SheetLevel,
    ThumbnailSheet,
    cell_size,
    sheet_levels,
)
from service.plan.tone import resolve_tone
from service.routers.catalog.access import get_visible_dataset
from service.routers.http.conditional_requests import ETAG_HEADERS, IfNoneMatch, not_modified_response
from service.routers.http.dependencies import CallerDep, LimitsDep, ResourcesDep, SourcesDep, require_scope
from service.routers.http.fields import EXAMPLE_DATASET_ID
from service.routers.http.object_streams import binary_content
from service.routers.http.problems import error_responses
from service.routers.pictures.delivery import PictureName, respond_with
from service.store.catalog import frames
from service.store.catalog.datasets import DatasetRow
from service.store.catalog.source_access import check_source, require_source

router = APIRouter(prefix="/api/datasets", tags=["datasets"], dependencies=[Depends(require_scope("catalog:read"))])
MAX_LEVEL, MAX_SHEET = 18, 2**53


class ThumbnailLevel(BaseModel):
    """One density: every `stride`-th frame."""

    level: int = Field(examples=[1])
    stride: int = Field(description="from one cell to the next, in frames", examples=[10])
    sheets: int = Field(description="how many sheets there are", examples=[100])


class Thumbnails(BaseModel):
    """How the thumbnails of a dataset are arranged. Cell `c` of sheet `n` shows frame
    `(n * frames_per_sheet + c) * stride`; cells follow each other in rows, from the top left. A frame that cannot be
    read is a cross on a dark ground."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "frame_count": 25_000,
                    "cell_width": 160,
                    "cell_height": 90,
                    "columns": SHEET_COLUMNS,
                    "rows": SHEET_ROWS,
                    "frames_per_sheet": SHEET_FRAMES,
                    "url_template": f"/api/datasets/{EXAMPLE_DATASET_ID}/thumbnails/{{level}}/{{number}}",
                    "levels": [{"level": 0, "stride": 1, "sheets": 250}],
                }
            ]
        }
    )
    frame_count: int = Field(description="frames of the dataset")
    cell_width: int = Field(description="in pixels")
    cell_height: int = Field(description="in pixels")
    columns: int = Field(description="cells in a row")
    rows: int = Field(description="rows of a sheet; the last sheet has as many as it needs")
    frames_per_sheet: int = Field(description="cells of a sheet")
    url_template: str = Field(description="address of a sheet, with `{level}` and `{number}`")
    levels: list[ThumbnailLevel] = Field(description="from all frames to the first density that fits on one sheet")


@router.get("/{dataset_id}/thumbnails", summary="How thumbnails are arranged", response_model=Thumbnails)
async def describe_thumbnails(dataset_id: UUID, caller: CallerDep, resources: ResourcesDep) -> Thumbnails:
    """The size of a cell, and the sheets of each density. It changes with the dataset."""
    async with resources.database.caller_transaction(caller) as connection:
        dataset = await get_visible_dataset(connection, dataset_id)
    width, height = cell_size(dataset.width, dataset.height)
    return Thumbnails(
        frame_count=dataset.frame_count,
        cell_width=width,
        cell_height=height,
        columns=SHEET_COLUMNS,
        rows=SHEET_ROWS,
        frames_per_sheet=SHEET_FRAMES,
        url_template=f"/api/datasets/{dataset_id}/thumbnails/{{level}}/{{number}}",
        levels=[
            ThumbnailLevel(level=one.level, stride=one.stride, sheets=one.sheets)
            for one in sheet_levels(dataset.frame_count)
        ],
    )


@router.get(
    "/{dataset_id}/thumbnails/{level}/{number}",
    summary="A sheet of thumbnails",
    response_class=Response,
    responses={
        200: {"description": "The sheet", "headers": ETAG_HEADERS, "content": binary_content("image/jpeg", "a JPEG")},
        304: {"description": "Not modified"},
        **error_responses(429),
    },
)
async def thumbnail_sheet(
    dataset_id: UUID,
    level: Annotated[int, Path(ge=0, le=MAX_LEVEL, description="density: every 10^level-th frame")],
    number: Annotated[int, Path(ge=0, le=MAX_SHEET, description="number of the sheet in this density")],
    caller: CallerDep,
    resources: ResourcesDep,
    sources: SourcesDep,
    limits: LimitsDep,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A JPEG of up to 100 small pictures, arranged as `/thumbnails` says, which a worker makes and the service caches.
    Answers 503 with `Retry-After` if making it takes longer than 5 s."""
    async with resources.database.caller_transaction(caller) as connection:
        dataset = await get_visible_dataset(connection, dataset_id)
        check_source(dataset, sources)
        density = _find_level(dataset, level, number)
        sheet = await _plan_sheet(connection, dataset, density, number, limits.max_pixels)
    if not_modified := not_modified_response(if_none_match, f'"{sheet.digest}"'):
        return not_modified
    name = PictureName(f"sheet {number} of level {level}", "number")
    response = await respond_with(resources, sheet, caller, name)
    async with resources.database.caller_transaction(caller) as connection:  # the right may have ended meanwhile
        await get_visible_dataset(connection, dataset_id)
    async with resources.database.service_transaction() as connection:
        await require_source(connection, dataset_id, sources)
    return response


def _find_level(dataset: DatasetRow, level: int, number: int) -> SheetLevel:
    """Raises NotFound."""
    levels = sheet_levels(dataset.frame_count)
    if level >= len(levels):
        detail = f"there is no level {level}: the dataset has {len(levels)} levels of thumbnails"
        raise NotFound(detail, (FieldProblem(detail, "out_of_range", parameter="level"),))
    if number >= levels[level].sheets:
        detail = f"there is no sheet {number}: level {level} has {levels[level].sheets} sheets"
        raise NotFound(detail, (FieldProblem(detail, "out_of_range", parameter="number"),))
    return levels[level]


async def _plan_sheet(
    connection: AsyncConnection, dataset: DatasetRow, level: SheetLevel, number: int, max_pixels: int
) -> ThumbnailSheet:
    """Of the frames as the last scan found them."""
    list_frames = frames.list_video_frames_at if dataset.kind == "video" else frames.list_frames_at
    shown = await list_frames(connection, dataset.id, level.frames_of(number, dataset.frame_count))
    cell, tone = cell_size(dataset.width, dataset.height), resolve_tone(None, dataset.levels)
    return ThumbnailSheet(dataset.id, dataset.kind, dataset.bucket, tuple(shown), cell, max_pixels, tone)
