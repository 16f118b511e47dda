"""The newest finished render of an experiment, a dataset or a preset, under one address, and its video."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from service.errors import FieldProblem, InvalidRequest, NotFound
from service.routers.http.conditional_requests import ASK_FIRST, IfNoneMatch
from service.routers.http.dependencies import CallerDep, Resources, ResourcesDep, require_scope
from service.routers.http.fields import RequestModel
from service.routers.http.problems import error_responses
from service.routers.videos.files import VIDEO_RESPONSES, IfRange, Range, video
from service.routers.videos.models import RenderDetail
from service.routers.videos.picture_options import PresetReference
from service.routers.videos.renders import get_video
from service.store.catalog import presets
from service.store.database import Caller
from service.store.renders import queries
from service.store.renders.queries import RenderFilter

router = APIRouter(prefix="/api/videos/latest", tags=["videos"], dependencies=[Depends(require_scope("videos:read"))])
NONE_TO_SEE = "there is no finished render of this kind that you may see"
# So many may be deleted in the moment in which they are asked for.
MAX_DELETED = 5
Answer = TypeVar("Answer")
THIS_RENDER = {
    "Content-Location": {"description": "The address that always means this render", "schema": {"type": "string"}}
}


class LatestQuery(RequestModel):
    """Which renders are meant; all that the caller may see, unless something is said."""

    experiment_id: UUID | None = Field(None, description="only renders of this experiment")
    dataset_id: UUID | None = Field(None, description="only renders of this dataset")
    preset: PresetReference = Field(
        None,
        min_length=1,
        max_length=200,
        description="only renders for which a request named this preset: its id or name",
        examples=["daily overview"],
    )


class LatestVideoQuery(LatestQuery):
    """Which video is meant, and how to send it."""

    redirect: bool = Field(False, description="redirect to a presigned URL if the object store supports it")


async def find_latest(resources: Resources, caller: Caller, query: LatestQuery) -> UUID:
    """The newest finished render that the query means. Raises NotFound, and InvalidRequest for an ambiguous preset."""
    missing = NotFound(NONE_TO_SEE)
    async with resources.database.caller_transaction(caller) as connection:
        found = await presets.find(connection, query.preset, caller.subject) if query.preset else []
        if query.preset and not found:
            raise missing
        if len(found) > 1:
            detail = "several people share a preset of this name with you: name its id"
            raise InvalidRequest(detail, errors=(FieldProblem(detail, "ambiguous", parameter="preset"),))
        preset = found[0]["id"] if found else None
        filters = RenderFilter(experiment_id=query.experiment_id, dataset_id=query.dataset_id, preset_id=preset)
        render = await queries.find_latest(connection, filters)
    if render is None:
        raise missing
    return render


async def read_latest(
    resources: Resources, caller: Caller, query: LatestQuery, read: Callable[[UUID], Awaitable[Answer]]
) -> tuple[UUID, Answer]:
    """The newest finished render, and what `read` answers for it. One that is deleted meanwhile is none any more.

    Raises what `find_latest` and `read` do.
    """
    for _ in range(MAX_DELETED):
        render = await find_latest(resources, caller, query)
        with suppress(NotFound):
            return render, await read(render)
    raise NotFound(NONE_TO_SEE)


@router.get(
    "",
    summary="Status of the newest finished render",
    response_model=RenderDetail,
    responses={200: {"headers": THIS_RENDER}, **error_responses(404)},
)
async def latest_status(
    query: Annotated[LatestQuery, Query()], response: Response, caller: CallerDep, resources: ResourcesDep
) -> RenderDetail:
    """Of the renders that the caller may see and that have succeeded, the one that was asked for last. A newer one that
    is still rendered, or has failed, does not count. Answers 404 if there is none."""
    render, status = await read_latest(resources, caller, query, lambda job: get_video(job, caller, resources))
    response.headers.update(ASK_FIRST | {"Content-Location": f"/api/videos/{render}"})
    return status


@router.get(
    "/video",
    summary="The newest finished video",
    response_class=StreamingResponse,
    responses=VIDEO_RESPONSES | error_responses(404),
)
async def latest_video(
    query: Annotated[LatestVideoQuery, Query()],
    caller: CallerDep,
    resources: ResourcesDep,
    range_: Range = None,
    if_range: IfRange = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The video of the newest finished render, always whole and of one render. Its `ETag` changes with the render, so a
    cache asks first; parts that belong together need `If-Range`, or the address in `Content-Location`."""

    async def send(job: UUID) -> Response:
        return await video(job, caller, resources, range_, if_range, if_none_match, query.redirect)

    render, answer = await read_latest(resources, caller, query, send)
    answer.headers.update(ASK_FIRST | {"Content-Location": f"/api/videos/{render}/video"})
    return answer
