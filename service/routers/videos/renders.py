"""Routes of renders: list, read, change priority, cancel, retry, delete."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import Conflict, Forbidden, NotFound
from service.routers.catalog.deletion import Deleted, Force, kept_for_others, to_deleted
from service.routers.http.dependencies import (
    CallerDep,
    DatabaseDep,
    ObjectsDep,
    Resources,
    ResourcesDep,
    require_scope,
)
from service.routers.http.pagination import PAGE_HEADERS, Pager
from service.routers.http.problems import error_responses
from service.routers.http.signing import SignerDep
from service.routers.videos.models import (
    TERMINAL_STATUSES,
    RenderChange,
    RenderDetail,
    RenderPart,
    VideoQuery,
    VideoStatus,
)
from service.store import deletion
from service.store.database import Caller, Database
from service.store.renders import lifecycle, parts, queries, requesters
from service.store.renders.queries import RenderFilter
from service.store.renders.queue_bounds import confirm_place, reserve_place
from service.store.renders.requesters import Standing
from service.store.renders.sources import require_sources
from service.store.usage import require_room
from service.stream.playlist import STREAMABLE_CODECS

router = APIRouter(prefix="/api/videos", tags=["videos"])
REQUIRE_READ = Depends(require_scope("videos:read"))
REQUIRE_RENDER = Depends(require_scope("videos:render"))
ForAll = Annotated[
    bool, Query(description="for all who asked for the render: only the owner of the experiment and admins may")
]


async def get_visible_render(database: Database, caller: Caller, job: UUID) -> RowMapping:
    """The render, if the caller may see it. Raises NotFound."""
    async with database.caller_transaction(caller) as connection:
        row = await queries.get_render(connection, job)
    if row is None:
        raise NotFound("there is no such render")
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
    resources: ResourcesDep,
    signer: SignerDep,
) -> list[VideoStatus]:
    """Renders that the caller may see, newest first unless `sort` is set. If there are more, the `Link` header has the
    URL of the next page."""
    pager = Pager(signer, "videos", query.sort)
    page = pager.keyset_page(query)
    names = ("status", "experiment_id", "dataset_id", "created_after", "created_before")
    filters = RenderFilter(
        **{name: getattr(query, name) for name in names}, requester=caller.subject if query.mine else None
    )
    async with resources.database.caller_transaction(caller) as connection:
        rows, shown = await queries.page(connection, filters, page)
        if query.count == "exact":
            response.headers["X-Total-Count"] = str(await queries.count_renders(connection, filters))
    ids = [row["id"] for row in pager.paginate(rows, shown, request, response)]
    async with resources.database.service_transaction() as connection:
        found = await queries.list_statuses(connection, ids, resources.storage.retention)
    statuses = {row["id"]: to_video_status(row, caller) for row in found}
    return [statuses[id_] for id_ in ids if id_ in statuses]


@router.get("/{job_id:uuid}", summary="Status of a render", response_model=RenderDetail, dependencies=[REQUIRE_READ])
async def get_video(job_id: UUID, caller: CallerDep, resources: ResourcesDep) -> RenderDetail:
    """Phase, frames, frame rate, remaining time, attempts and, if it failed, the reason; the request, which makes the
    same render again; which parts there are."""
    request = (await get_visible_render(resources.database, caller, job_id))["request"]
    status = await get_status(resources, job_id, caller)
    async with resources.database.service_transaction() as connection:
        found = await parts.list_parts(connection, job_id)
    return RenderDetail(**status.model_dump(), request=request, parts=[RenderPart(**asdict(part)) for part in found])


@router.patch(
    "/{job_id:uuid}",
    summary="Change a render's priority",
    response_model=VideoStatus,
    responses=error_responses(409),
    dependencies=[REQUIRE_RENDER],
)
async def change_video(job_id: UUID, body: RenderChange, caller: CallerDep, resources: ResourcesDep) -> VideoStatus:
    """A render has the highest priority that any of those who asked for it wants; this changes the caller's wish. The
    owner of the experiment and admins who did not ask for it change it for all. Answers 409 unless the render is
    queued."""
    async with resources.database.service_transaction() as connection:
        standing = await requesters.lock_render(connection, caller, job_id)
        if not await requesters.change_priority(connection, standing, caller, body.priority):
            raise Conflict("the render is not waiting any more: its priority cannot be changed")
    return await get_status(resources, job_id, caller)


@router.post(
    "/{job_id:uuid}/cancel",
    summary="Cancel a render",
    response_model=VideoStatus,
    responses=error_responses(409),
    dependencies=[REQUIRE_RENDER],
)
async def cancel_video(
    job_id: UUID, caller: CallerDep, resources: ResourcesDep, for_all: ForAll = False
) -> VideoStatus:
    """Stops the render immediately. Finished segments stay in the cache. If others asked for it, too, it goes on for
    them (`requested_by_others`), and is no longer the caller's (`mine`)."""
    async with resources.database.service_transaction() as connection:
        standing = await requesters.lock_render(connection, caller, job_id)
        if standing.render["status"] in TERMINAL_STATUSES:
            raise Conflict("the render has ended already")
        if _ends_for_all(standing, for_all=for_all):
            await lifecycle.cancel_render(connection, job_id)
        else:
            await requesters.remove_requesters(connection, job_id, [caller.subject])
    return await get_status(resources, job_id, caller)


