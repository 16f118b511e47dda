"""The samples of a frame as measured, such as those under a pointer. A worker reads them."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from service.errors import FieldProblem, InvalidRequest
from service.plan.preview import PATCH_SIDE, SamplePatch
from service.routers.http.conditional_requests import ETAG_HEADERS, IfNoneMatch, not_modified_response
from service.routers.http.dependencies import CallerDep, LimitsDep, ResourcesDep, require_scope
from service.routers.http.fields import MAX_INT64
from service.routers.http.problems import error_responses
from service.routers.pictures.delivery import PictureName, cannot_show, respond_with
from service.routers.pictures.frame_images import FrameView, frame_as_stored, load_frame
from service.store.catalog.source_access import check_source

router = APIRouter(prefix="/api/datasets", tags=["datasets"])


class FrameSamples(BaseModel):
    """The samples of a square of the frame, as the file holds them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "x": 640,
                    "y": 320,
                    "width": 2,
                    "height": 1,
                    "type": "uint16",
                    "channels": ["gray"],
                    "conversions": [],
                    "samples": [[[31_204], [31_377]]],
                }
            ]
        }
    )
    x: int = Field(description="of the square's left column, in pixels of the upright frame")
    y: int = Field(description="of its top row")
    width: int = Field(description="columns that there are, at most 64")
    height: int = Field(description="rows that there are, at most 64")
    type: str = Field(description="of the samples, such as `uint8`, `uint16`, `int32` or `float32`")
    channels: list[str] = Field(description="`gray`, or `red`, `green`, `blue`")
    conversions: list[str] = Field(
        description="what was done to the stored samples, such as blending of transparent ones"
    )
    samples: list[list[list[float | None]]] = Field(
        description="rows of pixels of channels; null is what is not a finite number"
    )


@router.get(
    "/{dataset_id}/frames/{index}/samples",
    summary="Measured values of a frame",
    response_class=Response,
    responses={
        200: {"description": "The samples", "headers": ETAG_HEADERS, "model": FrameSamples},
        304: {"description": "Not modified"},
        **error_responses(429),
    },
    dependencies=[Depends(require_scope("catalog:read"))],
)
async def frame_samples(
    dataset_id: UUID,
    index: Annotated[int, Path(ge=0, le=MAX_INT64, description="position in the sequence")],
    caller: CallerDep,
    resources: ResourcesDep,
    limits: LimitsDep,
    x: Annotated[int, Query(ge=0, le=MAX_INT64, description="column of a pixel, from the left")] = 0,
    y: Annotated[int, Query(ge=0, le=MAX_INT64, description="row of a pixel, from the top")] = 0,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The 64 x 64 pixels among which the given one is: squares begin at multiples of 64. The samples are those of the
    file, before any window and without conversion of colours. Source videos have none. Answers 422 with the reason if
    the frame is damaged, and 503 with `Retry-After` if reading it takes longer than 5 s."""
    view, name = await load_frame(resources.database, caller, dataset_id, index), PictureName(f"frame {index}", "index")
    check_source(view.dataset, resources.sources)
    if view.problem:
        raise cannot_show(name, view.problem)
    require_image(view)
    if view.size is not None:
        require_inside(view.size, x, y)
    now = await frame_as_stored(resources.objects, view)
    corner = x - x % PATCH_SIDE, y - y % PATCH_SIDE
    patch = SamplePatch(view.dataset.id, view.dataset.bucket, now, *corner, limits.max_pixels)
    if (not_modified := not_modified_response(if_none_match, f'"{patch.digest}"')) is not None:
        return not_modified
    response = await respond_with(resources, patch, caller, name)
    # The right may have ended while a worker read it.
    check_source((await load_frame(resources.database, caller, dataset_id, index)).dataset, resources.sources)
    return response


def require_image(view: FrameView) -> None:
    """Raises InvalidRequest for frames of videos."""
    if view.in_video:
        detail = "the values of source videos are not measured: ask for their pictures with /image"
        raise InvalidRequest(detail, errors=(FieldProblem(detail, "video_frame", parameter="dataset_id"),))


def require_inside(size: tuple[int, int], x: int, y: int) -> None:
    """Raises InvalidRequest for a pixel outside a frame of this size."""
    for parameter, place, side in (("x", x, size[0]), ("y", y, size[1])):
        if place >= side:
            detail = f"{parameter} must be less than {side}: the frame has {size[0]} x {size[1]} pixels"
            raise InvalidRequest(detail, errors=(FieldProblem(detail, "out_of_range", parameter=parameter),))
