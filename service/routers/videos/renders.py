"""Routes of renders: list, status, change priority, cancel, retry, delete."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy import RowMapping

from service.clock import utc_now
from service.errors import Conflict, NotFound
from service.routers.catalog.deletion import Deleted, Force
from service.routers.catalog.deletion import to_deleted as what_went
from service.routers.http.dependencies import CallerDep, DatabaseDep, ObjectsDep, require_scope
from service.routers.http.pagination import PAGE_HEADERS, Pager
from service.routers.http.problems import error_responses
from service.routers.http.signing import SignerDep
from service.routers.videos.models import RenderChange, VideoQuery, VideoStatus
from service.store import deletion
from service.store.database import Caller, Database
from service.store.renders import lifecycle, queries
from service.store.renders.queries import RenderFilter
from service.stream.playlist import STREAMABLE_CODECS

router = APIRouter(prefix="/api/videos", tags=["videos"])
REQUIRE_READ = Depends(require_scope("videos:read"))
REQUIRE_RENDER = Depends(require_scope("videos:render"))


async def get_visible_render(database: Database, caller: Caller, job: UUID) -> RowMapping:
    """The render as the caller may see it. Raises NotFound."""
    async with database.caller_transaction(caller) as connection:
        row = await queries.get_render(connection, job)
    if row is None:
        raise NotFound("there is no such render")
    return row


async def _get_owned_render(database: Database, caller: Caller, job: UUID) -> RowMapping:
    row = await get_visible_render(database, caller, job)
    if row["owner"] != caller.subject and not caller.admin:
        raise NotFound("there is no such render of yours")
    return row


@router.get(
    "",
    summary="List renders",
    response_model=list[VideoStatus],
    responses={200: {"headers": PAGE_HEADERS}},
    dependencies=[REQUIRE_READ],
)
async def list_videos(
    request: Request,
    response: Response,
    query: Annotated[VideoQuery, Query()],
    caller: CallerDep,
    database: DatabaseDep,
    signer: SignerDep,
) -> list[VideoStatus]:
    """Those the caller may see, newest first unless `sort` says otherwise; while there are more, the `Link` header has
    the next page's address."""
    pager = Pager(signer, "videos", query.sort)
    part, filters = pager.keyset_page(query), _to_filters(query, caller)
    async with database.caller_transaction(caller) as connection:
        rows = await queries.page(connection, filters, part)
        if query.count == "exact":
            response.headers["X-Total-Count"] = str(await queries.count_renders(connection, filters))
    ids = [row["id"] for row in pager.paginate(rows, query.limit, (request, response))]
    async with database.service_transaction() as connection:
        found = {row["id"]: to_video_status(row) for row in await queries.list_statuses(connection, ids)}
    return [found[id_] for id_ in ids if id_ in found]


def _to_filters(query: VideoQuery, caller: Caller) -> RenderFilter:
    names = ("status", "experiment_id", "dataset_id", "created_after", "created_before")
    return RenderFilter(**{name: getattr(query, name) for name in names}, owner=caller.subject if query.mine else None)


@router.get("/{job_id:uuid}", summary="Status of a render", response_model=VideoStatus, dependencies=[REQUIRE_READ])
async def get_video(job_id: UUID, caller: CallerDep, database: DatabaseDep) -> VideoStatus:
    """Phase, frames, rate, time left, attempts, and the reason when it failed."""
    await get_visible_render(database, caller, job_id)
    return await get_status(database, job_id)


@router.patch(
    "/{job_id:uuid}",
    summary="Change a render's priority",
    response_model=VideoStatus,
    responses=error_responses(409),
    dependencies=[REQUIRE_RENDER],
)
async def change_video(job_id: UUID, body: RenderChange, caller: CallerDep, database: DatabaseDep) -> VideoStatus:
    """Only while it is queued; 409 once it has begun."""
    await _get_owned_render(database, caller, job_id)
    async with database.service_transaction() as connection:
        if not await lifecycle.change_priority(connection, job_id, body.priority):
            raise Conflict("the render is not waiting any more: its priority cannot be changed")
    return await get_status(database, job_id)


