"""Output frames of a render, exactly: decoded by a worker from the segment, or from the finished video."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Response
from sqlalchemy import RowMapping

from service.errors import Conflict, FieldProblem, NotFound
from service.plan.preview import OutputFrame
from service.plan.render_plan import RenderOptions
from service.routers.http.conditional_requests import ETAG_HEADERS, IfNoneMatch, not_modified_response
from service.routers.http.dependencies import CallerDep, Resources, ResourcesDep, require_scope
from service.routers.http.fields import MAX_INT64
from service.routers.http.object_streams import binary_content
from service.routers.http.problems import error_responses
from service.routers.pictures.delivery import DamagedFrame, PictureName, respond_with
from service.routers.videos.finished_files import require_video
from service.routers.videos.renders import get_visible_render
from service.store.cache import segments
from service.store.cache.segments import FrameCount
from service.store.database import Caller
from service.store.objects.keys import segment_key

router = APIRouter(prefix="/api/videos", tags=["videos"], dependencies=[Depends(require_scope("videos:read"))])


@router.get(
    "/{job_id:uuid}/frames/{k}/image",
    summary="One frame of the video",
    response_class=Response,
    responses={
        200: {"description": "The frame", "headers": ETAG_HEADERS, "content": binary_content("image/png", "a PNG")},
        304: {"description": "Not modified"},
        **error_responses(409, 429),
    },
)
async def output_frame_image(
    job_id: UUID,
    k: Annotated[int, Path(ge=0, le=MAX_INT64, description="number of the output frame, as `output` in the receipt")],
    caller: CallerDep,
    resources: ResourcesDep,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Output frame `k` as a PNG of what a decoder makes of it, with 16 bits if it has more than 8. While the render is
    running, those frames are there before which all segments are finished; the others are answered with 409."""
    row = await get_visible_render(resources.database, caller, job_id)
    async with resources.database.service_transaction() as connection:
        counts = await segments.list_frame_counts(connection, job_id)
        await segments.touch_segments(connection, job_id)
    _require_in_range(row, counts, k)
    if (frame := _in_segment(row, counts, k)) is not None:
        try:
            return await _respond(resources, caller, frame, if_none_match)
        except (NotFound, DamagedFrame):
            if row["video_key"] is None:
                raise
    elif row["video_key"] is None:
        raise Conflict(f"output frame {k} is not there yet: the render is {row['status']}", _about(k, "not_yet"))
    return await _respond(resources, caller, await _in_video(resources, row, k), if_none_match)


async def _respond(resources: Resources, caller: Caller, frame: OutputFrame, if_none_match: str | None) -> Response:
    if not_modified := not_modified_response(if_none_match, f'"{frame.digest}"'):
        return not_modified
    response = await respond_with(resources, frame, caller, PictureName(f"output frame {frame.number}", "k"))
    await get_visible_render(resources.database, caller, frame.render)  # the right may have ended meanwhile
    return response


def _require_in_range(row: RowMapping, counts: Sequence[FrameCount], k: int) -> None:
    """Raises NotFound. How many frames are skipped is known at the end only."""
    total = row["video_frames"] if row["video_key"] else None
    if total is None:
        known = [count.frames for count in counts]
        total = row["frames_total"] if None in known else sum(frames or 0 for frames in known)
    if k >= total:
        detail = f"there is no output frame {k}: the video has frames 0 to {total - 1}"
        raise NotFound(detail, _about(k, "out_of_range", detail))


def _about(k: int, code: str, detail: str = "") -> tuple[FieldProblem, ...]:
    return (FieldProblem(detail or f"output frame {k}", code, parameter="k"),)


def _in_segment(row: RowMapping, counts: Sequence[FrameCount], k: int) -> OutputFrame | None:
    """None if the segment, or one before it, is not in the cache."""
    first = 0
    for count in counts:
        if count.frames is None:
            return None
        if k < first + count.frames:
            codec = RenderOptions.from_json(row["options"]).codec
            key = segment_key(count.content_key)
            return OutputFrame(row["dataset_id"], row["id"], k, codec, key, k - first, count.sha256)
        first += count.frames
    return None


async def _in_video(resources: Resources, row: RowMapping, k: int) -> OutputFrame:
    """Raises what `require_video` raises."""
    video = await require_video(resources, row)
    codec = RenderOptions.from_json(row["options"]).codec
    return OutputFrame(row["dataset_id"], row["id"], k, codec, video.ref.key, k, None, video.etag, video.size)
