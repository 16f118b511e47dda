"""The samples of a frame, or of a window of it, as a NumPy array. A worker reads them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import StreamingResponse

from service.errors import FieldProblem, InvalidRequest
from service.plan.preview import MAX_ARRAY_BYTES, SampleArray, split_array_head
from service.routers.catalog.access import require_visible_dataset
from service.routers.http.conditional_requests import ETAG_HEADERS, IfNoneMatch, not_modified_response
from service.routers.http.dependencies import CallerDep, LimitsDep, ResourcesDep, require_scope
from service.routers.http.fields import MAX_INT64
from service.routers.http.object_streams import binary_content, stream_while_visible
from service.routers.http.problems import error_responses
from service.routers.pictures.delivery import MEDIA_TYPES, PictureName, cannot_show, image_headers, open_made
from service.routers.pictures.frame_images import FrameView, frame_as_stored, load_frame
from service.routers.pictures.frame_samples import require_image, require_inside
from service.store.catalog.source_access import check_source

router = APIRouter(prefix="/api/datasets", tags=["datasets"])
CONVERSIONS_HEADER = "Reelmill-Conversions"
ARRAY_HEADERS = ETAG_HEADERS | {
    CONVERSIONS_HEADER: {
        "description": "JSON list of what was done to the stored samples, such as blending of transparent ones; absent "
        "if nothing was",
        "schema": {"type": "string"},
    }
}


@dataclass(frozen=True, slots=True)
class ArrayWindow:
    """A window in pixels of the upright frame, from (`x`, `y`) on; without a side it ends where the frame does."""

    x: Annotated[int, Query(ge=0, le=MAX_INT64, description="left column of the window")] = 0
    y: Annotated[int, Query(ge=0, le=MAX_INT64, description="its top row")] = 0
    width: Annotated[int | None, Query(ge=1, le=MAX_INT64, description="columns; by default up to the right")] = None
    height: Annotated[int | None, Query(ge=1, le=MAX_INT64, description="rows; by default down to the bottom")] = None

    def within(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """(left, top, width, height) in a frame of this size. Raises InvalidRequest if it is not inside of that."""
        require_inside(size, self.x, self.y)
        width, height = size[0] - self.x, size[1] - self.y
        for name, wanted, most in (("width", self.width, width), ("height", self.height, height)):
            if wanted is not None and wanted > most:
                shape = f"the frame has {size[0]} x {size[1]} pixels"
                raise _window_error(f"{name} must be at most {most} there: {shape}", "out_of_range", name)
        return self.x, self.y, self.width or width, self.height or height


@router.get(
    "/{dataset_id}/frames/{index}/array",
    summary="Samples of a frame as an array",
    response_class=Response,
    responses={
        200: {
            "description": "NPY 1.0 (`numpy.load`) in C order and little-endian: (height, width), or (height, width, 3)"
            " of red, green, blue",
            "headers": ARRAY_HEADERS,
            "content": binary_content(MEDIA_TYPES["npy"], "an NPY file"),
        },
        304: {"description": "Not modified"},
        **error_responses(429),
    },
    dependencies=[Depends(require_scope("catalog:read"))],
)
async def frame_array(
    dataset_id: UUID,
    index: Annotated[int, Path(ge=0, le=MAX_INT64, description="position in the sequence")],
    caller: CallerDep,
    resources: ResourcesDep,
    limits: LimitsDep,
    window: Annotated[ArrayWindow, Depends()],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The samples that the file holds, upright, before any window of levels and without conversion of colours: 16 bits
    stay 16 bits. At most 64 MiB at once; larger frames are read in windows. Source videos have none. Answers 422 with
    the reason if the frame is damaged, and 503 with `Retry-After` if reading it takes longer than 5 s."""
    view, name = await load_frame(resources.database, caller, dataset_id, index), PictureName(f"frame {index}", "index")
    check_source(view.dataset, resources.sources)
    if view.problem:
        raise cannot_show(name, view.problem)
    place = _find_window(view, name, window)
    now = await frame_as_stored(resources.objects, view)
    array = SampleArray(view.dataset.id, view.dataset.bucket, now, view.size or (0, 0), place, limits.max_pixels)
    if (not_modified := not_modified_response(if_none_match, f'"{array.digest}"')) is not None:
        return not_modified
    size, chunks = await open_made(resources, array, caller, name)
    # The right may have ended while a worker read it.
    check_source((await load_frame(resources.database, caller, dataset_id, index)).dataset, resources.sources)
    beginning = await anext(chunks)
    conversions, rest = split_array_head(beginning)
    headers = image_headers(f'"{array.digest}"') | {"Content-Length": str(size - len(beginning) + len(rest))}
    headers |= {CONVERSIONS_HEADER: conversions} if conversions != "[]" else {}
    check = partial(require_visible_dataset, resources.database, caller, dataset_id)
    body = stream_while_visible(_with_beginning(rest, chunks), check)
    return StreamingResponse(body, media_type=MEDIA_TYPES[array.suffix], headers=headers)


async def _with_beginning(beginning: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield beginning
    async for chunk in rest:
        yield chunk


def _find_window(view: FrameView, name: PictureName, window: ArrayWindow) -> tuple[int, int, int, int]:
    """Raises InvalidRequest, and DamagedFrame for a frame that no scan has measured."""
    require_image(view)
    if view.size is None:
        raise cannot_show(name, "its size is not known: scan the dataset")
    left, top, width, height = window.within(view.size)
    if width * height * view.pixel_bytes > MAX_ARRAY_BYTES:
        parameter, rows = "height", MAX_ARRAY_BYTES // (width * view.pixel_bytes)
        advice = f"ask for windows with a height of at most {rows}"
        if not rows:
            parameter, advice = "width", "ask for windows of a smaller width and height"
        size = f"{width} x {height} pixels of {view.pixel_bytes} bytes"
        raise _window_error(
            f"{size} are more than the {MAX_ARRAY_BYTES} bytes of one answer: {advice}", "too_large", parameter
        )
    return left, top, width, height


def _window_error(detail: str, code: str, parameter: str) -> InvalidRequest:
    return InvalidRequest(detail, errors=(FieldProblem(detail, code, parameter=parameter),))