@router.post(
    "/{job_id:uuid}/retry",
    status_code=202,
    summary="Retry a render",
    response_model=VideoStatus,
    responses=error_responses(409),
    dependencies=[REQUIRE_RENDER],
)
async def retry_video(job_id: UUID, caller: CallerDep, resources: ResourcesDep) -> VideoStatus:
    """Restarts a failed or cancelled render. Finished segments are reused. The caller is one of those who asked for it
    then; only they, the owner of the experiment and admins may."""
    async with resources.database.service_transaction() as connection:
        await restart_render(connection, caller, job_id, resources)
    return await get_status(resources, job_id, caller)


async def restart_render(connection: AsyncConnection, caller: Caller, job: UUID, resources: Resources) -> None:
    """Queue a failed or cancelled render again, for this caller. Run as the service, and end the transaction then.

    Raises Conflict if it is neither, NotFound, Forbidden, TooManyRequests, QueueFull, QuotaExceeded.
    """
    limits = resources.limits
    standing = await requesters.lock_render(connection, caller, job)
    await require_sources(connection, job, resources.sources)
    if standing.render["status"] not in ("failed", "cancelled"):
        raise Conflict("only a failed or cancelled render can be retried")
    await reserve_place(connection, caller.subject, limits)
    await require_room(connection, caller.subject, resources.storage.quota_of(caller.subject))
    await requesters.add_requester(connection, job, caller, 0)
    await lifecycle.retry_render(connection, job)
    await confirm_place(connection, caller.subject, limits)


@router.delete(
    "/{job_id:uuid}",
    summary="Delete a render",
    response_model=Deleted,
    responses=error_responses(409),
    dependencies=[REQUIRE_RENDER],
)
async def delete_video(
    job_id: UUID,
    caller: CallerDep,
    database: DatabaseDep,
    objects: ObjectsDep,
    force: Force = False,
    for_all: ForAll = False,
) -> Deleted:
    """Deletes the render, its video, poster and receipt, and the cached segments that no other render uses. Frames are
    kept. If others asked for it, too, it stays theirs (`requested_by_others`), and is no longer the caller's. Answers
    409 while the render is unfinished, unless `force` is set."""
    async with database.service_transaction() as connection:
        standing = await requesters.lock_render(connection, caller, job_id)
        if not _ends_for_all(standing, for_all=for_all):
            await requesters.remove_requesters(connection, job_id, [caller.subject])
            return kept_for_others()
        plan = await deletion.lock_for_deletion(connection, "render", job_id, objects.bucket)
        await deletion.execute_deletion(connection, plan, force=force)
    return to_deleted(plan)


def _ends_for_all(standing: Standing, *, for_all: bool) -> bool:
    """Whether the render itself ends, and not only the caller's part in it. Raises Forbidden.

    Who did not ask for it has no part, so what he may do he does for all.
    """
    if for_all and not standing.for_all:
        raise Forbidden("only the owner of the experiment and admins may do this for all who asked for the render")
    return for_all or not (standing.asked and standing.others)


async def get_status(resources: Resources, job: UUID, caller: Caller) -> VideoStatus:
    """The current status, as this caller may see it. Raises NotFound if the render does not exist."""
    return to_video_status(await get_status_row(resources, job), caller)


async def get_status_row(resources: Resources, job: UUID) -> RowMapping:
    """The row for `to_video_status`. Raises NotFound if the render does not exist."""
    async with resources.database.service_transaction() as connection:
        rows = await queries.list_statuses(connection, [job], resources.storage.retention)
    if not rows:
        raise NotFound("there is no such render")
    return rows[0]


def to_video_status(row: RowMapping, caller: Caller) -> VideoStatus:
    """The response model of a render row with its progress. It tells guests only of themselves who asked for it."""
    may_know = caller.admin or caller.subject in (row["owner"], row["experiment_owner"])
    base = f"/api/videos/{row['id']}"
    succeeded, outputs = row["status"] == "succeeded", row["options"].get("outputs", ())
    streamable = row["status"] not in ("failed", "cancelled") and row["options"]["codec"] in STREAMABLE_CODECS
    rate = _render_rate(row)
    frames_left = row["frames_total"] - row["frames_done"]
    names = set(VideoStatus.model_fields) & set(row.keys())
    return VideoStatus(
        **{name: row[name] for name in names - {"error", "frames_done", "owner"}},
        job_id=row["id"],
        owner=row["owner"] if may_know else None,
        mine=caller.subject in row["requesters"],
        requested_by_others=bool(set(row["requesters"]) - {caller.subject}),
        frames_done=row["frames_done"],
        fps=rate,
        eta_seconds=round(frames_left / rate, 1) if rate and row["status"] == "running" else None,
        error=row["error"] or (None if succeeded else row["problem"]),
        video_url=f"{base}/video" if succeeded else None,
        poster_url=f"{base}/poster" if succeeded else None,
        receipt_url=f"{base}/receipt" if succeeded else None,
        stream_url=f"{base}/stream.m3u8" if streamable else None,
        preview_url=f"{base}/preview.vtt" if succeeded and "preview_strip" in outputs else None,
        keogram_url=f"{base}/keogram.png" if succeeded and "keogram" in outputs else None,
    )


def _render_rate(row: RowMapping) -> float | None:
    """Rendered frames per second; cached frames do not count."""
    if row["started_at"] is None or not row["frames_fresh"]:
        return None
    finished: datetime | None = row["finished_at"]
    seconds = row["running_s"] if finished is None else (finished - row["started_at"]).total_seconds()
    return round(float(row["frames_fresh"]) / seconds, 2) if seconds > 0 else None
