"""Renders: list, look, follow, cancel, retry, delete."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy import RowMapping

from service.clock import now
from service.errors import Conflict, NotFound
from service.routers.deps import CallerDep, DatabaseDep, require
from service.routers.video_models import RenderStatus, VideoStatus
from service.store import renders
from service.store.database import Caller, Database

router = APIRouter(prefix="/api/videos", tags=["videos"])
READ = Depends(require("videos:read"))
RENDER = Depends(require("videos:render"))


async def visible(database: Database, who: Caller, job: UUID) -> RowMapping:
    """The render as the caller may see it. Raises NotFound."""
    async with database.caller(who) as connection:
        row = await renders.get(connection, job)
    if row is None:
        raise NotFound("there is no such render")
    return row


async def _owned(database: Database, who: Caller, job: UUID) -> RowMapping:
    row = await visible(database, who, job)
    if row["owner"] != who.subject and not who.admin:
        raise NotFound("there is no such render of yours")
    return row


@router.get("", summary="List renders", response_model=list[VideoStatus], dependencies=[READ])
async def list_videos(
    response: Response,
    who: CallerDep,
    database: DatabaseDep,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[UUID | None, Query(description="the last job_id of the page before")] = None,
    status: Annotated[RenderStatus | None, Query()] = None,
) -> list[VideoStatus]:
    """Newest first; the `Link` header points to the next page."""
    async with database.caller(who) as connection:
        ids = await renders.visible_ids(connection, limit, cursor, status)
    if len(ids) == limit:
        suffix = f"&status={status}" if status else ""
        response.headers["Link"] = f'</api/videos?limit={limit}&cursor={ids[-1]}{suffix}>; rel="next"'
    async with database.service() as connection:
        return [told(row) for row in await renders.statuses(connection, ids)]


@router.get("/{job_id}", summary="Status of a render", response_model=VideoStatus, dependencies=[READ])
async def get_video(job_id: UUID, who: CallerDep, database: DatabaseDep) -> VideoStatus:
    """Phase, frames, rate, time left, attempts, and the reason when it failed."""
    await visible(database, who, job_id)
    return await current(database, job_id)


@router.post("/{job_id}/cancel", summary="Cancel a render", response_model=VideoStatus, dependencies=[RENDER])
async def cancel_video(job_id: UUID, who: CallerDep, database: DatabaseDep) -> VideoStatus:
    """Ends it at once; segments that are done stay in the cache."""
    await _owned(database, who, job_id)
    async with database.service() as connection:
        if not await renders.cancel(connection, job_id):
            raise Conflict("the render has ended already")
    return await current(database, job_id)


@router.post("/{job_id}/retry", status_code=202, response_model=VideoStatus, dependencies=[RENDER])
async def retry_video(job_id: UUID, who: CallerDep, database: DatabaseDep) -> VideoStatus:
    """Another try for a failed or cancelled render; what was done is not done again."""
    row = await _owned(database, who, job_id)
    async with database.service() as connection:
        if not await renders.revive(connection, job_id, row["priority"]):
            raise Conflict("only a failed or cancelled render can be retried")
    return await current(database, job_id)


@router.delete("/{job_id}", status_code=204, summary="Delete a render", dependencies=[RENDER])
async def delete_video(job_id: UUID, who: CallerDep, database: DatabaseDep) -> None:
    """Removes the render and its video; the source frames and cached segments stay."""
    row = await _owned(database, who, job_id)
    if row["status"] in ("queued", "running"):
        raise Conflict("the render is under way: cancel it first")
    async with database.service() as connection:
        await renders.delete(connection, job_id)


async def current(database: Database, job: UUID) -> VideoStatus:
    """The newest status. Raises NotFound when the render was deleted meanwhile."""
    async with database.service() as connection:
        rows = await renders.statuses(connection, [job])
    if not rows:
        raise NotFound("there is no such render")
    return told(rows[0])


def told(row: RowMapping) -> VideoStatus:
    """A render row with its progress, as the API tells it."""
    base = f"/api/videos/{row['id']}"
    done = row["status"] == "succeeded"
    rate = _rate(row)
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
        stream_url=None if row["status"] in ("failed", "cancelled") else f"{base}/stream.m3u8",
    )


def _rate(row: RowMapping) -> float | None:
    if row["started_at"] is None or not row["frames_fresh"]:
        return None
    seconds = ((row["finished_at"] or now()) - row["started_at"]).total_seconds()
    return round(float(row["frames_fresh"]) / seconds, 2) if seconds > 0 else None