@router.post(
    "/{job_id:uuid}/cancel",
    summary="Cancel a render",
    response_model=VideoStatus,
    responses=error_responses(409),
    dependencies=[REQUIRE_RENDER],
)
async def cancel_video(job_id: UUID, caller: CallerDep, database: DatabaseDep) -> VideoStatus:
    """Ends it at once; segments that are done stay in the cache."""
    await _get_owned_render(database, caller, job_id)
    async with database.service_transaction() as connection:
        if not await lifecycle.cancel_render(connection, job_id):
            raise Conflict("the render has ended already")
    return await get_status(database, job_id)


@router.post(
    "/{job_id:uuid}/retry",
    status_code=202,
    summary="Retry a render",
    response_model=VideoStatus,
    responses=error_responses(409),
    dependencies=[REQUIRE_RENDER],
)
async def retry_video(job_id: UUID, caller: CallerDep, database: DatabaseDep) -> VideoStatus:
    """Another try for a failed or cancelled render; what was done is not done again."""
    row = await _get_owned_render(database, caller, job_id)
    async with database.service_transaction() as connection:
        if not await lifecycle.retry_render(connection, job_id, row["priority"]):
            raise Conflict("only a failed or cancelled render can be retried")
    return await get_status(database, job_id)


@router.delete(
    "/{job_id:uuid}",
    summary="Delete a render",
    response_model=Deleted,
    responses=error_responses(409),
    dependencies=[REQUIRE_RENDER],
)
async def delete_video(
    job_id: UUID, caller: CallerDep, database: DatabaseDep, objects: ObjectsDep, force: Force = False
) -> Deleted:
    """Removes the render, its video, poster and receipt; source frames and cached segments stay. Refused with 409 while
    it is under way, unless `force`."""
    await _get_owned_render(database, caller, job_id)
    async with database.service_transaction() as connection:
        doomed = await deletion.lock_for_deletion(connection, "render", job_id, objects.bucket)
        await deletion.execute_deletion(connection, doomed, force=force)
    return what_went(doomed)


async def get_status(database: Database, job: UUID) -> VideoStatus:
    """The newest status. Raises NotFound when the render was deleted meanwhile."""
    async with database.service_transaction() as connection:
        rows = await queries.list_statuses(connection, [job])
    if not rows:
        raise NotFound("there is no such render")
    return to_video_status(rows[0])


def to_video_status(row: RowMapping) -> VideoStatus:
    """A render row with its progress, as the API tells it."""
    base = f"/api/videos/{row['id']}"
    done, asked = row["status"] == "succeeded", row["options"].get("outputs", ())
    rate = _render_rate(row)
    left = row["frames_total"] - row["frames_done"]
    running = row["status"] == "running" and rate
    names = set(VideoStatus.model_fields) & set(row.keys())
    return VideoStatus(
        **{name: row[name] for name in names - {"error", "frames_done"}},
        job_id=row["id"],
        frames_done=row["frames_done"],
        fps=rate,
        eta_seconds=round(left / rate, 1) if running and rate else None,
        error=row["error"] or row["problem"],
        video_url=f"{base}/video" if done else None,
        poster_url=f"{base}/poster" if done else None,
        receipt_url=f"{base}/receipt" if done else None,
        stream_url=f"{base}/stream.m3u8" if _is_streamable(row) else None,
        preview_url=f"{base}/preview.vtt" if done and "preview_strip" in asked else None,
        keogram_url=f"{base}/keogram.png" if done and "keogram" in asked else None,
    )


def _is_streamable(row: RowMapping) -> bool:
    return row["status"] not in ("failed", "cancelled") and row["options"]["codec"] in STREAMABLE_CODECS


def _render_rate(row: RowMapping) -> float | None:
    if row["started_at"] is None or not row["frames_fresh"]:
        return None
    seconds = ((row["finished_at"] or utc_now()) - row["started_at"]).total_seconds()
    return round(float(row["frames_fresh"]) / seconds, 2) if seconds > 0 else None
